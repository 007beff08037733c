"""The OpenAPI description: each resource in both media types, from its one serializer.

`POST` of a resource whose serializer is `as_in_contract` is described exactly as the published contract has it, with
its `contract_fields`; what we offer beyond stands in the other operations and in the JSON:API media type.
"""

from http import HTTPStatus
from typing import Any

import uritemplate
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema as SpectacularAutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework.permissions import AllowAny

from core.idempotency.attempts import KEY
from core.rest.errors import TITLES
from core.rest.negotiation import JSON_API
from core.rest.operations import Operation
from core.rest.parsers import MAX_DEPTH, MAX_MEMBERS
from core.rest.renderers import API_ROOT
from core.rest.resource import ResourceSchema
from core.rest.serializers import MAX_RELATED
from core.rest.sse import MEDIA_TYPE

JSON = "application/json"
Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
ID: Schema = {"type": "integer", "minimum": 1}
UUID: Schema = {"type": "string", "format": "uuid"}
STREAMED = """\
The answer as server-sent events: `message` (`id`, `role`, `status`, `parent_id`) for the question and for the answer,
`delta` (`text`), then `usage`, `error` (`code`, `detail`, `retryable`) where it is not whole, and always last `done`
(`id`, `status`, `finish_reason`). Joined, the deltas are the stored text. Each event has an id to read on from."""
EVENTS: Schema = {MEDIA_TYPE: {"schema": STRING}}
CSRF_TOKEN: Schema = {
    "name": "X-CSRFToken",
    "in": "header",
    "required": False,
    "description": "The value of the CSRF cookie: needed where it is a session, and no token, that says who calls.",
    "schema": STRING,
}

IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what was read: the request is refused when it has changed since.",
    "schema": STRING,
}
CONDITIONAL = ("patch", "delete")
LIMITS = ("minLength", "maxLength")

DESCRIPTION = f"""\
Chats with LLMs, governed by groups. Every resource speaks `{JSON}`, flat, and `{JSON_API}` (JSON:API 1.1): the media
type of the body says which one a request is in, `Accept` which one its answer gets.

Limits: a body has at most 1 MiB, its objects at most {MAX_MEMBERS} members, it is nested at most {MAX_DEPTH} deep, its
integers have 64 bits and its other numbers are no larger, a relation names at most {MAX_RELATED} resources, a page has
at most 100 (10 by default).

A `POST` may have an `Idempotency-Key`: 1 to 200 printable characters, a new one for each thing to be done, such as a
uuid. Sent again with the same body within 24 hours, it is not done again, but answered as it was the first time, with
`Idempotency-Replayed: true`: a success, and an error but 401, 403, 429 and those of the server. A key holds for a
person and path. With another body it is a 422. While the first is still being answered it is a 409 with `Retry-After`;
should the server have died over it, nothing was done, and the next may be half a minute after it began. An answer with
a secret (a new token) is not kept: 409. On messages the second request joins the answer that the first began. Signing
in and out is done each time.

Error codes: {", ".join(f"`{code}`" for code in TITLES)}.
"""


def obj(properties: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {}), **more}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def resource_object(attributes: Schema) -> Schema:
    return obj({"attributes": attributes, "id": STRING, "type": STRING})


class AutoSchema(SpectacularAutoSchema):
    view: Any

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        described = super().get_operation(*args, **kwargs)
        if not (described and self.is_resource):
            return described
        summary = self.operation.summary.format(**self.nouns())
        creates = self.operation.status == HTTPStatus.CREATED
        description = f"{summary} with the provided information" if creates else summary
        return {**described, "summary": summary, "description": description, "tags": [self.tag]}

    def nouns(self) -> dict[str, str]:
        noun = self.shape.type.replace("-", " ").removesuffix("s") if self.plain else self.model_noun
        plural = noun if noun.endswith("settings") else f"{noun}s"
        article = "" if noun.endswith("settings") else "an " if noun[0] in "aeioL" else "a "
        return {"noun": noun, "nouns": plural, "a_noun": f"{article}{noun}"}

    @property
    def model_noun(self) -> str:
        return str(self.serializer.Meta.model._meta.verbose_name)

    @property
    def plain(self) -> bool:
        """Whether the resource is no row of a model."""
        return not hasattr(self.serializer.Meta, "model")

    @property
    def tag(self) -> str:
        return str(self.path.removeprefix(API_ROOT).split("/")[0])

    @property
    def is_resource(self) -> bool:
        return hasattr(self.view, "operation")

    @property
    def operation(self) -> Operation:
        operation: Operation = self.view.operation
        return operation

    @property
    def serializer(self) -> Any:
        return self.operation.answers(context={"view": self.view}) if self.answering else self._get_serializer()

    answering = False  # whether the answer is being described, which may have a serializer of its own

    @property
    def shape(self) -> ResourceSchema:
        shape: ResourceSchema = self.serializer.shape()
        return shape

    @property
    def follows_contract(self) -> bool:
        return self.view.action == "create" and getattr(self.serializer.Meta, "as_in_contract", False)

    def _is_list_view(self, serializer: Any = None) -> bool:
        return self.operation.returns in ("many", "identifiers") if self.is_resource else False

    def get_operation_id(self) -> str:
        if not self.is_resource:
            return super().get_operation_id()
        steps = [
            step.replace("-", "_") for step in self.path.removeprefix(API_ROOT).split("/") if not step.startswith("{")
        ]
        verb = {"list": "list", "retrieve": "retrieve", "create": "create"}.get(self.view.action)
        return "_".join(
            [*steps, verb or {"PATCH": "update", "DELETE": "destroy"}.get(self.method, self.method.lower())]
        )

    def get_auth(self) -> list[Schema]:
        return [{"BearerAuth": []}] if self.is_resource and self.view.permission_classes != [AllowAny] else []

    def get_filter_backends(self) -> list[Any]:
        return self.view.filter_backends if self.is_resource and self.operation.returns == "many" else []

    def _get_parameters(self) -> list[Schema]:
        if not self.is_resource:
            return super()._get_parameters()
        declared = self.operation.parameters
        if self.method == "POST" and not (self.operation.streams or self.follows_contract):  # which say so elsewhere
            declared += (KEY,)
        parameters: list[Schema] = [
            {"name": name, "in": "path", "required": True, "schema": self.path_schema(name)}
            for name in uritemplate.variables(self.path)
        ]
        parameters += [
            query(item.name, item.schema, item.description) | {"required": item.required, "in": item.place}
            for item in declared
        ]
        parameters += [*self._get_filter_parameters(), *self._get_pagination_parameters()]
        if self.follows_contract:
            return parameters
        parameters += self.jsonapi_parameters() if self.operation.returns in ("one", "many") else []
        parameters += [CSRF_TOKEN] if self.method != "GET" else []
        return parameters + ([IF_MATCH] if self.method.lower() in CONDITIONAL else [])

    def path_schema(self, name: str) -> Schema:
        is_uuid = name == "session" or (name == "id" and self.view.lookup_value_converter == "uuid")
        return UUID if is_uuid else INTEGER

    def jsonapi_parameters(self) -> list[Schema]:
        serializers = {serializer.shape().type: serializer.shape() for serializer in self.view.related_serializers()}
        parameters = [
            query(
                f"fields[{shape.type}]",
                listed(shape.attributes + shape.relations),
                f"The members to show of {shape.type}.",
            )
            for shape in serializers.values()
        ]
        if related := (self.operation.answers or self.serializer).included_serializers:
            parameters.append(query("include", listed(related), "Relations to include."))
        for parameter in parameters:
            parameter["description"] += f" Only in `{JSON_API}`."
        return parameters

    # bodies

    def _get_request_body(self, direction: Any = "request") -> Any:
        if not self.is_resource:
            return super()._get_request_body(direction)
        takes, noun = self.operation.takes, self.noun
        if takes == "nothing":
            return None
        if takes != "resource":
            kind = self.serializer.included_serializers[self.operation.relation].shape().type
            name = f"{kind.removesuffix('s').title()}Identifier{'s' if takes == 'identifiers' else ''}"
            one = identifier(kind)
            schema = obj({"data": one if takes == "identifier" else array(one)}, ("data",))
            flat, document = self.component(name, schema), self.component(f"{name}Document", schema)
        else:
            if self.follows_contract:
                flat = self.contract_input()
            else:
                member = {"type": STRING, "attributes": self.flat_attributes("request")}
                schema = obj({"data": obj(member, ("attributes",))}, ("data",))
                flat = self.component(f"{noun}{'Input' if self.method == 'POST' else 'Change'}", schema)
            suffix = "DocumentInput" if self.method == "POST" else "DocumentChange"
            document = self.component(f"{noun}{suffix}", self.jsonapi_input())
        content = {JSON: {"schema": flat}, JSON_API: {"schema": document}}
        return {"description": f"{noun} information", "required": True, "content": content}

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        if not self.is_resource:
            return super()._get_response_bodies(direction)
        status = self.operation.status
        responses: Schema = {str(int(status)): {"description": status.phrase}}
        if self.operation.returns == "events":
            responses = {
                "200": {"description": "The events", "content": EVENTS},
                "204": {"description": "None to send"},
            }
        elif self.operation.returns != "nothing":
            responses[str(int(status))]["content"] = self.success_content()
        if self.operation.streams:
            responses["200"] = {"description": STREAMED, "content": EVENTS}
        for code in self.error_statuses():
            responses[str(int(code))] = {"description": code.phrase, "content": self.error_content()}
        if self.operation.returns == "one" and self.method == "GET":
            responses["304"] = {"description": HTTPStatus.NOT_MODIFIED.phrase}
        return responses

    def success_content(self) -> Schema:
        if self.operation.returns == "identifiers":
            kind = self.serializer.included_serializers[self.operation.relation].shape().type
            items = array(identifier(kind))
            return {JSON: {"schema": items}, JSON_API: {"schema": obj({"data": items}, ("data",))}}
        self.answering = self.operation.answers is not None
        try:
            flat = self.contract_response() if self.follows_contract else self.flat_resource()
            document = self.component(f"{self.noun}Document", self.jsonapi_document())
            if self.operation.returns == "all":
                flat, document = obj({"data": array(STRING)}), obj({"data": array(self.jsonapi_resource())}, ("data",))
            if self.operation.returns == "many":
                flat = obj({"data": array(flat)}) if getattr(self.serializer.Meta, "wrapped", False) else array(flat)
                document = self.component(f"{self.noun}ListDocument", self.jsonapi_document(many=True))
        finally:
            self.answering = False
        return {JSON: {"schema": flat}, JSON_API: {"schema": document}}

    def error_statuses(self) -> list[HTTPStatus]:
        codes = [400, 401, 403, 406, 429, 500, 503]
        codes += [404] if uritemplate.variables(self.path) else []
        codes += [413, 415] if self.operation.takes != "nothing" else []
        codes += [409] if self.method != "GET" else []
        codes += [422] if self.method == "POST" else []
        codes += [412] if self.method.lower() in CONDITIONAL else []
        return [HTTPStatus(code) for code in sorted({*codes, *self.operation.fails})]

    def error_content(self) -> Schema:
        error = obj({"detail": STRING, "title": STRING})
        contract = self.component(
            "api.ErrorResponse", obj({"errors": array(error)}, description="Error response model")
        )
        source = obj({"pointer": STRING, "parameter": STRING})
        members = {
            "status": STRING,
            "code": {"type": "string", "enum": list(TITLES)},
            "title": STRING,
            "detail": STRING,
        }
        full = self.component(
            "ErrorDocument",
            obj({"errors": array(obj({**members, "source": source}, required=tuple(members)))}, required=("errors",)),
        )
        return {JSON: {"schema": contract if self.follows_contract else full}, JSON_API: {"schema": full}}

    # one resource, flat

    @property
    def noun(self) -> str:
        return (
            "".join(word.title() for word in self.shape.type.split("-")).removesuffix("s")
            if self.plain
            else str(self.serializer.Meta.model.__name__)
        )

    def properties(self, serializer: Any, direction: str) -> Schema:
        """The schemas of a serializer's own attributes, by name."""
        mapped = self._map_basic_serializer(serializer, direction)["properties"]
        shape, wanted = serializer.shape(), {}
        for name in shape.attributes:
            hidden = "readOnly" if direction == "request" else "writeOnly"
            if name in mapped and not mapped[name].get(hidden):
                wanted[name] = mapped[name]
                if direction == "response":  # what is shown may be longer than what is taken
                    wanted[name] = {key: value for key, value in mapped[name].items() if key not in LIMITS}
        return wanted

    def flat_attributes(self, direction: str) -> Schema:
        shape = self.shape
        properties = self.properties(self.serializer, direction)
        properties |= {f"{name}_id": self.or_null(name, ID) for name in shape.to_one}
        if direction == "request":
            own = {flat for flat, name in shape.flat_names.items() if name in shape.to_many}
            properties |= {name: array(ID, maxItems=MAX_RELATED) for name in own}
            required = [flat for flat, name in shape.flat_names.items() if self.serializer.fields[name].required]
            return obj(properties, required=tuple(required) if self.method == "POST" else ())
        for name in shape.to_many:
            if name not in shape.on_request:
                related = self.serializer.included(name)
                properties[name] = array(resource_object(obj(self.properties(related, direction))))
        hidden = getattr(self.serializer.Meta, "administrators_read", ())
        return obj(properties, required=tuple(name for name in properties if name not in hidden))

    def or_null(self, name: str, schema: Schema) -> Schema:
        return {**schema, "type": [schema["type"], "null"]} if self.serializer.fields[name].allow_null else schema

    def flat_resource(self) -> Schema:
        attributes = self.flat_attributes("response")
        one = obj({"type": STRING, "id": STRING, "attributes": attributes}, required=("type", "id", "attributes"))
        return self.component(self.noun, one)

    # one resource, as the contract has it

    def contract_input(self) -> Schema:
        wanted = self.serializer.Meta.contract_fields
        properties = self.flat_attributes("request")["properties"]
        attributes = obj(
            {flat: bare(properties[flat]) for flat, name in self.shape.flat_names.items() if name in wanted}
        )
        schema = obj({"data": obj({"attributes": attributes, "type": STRING})}, description=f"{self.noun} input model")
        return self.component(f"api.{self.noun}Input", schema)

    def contract_response(self) -> Schema:
        wanted, shape = self.serializer.Meta.contract_fields, self.shape
        attributes = {
            name: bare(schema)
            for name, schema in self.properties(self.serializer, "response").items()
            if name in wanted
        }
        attributes |= {f"{name}_id": INTEGER for name in shape.to_one if name in wanted}
        for name in shape.to_many:
            related = self.serializer.included(name)
            noun, fields = related.Meta.model.__name__, related.Meta.contract_fields
            nested = resource_object(
                obj({field: bare(self.properties(related, "response")[field]) for field in fields})
            )
            attributes[name] = array(
                self.component(f"api.{noun}Response", nested | {"description": f"{noun} response model"})
            )
        schema = resource_object(obj(attributes)) | {"description": f"{self.noun} response model"}
        return self.component(f"api.{self.noun}Response", schema)

    # one resource, JSON:API

    def jsonapi_input(self) -> Schema:
        shape, fields = self.shape, self.serializer.fields
        creating = self.method == "POST"
        needed = tuple(name for name in shape.attributes if fields[name].required) if creating else ()
        related = tuple(name for name in shape.relations if fields[name].required) if creating else ()
        data = {
            "type": {"type": "string", "const": shape.type},
            "attributes": obj(self.properties(self.serializer, "request"), needed),
        }
        required: tuple[str, ...] = (
            "type",
            *(["attributes"] if needed else []),
            *(["relationships"] if related else []),
        )
        if not creating:
            data["id"], required = STRING, ("type", "id")
        if shape.relations:
            data["relationships"] = obj(self.relationships(shape), related)
        return obj({"data": obj(data, required)}, ("data",))

    def relationships(self, shape: ResourceSchema) -> Schema:
        types = {name: self.serializer.included_serializers[name].shape().type for name in shape.relations}
        one = {name: obj({"data": self.or_null(name, identifier(types[name]))}, ("data",)) for name in shape.to_one}
        many = {name: obj({"data": array(identifier(types[name]))}, ("data",)) for name in shape.to_many}
        return {**one, **many}

    def jsonapi_resource(self) -> Schema:
        shape = self.shape
        members = {
            "type": {"type": "string", "const": shape.type},
            "id": STRING,
            "attributes": obj(self.properties(self.serializer, "response")),
        }
        if shape.path:
            members["links"] = obj({"self": STRING}, ("self",))
        if shape.relations:
            links = {
                name: obj({"links": obj({"self": STRING})}) for name in getattr(self.serializer.Meta, "linked", ())
            }
            shown = {name: schema for name, schema in self.relationships(shape).items() if name not in shape.on_request}
            members["relationships"] = obj({**links, **shown})
        required = [name for name in members if name != "relationships"]
        return self.component(f"{self.noun}Resource", obj(members, tuple(required)))

    def jsonapi_document(self, many: bool = False) -> Schema:
        data = self.jsonapi_resource()
        link = {"type": ["string", "null"]}
        members = {
            "jsonapi": obj({"version": STRING}, ("version",)),
            "data": array(data) if many else data,
            "links": obj(dict.fromkeys(("first", "last", "prev", "next"), link) if many else {"self": STRING}),
            "included": array(obj({"type": STRING, "id": STRING}, ("type", "id"))),
        }
        if many:
            members["meta"] = obj({"pagination": obj(dict.fromkeys(("page", "pages", "count"), INTEGER))})
        return obj(members, ("jsonapi", "data", *(["links", "meta"] if many else [])))

    def component(self, name: str, schema: Schema) -> Schema:
        """A reference to the schema under this name."""
        component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name)
        self.registry.register_on_missing(component)
        return dict(component.ref)


class Generator(SchemaGenerator):
    """Says of a whole path what both its operations take, where one of them must be as the contract has it."""

    def get_schema(self, *args: Any, **kwargs: Any) -> Any:
        document = super().get_schema(*args, **kwargs)
        for path in document["paths"].values():
            if "parameters" not in path.get("post", {"parameters": ()}) and "get" in path:
                listed = path["get"]["parameters"]
                path["parameters"] = [item for item in listed if item["name"].startswith(("include", "fields["))]
                path["get"]["parameters"] = [item for item in listed if item not in path["parameters"]]
                key = query(KEY.name, KEY.schema, KEY.description) | {"in": KEY.place}
                path["parameters"].append(key)
        return document


def identifier(resource_type: str) -> Schema:
    return obj({"type": {"type": "string", "const": resource_type}, "id": STRING}, ("type", "id"))


def bare(schema: Schema) -> Schema:
    """The schema reduced to what the contract says: types."""
    return {"type": schema["type"], **({"items": bare(schema["items"])} if "items" in schema else {})}


def query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def listed(names: Any) -> Schema:
    """A comma-divided list of these names."""
    one = "|".join(names)
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}
