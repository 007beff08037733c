"""Renderers: they write a representation in one of two media types."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, cast

import orjson
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from core.rest.resource import Representation, Resource

OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
API_ROOT = "/api/v1/"

JSONObject = dict[str, object]
Context = Mapping[str, Any]


class DialectRenderer(BaseRenderer, ABC):
    """Writes JSON in one dialect. `renderer_context` has the `request` and the `view`, as DRF gives them."""

    charset = None
    render_style = "text"

    def render(
        self, data: object, accepted_media_type: str | None = None, renderer_context: Context | None = None
    ) -> bytes:
        return b"" if data is None else orjson.dumps(self.document(data, renderer_context or {}), option=OPTIONS)

    @abstractmethod
    def document(self, data: object, context: Context) -> object:
        """The document of a Representation, of errors, or of a list of identifiers."""


class FlatRenderer(DialectRenderer):
    """`application/json`: `{"type", "id", "attributes"}`, a list as a plain array of those."""

    media_type = "application/json"
    format = "json"

    def document(self, data: object, context: Context) -> object:
        if not isinstance(data, Representation):
            return data
        related: dict[int, JSONObject] = {}  # by identity: many resources may have the same related one
        resources = [flat_object(resource, related) for resource in data.resources]
        if not data.is_many:
            return resources[0]
        return {"data": resources} if data.is_wrapped else resources


def flat_object(resource: Resource, related: dict[int, JSONObject]) -> JSONObject:
    """A resource in `application/json`: related resources stand among its attributes."""
    attributes = dict(resource.attributes)
    for name, key in resource.to_one.items():
        attributes[f"{name}_id"] = key
    for name, others in resource.to_many.items():
        for other in others:
            if id(other) not in related:
                related[id(other)] = flat_object(other, related)
        attributes[name] = [related[id(other)] for other in others]
    return {"type": resource.schema.type, "id": resource.id, "attributes": attributes}


class JSONAPIRenderer(DialectRenderer):
    """`application/vnd.api+json`: a JSON:API 1.1 document, compound where `include` asks for it."""

    media_type = "application/vnd.api+json"
    format = "jsonapi"

    def document(self, data: object, context: Context) -> object:
        document: JSONObject = {"jsonapi": {"version": "1.1"}}
        is_list = data.is_many if isinstance(data, Representation) else isinstance(data, list)
        paginator = context["view"].paginator if is_list else None
        pages = paginator.page_members() if paginator else {}
        if not isinstance(data, Representation):
            return document | ({"data": data, **pages} if isinstance(data, list) else cast(JSONObject, data))
        request: Request = context["request"]
        root = request.build_absolute_uri(API_ROOT)
        resources = [resource_object(resource, root) for resource in data.resources]
        if data.is_many:
            document |= {"data": resources, **pages}
        else:
            document["data"] = resources[0]
            if path := data.resources[0].path:
                document["links"] = {"self": f"{root}{path}{data.query and f'?{data.query}'}"}
        if data.included is not None:
            document["included"] = [resource_object(resource, root) for resource in data.included]
        return document


def resource_object(resource: Resource, root: str) -> JSONObject:
    """A resource object of JSON:API."""
    types, url = resource.schema.related_types, f"{root}{resource.path}"
    relationships: dict[str, JSONObject] = {}
    for name, key in resource.to_one.items():
        relationships[name] = {"data": None if key is None else {"type": types[name], "id": str(key)}}
    for name, others in resource.to_many.items():
        relationships[name] = {"data": [{"type": types[name], "id": other.id} for other in others]}
    for name in resource.links:
        relationships.setdefault(name, {})["links"] = {"self": f"{url}/relationships/{name}"}
    document: JSONObject = {"type": resource.schema.type, "id": resource.id, "attributes": resource.attributes}
    if relationships:
        document["relationships"] = relationships
    if resource.path:
        document["links"] = {"self": url}
    return document
