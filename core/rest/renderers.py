"""Answers: what a serializer made, written in one of two dialects."""

from abc import ABC, abstractmethod
from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer

from core.rest.resource import ResourceSchema
from core.rest.visible import related

OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
API_ROOT = "/api/v1/"


class DialectRenderer(BaseRenderer, ABC):
    charset = None
    render_style = "text"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        serializer = getattr(data, "serializer", None)
        context = renderer_context or {}
        document = self.document(data, serializer, context) if serializer else self.bare(data, context.get("view"))
        return orjson.dumps(document, option=OPTIONS)

    @abstractmethod
    def document(self, data: Any, serializer: Any, context: dict[str, Any]) -> Any:
        """What is written of what a serializer made."""

    def bare(self, data: Any, view: Any) -> Any:
        """What no serializer made: errors, and the identifiers of a relation."""
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
        if not hasattr(serializer, "child"):
            return resources[0]
        return {"data": resources} if getattr(one.Meta, "wrapped", False) else resources


def flat(serializer: Any, row: dict[str, Any], instance: Any) -> dict[str, Any]:
    shape: ResourceSchema = serializer.shape()
    attributes = {name: row[name] for name in shape.attributes if name in row}
    for name in shape.to_one:
        if name in row:
            attributes[f"{name}_id"] = row[name]
    for name in shape.to_many:
        if name in row:
            one = serializer.included(name)
            attributes[name] = [flat_once(one, item) for item in row[name]]
    return {"type": shape.type, "id": serializer.key(instance), "attributes": attributes}


def flat_once(serializer: Any, instance: Any) -> dict[str, Any]:
    """A related resource, which others of the same answer may be related to as well."""
    made: dict[int, dict[str, Any]] = serializer.__dict__.setdefault("_flat", {})
    own = id(instance)  # rows that are attached are one object each, and live as long as the answer is made
    if own not in made:
        made[own] = flat(serializer, serializer.to_representation(instance), instance)
    return made[own]


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
            document |= {"data": resources, **page_of(view)}
        else:
            document["data"] = resources[0]
            if own := resources[0].get("links"):
                query = f"?{request.META['QUERY_STRING']}" if view.query else ""
                document["links"] = {"self": own["self"] + query}
        if view.include:
            known = {(one.shape().type, instance.pk) for _, instance in rows}
            included: dict[tuple[str, Any], Any] = {}
            for relation in view.include:
                collect(one, [instance for _, instance in rows], relation, root, included)
            document["included"] = [item for key, item in included.items() if key not in known]
        return document

    def bare(self, data: Any, view: Any) -> Any:
        if isinstance(data, list):
            data = {"data": data, **page_of(view)}
        return {"jsonapi": {"version": "1.1"}, **data}


def page_of(view: Any) -> dict[str, Any]:
    """Where a list stands among its pages, if it has any."""
    return {"links": view.paginator.links(), "meta": view.paginator.meta()} if view.paginator else {}


def resource(serializer: Any, row: dict[str, Any], instance: Any, root: str) -> dict[str, Any]:
    shape: ResourceSchema = serializer.shape()
    path = serializer.path(instance)
    document = {
        "type": shape.type,
        "id": serializer.key(instance),
        "attributes": {name: row[name] for name in shape.attributes if name in row},
    }
    relationships: dict[str, Any] = {
        name: {"data": linkage(serializer, name, row[name])} for name in shape.relations if name in row
    }
    for name in serializer.linked_relations:
        relationships.setdefault(name, {})["links"] = {"self": f"{root}{path}/relationships/{name}"}
    if relationships:
        document["relationships"] = relationships
    if path:
        document["links"] = {"self": f"{root}{path}"}
    return document


def linkage(serializer: Any, relation: str, value: Any) -> Any:
    """The identifiers of what a relation leads to."""
    kind = serializer.included(relation).shape().type
    if relation in serializer.shape().to_many:
        return [{"type": kind, "id": str(item.pk)} for item in value]
    return None if value is None else {"type": kind, "id": str(value)}


def collect(serializer: Any, instances: list[Any], relation: str, root: str, included: dict[Any, Any]) -> None:
    """Add to `included`, by type and id, what the relation leads to from these instances."""
    other, many = serializer.included(relation), relation in serializer.shape().to_many
    kind = other.shape().type
    for instance in instances:
        for item in related(instance, relation) if many else [getattr(instance, relation)]:
            if item is not None and (kind, item.pk) not in included:
                included[kind, item.pk] = resource(other, other.to_representation(item), item, root)
