"""Request bodies: strict JSON in one of two dialects, made into the same `Document` of serializer fields.

A member that has no place in the dialect is not dropped: it becomes an error, which points at it.
"""

import difflib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import IO, TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import ErrorDetail, ParseError, PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser

from core.rest.errors import Conflict, PayloadTooLarge
from core.rest.resource import LARGEST_INTEGER, Identifier, ResourceSchema
from core.rest.serializers import resource_schema

if TYPE_CHECKING:
    from core.rest.operations import OperationView

MAX_DEPTH = 32
MAX_MEMBERS = 1000  # of one object
MAX_HINTS = 20  # unknown members that an answer names

JSONObject = dict[str, Any]


class Document(JSONObject):
    """A body as serializer fields. `pointers` says where each stands; `problems` has errors by their pointers.

    `shown` has relations as an answer shows them, where a body names them otherwise.
    """

    def __init__(self, pointers: dict[str, str]) -> None:
        super().__init__()
        self.pointers = pointers
        self.shown: JSONObject = {}
        self.problems: dict[str, ErrorDetail] = {}

    def problem(self, pointer: str, detail: str, code: str) -> None:
        self.problems[pointer] = ErrorDetail(detail, code)

    def refuse_unknown(
        self, pointer: str, members: Collection[str], known: Collection[str], relations: Collection[str] = ()
    ) -> None:
        """Make a problem of each member that is not known, with a hint at what may have been meant."""
        for name in [name for name in members if name not in known][:MAX_HINTS]:
            if name in relations:
                hint = "it is a relationship in this media type, and stands in relationships"
            elif near := difflib.get_close_matches(name, known, n=1):
                hint = f"did you mean {near[0]}?"
            else:
                hint = f"there are {', '.join(known)}" if known else "there are none"
            own = name.replace("~", "~0").replace("/", "~1")  # as RFC 6901 writes it in a pointer
            self.problem(f"{pointer}/{own}", f"There is no {name} here: {hint}", "unknown_attribute")


def strict_json(stream: IO[bytes]) -> object:
    """The JSON of a body; raises PayloadTooLarge, and ParseError for what only looks like JSON."""
    body = stream.read(settings.MAX_BODY_SIZE + 1)
    if len(body) > settings.MAX_BODY_SIZE:
        raise PayloadTooLarge(f"The body has more than {settings.MAX_BODY_SIZE:,} bytes.")
    try:
        document: object = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=unique_members,
            parse_int=integer,
            parse_float=finite,
            parse_constant=refuse_constant,
        )
        check_strings(document)
    except UnicodeDecodeError:
        raise ParseError("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise ParseError(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise ParseError(f"The body is nested more than {MAX_DEPTH} deep.") from None
    return document


def unique_members(pairs: list[tuple[str, object]]) -> JSONObject:
    """The members of an object; raises ParseError if a name comes twice, or if there are too many."""
    if len(pairs) > MAX_MEMBERS:
        raise ParseError(f"An object has more than {MAX_MEMBERS} members.")
    members: JSONObject = {}
    for name, value in pairs:
        if name in members:
            raise ParseError(f"The member {name[:100]!r} is there twice.")
        members[name] = value
    return members


def integer(digits: str) -> int:
    """An integer of 64 bits; raises ParseError for a larger one."""
    if len(digits) > len(str(-LARGEST_INTEGER)) or not -LARGEST_INTEGER - 1 <= int(digits) <= LARGEST_INTEGER:
        raise ParseError(f"The number {digits[:40]} is out of range: integers have 64 bits here.")
    return int(digits)


def finite(digits: str) -> float:
    """A number that every database can store; raises ParseError for another one."""
    number = float(digits)
    if not abs(number) <= LARGEST_INTEGER:  # PostgreSQL keeps no form: 1e20 would come back as an integer
        raise ParseError(f"The number {digits[:40]} is out of range: it may be as large as an integer of 64 bits.")
    return number


def refuse_constant(name: str) -> NoReturn:
    """Raise ParseError for NaN and Infinity, which Python would accept."""
    raise ParseError(f"{name} is not JSON.")


def check_strings(value: object, depth: int = 0) -> None:
    """Refuse what no database or answer can hold: NUL, lone surrogates, deep nesting (RecursionError)."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        if "\0" in value:
            raise ParseError("A string holds the NUL character (U+0000).")
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise ParseError("A string holds half of a surrogate pair.") from None
    elif isinstance(value, dict):
        for name, member in value.items():
            check_strings(name, depth)
            check_strings(member, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_strings(item, depth + 1)


class DialectParser(BaseParser, ABC):
    """Reads `{"data": {"type", "attributes"}}` in one dialect, for the serializer of the view."""

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """A Document, or the identifiers that the body of a relationship names."""
        assert parser_context
        view: OperationView = parser_context["view"]
        schema, operation = resource_schema(view.get_serializer_class()), view.operation
        body = strict_json(stream)
        if not isinstance(body, dict):
            raise ParseError("The body must be a JSON object with the member data.")
        if operation.relation:
            many, data = operation.takes == "identifiers", body.get("data")
            form = 'a list of {"type", "id"}' if many else '{"type", "id"}'
            malformed = ValidationError({"/data": [ErrorDetail(f"The member data must be {form}.", "invalid")]})
            if many != isinstance(data, list):
                raise malformed
            items: list[Any] = data if isinstance(data, list) else [data]
            try:
                return self.read_identifiers(body, items, schema.related_types[operation.relation], form)
            except (KeyError, TypeError, AttributeError):
                raise malformed from None
        return self.read_resource(body, schema, parser_context["kwargs"].get("pk"))

    @abstractmethod
    def read_identifiers(self, body: JSONObject, items: list[Any], kind: str, form: str) -> list[Identifier]:
        """The resources of this type that the items name. `form` says for error texts what they must look like.

        May raise KeyError, TypeError or AttributeError when an item is malformed.
        """

    @abstractmethod
    def read_resource(self, body: JSONObject, schema: ResourceSchema, own_id: int | None) -> Document:
        """The body as serializer fields; `own_id` is the resource's when it exists already."""


class FlatParser(DialectParser):
    """`application/json`: relations stand among the attributes, as `llm_id` and `group_ids`."""

    media_type = "application/json"

    def read_resource(self, body: JSONObject, schema: ResourceSchema, own_id: int | None) -> Document:
        document = Document({name: f"/data/attributes/{flat_name}" for flat_name, name in schema.flat_names.items()})
        if own_id is not None and "attributes" in body and "data" not in body:
            body = {"data": body}  # as a GET shows it
        data = object_at(body, "data")
        document.refuse_unknown("", body, ("data",))
        document.refuse_unknown("/data", data, ("type", "id", "attributes"))
        if data.get("type", schema.type) != schema.type:
            document.problem("/data/type", f'The type here is "{schema.type}".', "invalid")
        if "id" in data and own_id is None:
            document.problem("/data/id", "The server chooses the id; leave it out.", "read_only")
        elif "id" in data and data["id"] != str(own_id):
            document.problem("/data/id", f'The id of this resource is "{own_id}".', "invalid")
        attributes = object_at(data, "attributes", "/data", {})
        shown = schema.to_many if own_id is not None else ()
        document.shown = {name: attributes[name] for name in shown if name in attributes}
        document.refuse_unknown("/data/attributes", attributes, [*schema.flat_names, *document.shown])
        document.update({schema.flat_names[name]: attributes[name] for name in attributes if name in schema.flat_names})
        return document

    def read_identifiers(self, body: JSONObject, items: list[Any], kind: str, form: str) -> list[Identifier]:
        extra = body.keys() - {"data"} or {
            name for item in items if isinstance(item, dict) for name in item.keys() - {"type", "id"}
        }
        if extra:
            detail = f"There is no {min(extra)} here: the member data must be {form}."
            raise ValidationError({"/data": [ErrorDetail(detail, "unknown_attribute")]})
        identifiers = []
        for item in items:
            if item.get("type", kind) != kind:
                raise ValidationError({"/data": [ErrorDetail(f'The type here is "{kind}".', "invalid")]})
            identifiers.append(Identifier(kind, item["id"]))
        return identifiers


class JSONAPIParser(DialectParser):
    """`application/vnd.api+json`: relations stand in `relationships`, as resource identifiers."""

    media_type = "application/vnd.api+json"

    def read_resource(self, body: JSONObject, schema: ResourceSchema, own_id: int | None) -> Document:
        document = Document(
            {
                **{name: f"/data/attributes/{name}" for name in schema.attributes},
                **{name: f"/data/relationships/{name}" for name in schema.relations},
            }
        )
        data = object_at(body, "data")
        if "type" not in data:
            document.problem("/data/type", f'The type is missing; here it is "{schema.type}".', "required")
        elif data["type"] != schema.type:
            raise Conflict(f'The type here is "{schema.type}".', "/data/type")
        if own_id is None and "id" in data:
            raise PermissionDenied("The server chooses the id; leave it out.")
        if own_id is not None and "id" not in data:
            document.problem("/data/id", f'The id is missing; here it is "{own_id}".', "required")
        elif own_id is not None and data["id"] != str(own_id):
            raise Conflict(f'The id of this resource is "{own_id}".', "/data/id")
        attributes = object_at(data, "attributes", "/data", {})
        relationships = object_at(data, "relationships", "/data", {})
        relation_names = {*schema.relations, *schema.flat_names}  # `llm`, and `llm_id` as in the flat dialect
        document.refuse_unknown("/data/attributes", attributes, schema.attributes, relation_names)
        document.refuse_unknown("/data/relationships", relationships, schema.relations)
        document.update({name: attributes[name] for name in attributes if name in schema.attributes})
        for name in relationships.keys() & schema.relations:
            try:
                if "data" in relationships[name] or not relationships[name].keys() & {"links", "meta"}:
                    document[name] = read_linkage(relationships[name])
            except (KeyError, TypeError, AttributeError):
                detail = 'It must be {"data": ...} with null, {"type": "...", "id": "..."} or a list of those.'
                document.problem(f"/data/relationships/{name}", detail, "invalid")
                document[name] = None
        return document

    def read_identifiers(self, body: JSONObject, items: list[Any], kind: str, form: str) -> list[Identifier]:
        return [Identifier(item["type"], item["id"]) for item in items]


def read_linkage(relationship: Any) -> Identifier | list[Identifier] | None:
    """The identifiers of a relationship; raises one of KeyError, TypeError, AttributeError when it is malformed."""
    data = relationship["data"]
    if isinstance(data, list):
        return [Identifier(item["type"], item["id"]) for item in data]
    return None if data is None else Identifier(data["type"], data["id"])


def object_at(holder: JSONObject, name: str, pointer: str = "", default: JSONObject | None = None) -> JSONObject:
    """The object at `holder[name]`, or the default; one clear error when it is neither."""
    value = holder.get(name, default)
    if not isinstance(value, dict):
        missing = name not in holder
        detail = f"The member {name} is missing." if missing else f"The member {name} must be an object."
        raise ValidationError({f"{pointer}/{name}": [ErrorDetail(detail, "required" if missing else "invalid")]})
    return value
