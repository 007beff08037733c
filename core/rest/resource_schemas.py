"""The JSON schemas of one resource in both media types, as components of the description."""

from collections.abc import Callable

from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent

from core.rest.fields import MAX_RELATED
from core.rest.json_schema import ID, INTEGER, OBJECT, STRING, Schema, array, identifier, object_schema, types_only
from core.rest.resource import ResourceSchema
from core.rest.serializers import PlainSerializer, resource_schema

LIMITS = ("minLength", "maxLength")
ENUM_ID = "x-spec-enum-id"  # drf-spectacular's, for a hook that we do not use
Properties = Callable[[PlainSerializer, str], Schema]  # of a serializer, for a "request" or a "response"


class ResourceSchemas:
    """`properties` maps a serializer's fields; `is_new` says that requests create the resource."""

    follows_contract = False

    def __init__(
        self, serializer: PlainSerializer, registry: ComponentRegistry, properties: Properties, *, is_new: bool
    ) -> None:
        self.serializer, self.meta, self.is_new = serializer, serializer.Meta, is_new
        self.schema: ResourceSchema = resource_schema(type(serializer))
        self.registry, self.all_properties = registry, properties
        self.input_suffix = "Input" if is_new else "Change"
        self.required = {name for name, field in serializer.fields.items() if is_new and field.required}
        plain_noun = "".join(word.title() for word in self.schema.type.split("-")).removesuffix("s")
        self.noun: str = self.meta.model.__name__ if hasattr(self.meta, "model") else plain_noun  # begins names

    def component(self, name: str, schema: Schema) -> Schema:
        """A reference to the schema under this name."""
        component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name)
        self.registry.register_on_missing(component)
        return dict(component.ref)

    def properties(self, direction: str, serializer: PlainSerializer | None = None) -> Schema:
        """The schemas of the attributes of the resource, or of a related one, by name."""
        serializer = serializer or self.serializer
        properties, result = self.all_properties(serializer, direction), {}
        for name in resource_schema(type(serializer)).attributes:
            hidden = "readOnly" if direction == "request" else "writeOnly"
            if name in properties and not properties[name].get(hidden):
                # an answer may be longer than what is taken
                dropped = (ENUM_ID, *(LIMITS if direction == "response" else ()))
                result[name] = {key: value for key, value in properties[name].items() if key not in dropped}
        return result

    def or_null(self, name: str, schema: Schema) -> Schema:
        return {**schema, "type": [schema["type"], "null"]} if self.serializer.fields[name].allow_null else schema

    # flat

    def flat_attributes(self, direction: str) -> Schema:
        schema, properties = self.schema, self.properties(direction)
        properties |= {f"{name}_id": self.or_null(name, ID) for name in schema.to_one}
        if direction == "request":
            own = {flat for flat, name in schema.flat_names.items() if name in schema.to_many}
            properties |= {name: array(ID, maxItems=MAX_RELATED) for name in own}
            needed = [flat for flat, name in schema.flat_names.items() if name in self.required]
            return object_schema(properties, needed)
        for name in schema.to_many:
            if name not in schema.on_request:
                related = self.properties(direction, self.serializer.included_serializers[name]())
                properties[name] = array(contract_resource(object_schema(related)))
        restricted = getattr(self.meta, "restricted", {})
        return object_schema(properties, [name for name in properties if name not in restricted])

    def flat_input(self) -> Schema:
        members = {"type": STRING, "attributes": self.flat_attributes("request")}
        data = object_schema(members, ["attributes"])
        return self.component(f"{self.noun}{self.input_suffix}", object_schema({"data": data}, ["data"]))

    def flat_resource(self) -> Schema:
        members = {"type": STRING, "id": STRING, "attributes": self.flat_attributes("response")}
        return self.component(self.noun, object_schema(members, members))

    # JSON:API

    def jsonapi_input(self) -> Schema:
        schema = self.schema
        attributes = [name for name in schema.attributes if name in self.required]
        relations = [name for name in schema.relations if name in self.required]
        data = {
            "type": {"type": "string", "const": schema.type},
            "attributes": object_schema(self.properties("request"), attributes),
        }
        required = ["type", *(["attributes"] if attributes else []), *(["relationships"] if relations else [])]
        if not self.is_new:
            data["id"], required = STRING, ["type", "id"]
        if schema.relations:
            data["relationships"] = object_schema(self.relationships(), relations)
        document = object_schema({"data": object_schema(data, required)}, ["data"])
        return self.component(f"{self.noun}Document{self.input_suffix}", document)

    def relationships(self) -> Schema:
        types = {name: identifier(self.schema.related_types[name]) for name in self.schema.relations}
        one = {name: object_schema({"data": self.or_null(name, types[name])}, ["data"]) for name in self.schema.to_one}
        return one | {name: object_schema({"data": array(types[name])}, ["data"]) for name in self.schema.to_many}

    def jsonapi_resource(self) -> Schema:
        schema = self.schema
        members = {
            "type": {"type": "string", "const": schema.type},
            "id": STRING,
            "attributes": object_schema(self.properties("response")),
        }
        if schema.path:
            members["links"] = object_schema({"self": STRING}, ["self"])
        required = list(members)
        if schema.relations:
            link = object_schema({"links": object_schema({"self": STRING})})
            links = dict.fromkeys(getattr(self.meta, "linked", ()), link)
            data = {name: item for name, item in self.relationships().items() if name not in schema.on_request}
            members["relationships"] = object_schema({**links, **data})
        return self.component(f"{self.noun}Resource", object_schema(members, required))

    def jsonapi_document(self, *, is_many: bool = False) -> Schema:
        data, link = self.jsonapi_resource(), {"type": ["string", "null"]}
        any_resource = {"type": STRING, "id": STRING, "attributes": OBJECT, "relationships": OBJECT, "links": OBJECT}
        links = dict.fromkeys(("first", "last", "prev", "next"), link) if is_many else {"self": STRING}
        members = {
            "jsonapi": object_schema({"version": STRING}, ["version"]),
            "data": array(data) if is_many else data,
            "links": object_schema(links),
            "included": array(object_schema(any_resource, ["type", "id"])),
        }
        if is_many:
            counts = dict.fromkeys(("page", "pages", "count"), INTEGER)
            members["meta"] = object_schema({"pagination": object_schema(counts)})
        document = object_schema(members, ["jsonapi", "data", *(["links", "meta"] if is_many else [])])
        return self.component(f"{self.noun}{'List' if is_many else ''}Document", document)


class ContractSchemas(ResourceSchemas):
    """Those of a resource whose flat form is described exactly as the published contract has it."""

    follows_contract = True

    def flat_input(self) -> Schema:
        properties = self.flat_attributes("request")["properties"]
        names = {flat: name for flat, name in self.schema.flat_names.items() if name in self.meta.contract_fields}
        attributes = object_schema({flat: types_only(properties[flat]) for flat in names})
        data = object_schema({"attributes": attributes, "type": STRING})
        schema = object_schema({"data": data}, description=f"{self.noun} input model")
        return self.component(f"api.{self.noun}Input", schema)

    def flat_resource(self) -> Schema:
        wanted, schema = self.meta.contract_fields, self.schema
        attributes = {name: types_only(item) for name, item in self.properties("response").items() if name in wanted}
        attributes |= {f"{name}_id": INTEGER for name in schema.to_one if name in wanted}
        for name in schema.to_many:
            related = self.serializer.included_serializers[name]()
            noun, properties = related.Meta.model.__name__, self.properties("response", related)
            nested = {field: types_only(properties[field]) for field in related.Meta.contract_fields}
            component = contract_resource(object_schema(nested)) | {"description": f"{noun} response model"}
            attributes[name] = array(self.component(f"api.{noun}Response", component))
        response = contract_resource(object_schema(attributes)) | {"description": f"{self.noun} response model"}
        return self.component(f"api.{self.noun}Response", response)


def contract_resource(attributes: Schema) -> Schema:
    return object_schema({"attributes": attributes, "id": STRING, "type": STRING})
