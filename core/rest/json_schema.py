"""Pieces of JSON schemas that the description is made of."""

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object", "additionalProperties": True}  # with any members
INTEGER: Schema = {"type": "integer"}
ID: Schema = {"type": "integer", "minimum": 1}
UUID_SCHEMA: Schema = {"type": "string", "format": "uuid"}


def object_schema(properties: Schema, required: Iterable[str] = (), **more: object) -> Schema:
    """The schema of an object with these properties."""
    return {"type": "object", "properties": properties, **({"required": [*required]} if required else {}), **more}


def array(items: Schema, **more: object) -> Schema:
    """The schema of a list of these items."""
    return {"type": "array", "items": items, **more}


def identifier(resource_type: str) -> Schema:
    """The schema of a resource identifier of JSON:API."""
    return object_schema({"type": {"type": "string", "const": resource_type}, "id": STRING}, ("type", "id"))


def types_only(schema: Schema) -> Schema:
    """The schema reduced to what the contract says: types."""
    return {"type": schema["type"], **({"items": types_only(schema["items"])} if "items" in schema else {})}


def query_parameter(name: str, schema: Mapping[str, object], description: str) -> Schema:
    """A parameter of the query, as OpenAPI describes it."""
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def name_list(names: Iterable[str]) -> Schema:
    """Some of these names, divided by commas."""
    one = "|".join(names)
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}
