"""The OpenAPI description: each resource in both media types, from its one serializer.

`POST` of a resource whose serializer is `as_in_contract` is described exactly as the published contract has it, with
its `contract_fields`; what we offer beyond stands in the other operations and in the JSON:API media type.
"""

from http import HTTPStatus
from typing import Any

import uritemplate
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema as SpectacularAutoSchema
from drf_spectacular.plumbing import ComponentRegistry
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from core.idempotency.attempts import KEY
from core.rest.errors import TITLES
from core.rest.filters import list_parameters
from core.rest.json_schema import (
    ID,
    INTEGER,
    STRING,
    UUID_SCHEMA,
    Schema,
    array,
    identifier,
    name_list,
    object_schema,
    query_parameter,
)
from core.rest.negotiation import JSON_API
from core.rest.operations import Operation
from core.rest.renderers import API_ROOT
from core.rest.resource_schemas import ContractSchemas, ResourceSchemas
from core.rest.serializers import PlainSerializer, resource_schema
from core.rest.sse import MEDIA_TYPE

JSON = "application/json"
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
CONDITIONAL = ("PATCH", "DELETE")
VERBS = {"GET": "get", "POST": "post", "PATCH": "update", "DELETE": "destroy"}  # in the ids of operations


class AutoSchema(SpectacularAutoSchema):
    """Describes an operation of a view, from what `operations` declares of it; other views as drf-spectacular does."""

    view: Any
    operation: Operation
    schemas: ResourceSchemas

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Schema | None:
        if not hasattr(self.view, "operation"):
            return super().get_operation(path, path_regex, path_prefix, method, registry)
        self.path, self.path_regex, self.path_prefix = path, path_regex, path_prefix
        self.method, self.registry, self.operation = method.upper(), registry, self.view.operation
        self.schemas = self.schemas_of(self.view.get_serializer())
        summary = self.operation.summary.format(**self.nouns())
        creates = self.operation.status == HTTPStatus.CREATED
        steps = self.path.removeprefix(API_ROOT).split("/")
        verb = self.view.action if self.view.action in ("list", "retrieve", "create") else VERBS[self.method]
        names = [step.replace("-", "_") for step in steps if not step.startswith("{")]
        body = self.request_body()
        return {
            "operationId": "_".join([*names, verb]),
            "description": f"{summary} with the provided information" if creates else summary,
            "summary": summary,
            **({"parameters": parameters} if (parameters := self.parameters()) else {}),
            "tags": steps[:1],
            **({"requestBody": body} if body else {}),
            "security": [] if self.view.permission_classes == [AllowAny] else [{"BearerAuth": []}],
            "responses": self.responses(),
        }

    def schemas_of(self, serializer: PlainSerializer) -> ResourceSchemas:
        is_new, as_in_contract = self.method == "POST", getattr(serializer.Meta, "as_in_contract", False)
        kind = ContractSchemas if as_in_contract and self.view.action == "create" else ResourceSchemas
        return kind(serializer, self.registry, self.map_properties, is_new=is_new)

    def map_properties(self, serializer: PlainSerializer, direction: str) -> Schema:
        """The schemas of a serializer's fields, mapped as drf-spectacular does."""
        registry, self.registry = self.registry, ComponentRegistry()  # the component of the serializer is not wanted
        try:
            own = self.resolve_serializer(serializer, direction)  # type: ignore[arg-type]
            nested = self.registry.build({}).get("schemas", {})
        finally:
            self.registry = registry
        for name, schema in nested.items():
            if name != own.name:
                self.schemas.component(name, schema)
        return own.schema["properties"] if own.schema else {}

    def nouns(self) -> dict[str, str]:
        meta = self.schemas.meta
        plain = self.schemas.schema.type.replace("-", " ").removesuffix("s")
        noun = str(meta.model._meta.verbose_name) if hasattr(meta, "model") else plain
        if noun.endswith("settings"):
            return {"noun": noun, "nouns": noun, "a_noun": noun}
        return {"noun": noun, "nouns": f"{noun}s", "a_noun": f"{'an' if noun[0] in 'aeioL' else 'a'} {noun}"}

    def parameters(self) -> list[Schema]:
        operation, follows_contract = self.operation, self.schemas.follows_contract
        declared = operation.parameters
        if self.method == "POST" and not (operation.streams or follows_contract):  # which say so elsewhere
            declared += (KEY,)
        parameters: list[Schema] = []
        for name in uritemplate.variables(self.path):
            is_uuid = name == "session" or (name == "id" and self.view.lookup_value_converter == "uuid")
            schema = UUID_SCHEMA if is_uuid else INTEGER
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
        parameters += [
            query_parameter(item.name, item.schema, item.description) | {"required": item.required, "in": item.place}
            for item in declared
        ]
        if operation.returns == "many":
            parameters += list_parameters(self.view)
        if operation.returns in ("many", "identifiers"):
            parameters += [
                query_parameter(name, ID, f"{text}.")
                for names, text in self.view.paginator.about.items()
                for name in names
            ]
        if follows_contract:
            return parameters
        parameters += self.jsonapi_parameters() if operation.returns in ("one", "many") else []
        parameters += [CSRF_TOKEN] if self.method != "GET" else []
        return parameters + ([IF_MATCH] if self.method in CONDITIONAL else [])

    def jsonapi_parameters(self) -> list[Schema]:
        answer = self.view.answer_serializer
        serializers = (answer, *answer.included_serializers.values())
        schemas = {schema.type: schema for schema in map(resource_schema, serializers)}
        parameters = [
            query_parameter(
                f"fields[{name}]", name_list(schema.attributes + schema.relations), f"The members to show of {name}."
            )
            for name, schema in schemas.items()
        ]
        if related := answer.included_serializers:
            parameters.append(query_parameter("include", name_list(related), "Relations to include."))
        for parameter in parameters:
            parameter["description"] += f" Only in `{JSON_API}`."
        return parameters

    # bodies

    def request_body(self) -> Schema | None:
        takes, schemas = self.operation.takes, self.schemas
        if takes == "nothing":
            return None
        if takes == "resource":
            flat, document = schemas.flat_input(), schemas.jsonapi_input()
        else:
            kind = schemas.schema.related_types[self.operation.relation]
            name = f"{kind.removesuffix('s').title()}Identifier{'s' if takes == 'identifiers' else ''}"
            one = identifier(kind)
            schema = object_schema({"data": one if takes == "identifier" else array(one)}, ["data"])
            flat, document = schemas.component(name, schema), schemas.component(f"{name}Document", schema)
        content = {JSON: {"schema": flat}, JSON_API: {"schema": document}}
        return {"description": f"{schemas.noun} information", "required": True, "content": content}

    def responses(self) -> Schema:
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
        codes = [400, 401, 403, 406, 429, 500, 503, *self.operation.fails]
        codes += [404] if uritemplate.variables(self.path) else []
        codes += [413, 415] if self.operation.takes != "nothing" else []
        codes += [409] if self.method != "GET" else []
        codes += [422] if self.method == "POST" else []
        codes += [412] if self.method in CONDITIONAL else []
        for code in map(HTTPStatus, sorted({*codes})):
            responses[str(int(code))] = {"description": code.phrase, "content": self.error_content()}
        if self.operation.returns == "one" and self.method == "GET":
            responses["304"] = {"description": HTTPStatus.NOT_MODIFIED.phrase}
        return responses

    def success_content(self) -> Schema:
        operation = self.operation
        if operation.returns == "identifiers":
            items = array(identifier(self.schemas.schema.related_types[operation.relation]))
            return {JSON: {"schema": items}, JSON_API: {"schema": object_schema({"data": items}, ["data"])}}
        answer = operation.answers
        schemas = self.schemas_of(answer(context={"view": self.view})) if answer else self.schemas
        if operation.returns == "all":  # only ids in the flat form
            flat = object_schema({"data": array(STRING)})
            document = object_schema({"data": array(schemas.jsonapi_resource())}, ["data"])
        elif operation.returns == "many":
            one, is_wrapped = schemas.flat_resource(), getattr(schemas.meta, "wrapped", False)
            flat = object_schema({"data": array(one)}) if is_wrapped else array(one)
            document = schemas.jsonapi_document(is_many=True)
        else:
            flat, document = schemas.flat_resource(), schemas.jsonapi_document()
        return {JSON: {"schema": flat}, JSON_API: {"schema": document}}

    def error_content(self) -> Schema:
        error = object_schema({"detail": STRING, "title": STRING})
        in_contract = object_schema({"errors": array(error)}, description="Error response model")
        contract = self.schemas.component("api.ErrorResponse", in_contract)
        source = object_schema({"pointer": STRING, "parameter": STRING})
        codes = {"type": "string", "enum": list(TITLES)}
        members = {"status": STRING, "code": codes, "title": STRING, "detail": STRING}
        error = object_schema({**members, "source": source}, members)
        full = self.schemas.component("ErrorDocument", object_schema({"errors": array(error)}, ["errors"]))
        return {JSON: {"schema": contract if self.schemas.follows_contract else full}, JSON_API: {"schema": full}}


class Generator(SchemaGenerator):
    """Says of a whole path what both its operations take, where one of them must be as the contract has it."""

    def get_schema(self, request: Request | None = None, public: bool = False) -> Schema:
        document = super().get_schema(request, public)
        for path in document["paths"].values():
            if "parameters" not in path.get("post", {"parameters": ()}) and "get" in path:
                parameters = path["get"]["parameters"]
                path["parameters"] = [item for item in parameters if item["name"].startswith(("include", "fields["))]
                path["get"]["parameters"] = [item for item in parameters if item not in path["parameters"]]
                key = query_parameter(KEY.name, KEY.schema, KEY.description) | {"in": KEY.place}
                path["parameters"].append(key)
        return document
