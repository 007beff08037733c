"""Answers: what a serializer made, written in one of two dialects."""

from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer

from aistudio.shapes import Shape

OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
API_ROOT = "/api/v1/"


class DialectRenderer(BaseRenderer):
    charset = None
    render_style = "text"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        serializer = getattr(data, "serializer", None)
        document = self.document(data, serializer, renderer_context or {}) if serializer else self.bare(data)
        return orjson.dumps(document, option=OPTIONS)

    def document(self, data: Any, serializer: Any, context: dict[str, Any]) -> Any:
        raise NotImplementedError

    def bare(self, data: Any) -> Any:
        """What no serializer made: errors."""
        return data


def pairs(data: Any, serializer: Any) -> tuple[Any, list[tuple[dict[str, Any], Any]]]:
    """The serializer of one resource, and each row of data with its instance."""
    if hasattr(serializer, "child"):
        return serializer.child, list(zip(data, serializer.instance, strict=True))
    return serializer, [(data, serializer.instance)]


class FlatRenderer(DialectRenderer):
    """`application/json`: `{"type", "id", "attributes"}`, a list as a plain array of those."""

    media_type = "application/json"
    format = "json"

    def document(self, data: Any, serializer: Any, context: dict[str, Any]) -> Any:
        one, rows = pairs(data, serializer)
        resources = [flat(one, row, instance) for row, instance in rows]
        return resources if hasattr(serializer, "child") else resources[0]


def flat(serializer: Any, row: dict[str, Any], instance: Any) -> dict[str, Any]:
    shape: Shape = serializer.shape()
    attributes = {name: row[name] for name in shape.attributes if name in row}
    for name in shape.to_one:
        attributes[f"{name}_id"] = int(row[name]["id"]) if row[name] else None
    for name in shape.to_many:
        related = serializer.included(name)
        attributes[name] = [
            flat(related, related.to_representation(item), item) for item in getattr(instance, name).all()
        ]
    return {"type": shape.type, "id": str(instance.pk), "attributes": attributes}


class JSONAPIRenderer(DialectRenderer):
    """`application/vnd.api+json`: a JSON:API 1.1 document, compound where `include` asks for it."""

    media_type = "application/vnd.api+json"
    format = "jsonapi"

    def document(self, data: Any, serializer: Any, context: dict[str, Any]) -> Any:
        view, request = context["view"], context["request"]
        root = request.build_absolute_uri(API_ROOT)
        one, rows = pairs(data, serializer)
        resources = [resource(one, row, instance, root) for row, instance in rows]
        document: dict[str, Any] = {"jsonapi": {"version": "1.1"}}
        if hasattr(serializer, "child"):
            document |= {"data": resources, "links": view.paginator.links(), "meta": view.paginator.meta()}
        else:
            document |= {"data": resources[0], "links": {"self": resources[0]["links"]["self"]}}
        if request.query_params.get("include"):
            known = {(item["type"], item["id"]) for item in resources}
            included: dict[tuple[str, str], Any] = {}
            for path in request.query_params["include"].split(","):
                collect(one, [instance for _, instance in rows], path.split("."), root, included)
            document["included"] = [item for key, item in included.items() if key not in known]
        return document

    def bare(self, data: Any) -> Any:
        return {"jsonapi": {"version": "1.1"}, **data}


def resource(serializer: Any, row: dict[str, Any], instance: Any, root: str) -> dict[str, Any]:
    shape: Shape = serializer.shape()
    own = f"{root}{shape.type}/{instance.pk}"
    document = {
        "type": shape.type,
        "id": str(instance.pk),
        "attributes": {name: row[name] for name in shape.attributes if name in row},
    }
    if relationships := {name: {"data": row[name]} for name in shape.relations if name in row}:
        document["relationships"] = relationships
    document["links"] = {"self": own}
    return document


def collect(serializer: Any, instances: list[Any], path: list[str], root: str, included: dict[Any, Any]) -> None:
    """Add to `included`, by type and id, what the path leads to from these instances."""
    name, *rest = path
    related = serializer.included(name)
    found: dict[Any, Any] = {}
    for instance in instances:
        value = getattr(instance, name)
        found.update(
            {item.pk: item for item in (value.all() if name in serializer.shape().to_many else [value]) if item}
        )
    for item in found.values():
        key = (related.shape().type, str(item.pk))
        if key not in included:
            included[key] = resource(related, related.to_representation(item), item, root)
    if rest:
        collect(related, list(found.values()), rest, root, included)
