"""What an action of a view takes and answers: declared once, for its checks and for the description."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

from rest_framework.decorators import action

INTEGER_64 = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
NOT_BLANK = {"type": "string", "pattern": r"^[^\u0000\s]+$", "maxLength": 200}
BEGINNING = "The beginning of a name; letter case makes no difference."


@dataclass(frozen=True)
class Parameter:
    """A query parameter or header of one action, described by a JSON schema."""

    name: str
    schema: dict[str, Any]
    description: str
    required: bool = True
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True)
class Operation:
    """An action.

    `returns` many with paging, or all, or events alone; `relation` is the one whose identifiers it takes or returns;
    `answers` is a serializer of the answer other than the view's; `streams` says that its answer can be had as events;
    `fails` are statuses beyond those that every operation can have.
    `holds_secret` says that its answer is not kept for who sends an Idempotency-Key again, `repeatable` that it is as
    well done again, `waits` that it waits for others, so that no transaction may be open meanwhile.
    """

    summary: str
    takes: Literal["nothing", "resource", "identifier", "identifiers"] = "nothing"
    returns: Literal["nothing", "one", "many", "all", "identifiers", "events"] = "one"
    status: HTTPStatus = HTTPStatus.OK
    parameters: tuple[Parameter, ...] = ()
    relation: str = ""
    answers: Any = None
    streams: bool = False
    fails: tuple[HTTPStatus, ...] = ()
    holds_secret: bool = False
    repeatable: bool = False
    waits: bool = False


STANDARD = {
    "list": Operation("List {nouns}", returns="many"),
    "retrieve": Operation("Get {a_noun}"),
    "create": Operation("Create a new {noun}", takes="resource", status=HTTPStatus.CREATED),
    "partial_update": Operation("Change {a_noun}: what is sent, and nothing else", takes="resource"),
    "destroy": Operation("Delete {a_noun}", returns="nothing", status=HTTPStatus.NO_CONTENT),
}
EMPTY = Operation("", returns="nothing", status=HTTPStatus.NO_CONTENT)


def documents(summary: str, method: str, **own: Any) -> Callable[[Any], Any]:
    """Say what an action takes and answers, with the options of Operation."""

    def decorate(function: Any) -> Any:
        function.operation = {method: Operation(summary, **own)}
        return function

    return decorate


def extra_action(summary: str, *, detail: bool, path: str, method: Any = "get", **options: Any) -> Callable[[Any], Any]:
    """An action beyond the standard ones. Options are those of Operation, and attributes of the view."""
    own = {name: options.pop(name) for name in tuple(options) if name in Operation.__dataclass_fields__}
    routed = action(detail=detail, methods=[method], url_path=path, **options)
    return lambda function: routed(documents(summary, method, **own)(function))


def relationship(relation: str, **options: Any) -> Any:
    """The endpoint of a relation to many: GET shows, POST adds, PATCH replaces, DELETE removes, all idempotent."""

    def view(self: Any, request: Any, pk: int) -> Any:
        return self.answer_relationship(relation)

    view.__name__ = f"{relation}_relationship"
    change = replace(EMPTY, takes="identifiers", relation=relation)
    view.operation = {  # type: ignore[attr-defined]
        "get": Operation(f"List the ids of the {relation} of {{a_noun}}", returns="identifiers", relation=relation),
        "post": replace(change, summary=f"Add {relation} to {{a_noun}}"),
        "patch": replace(change, summary=f"Replace the {relation} of {{a_noun}}"),
        "delete": replace(change, summary=f"Remove {relation} from {{a_noun}}"),
    }
    path = f"relationships/{relation}"
    return action(detail=True, methods=["get", "post", "patch", "delete"], url_path=path, **options)(view)
