"""What an action of a view takes and answers: declared once, for the checks of requests and for the description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from django_filters import FilterSet
from rest_framework.decorators import action
from rest_framework.viewsets import GenericViewSet

if TYPE_CHECKING:
    from core.rest.serializers import SerializerClass

INTEGER_64 = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
NOT_BLANK = {"type": "string", "pattern": r"^[^\u0000\s]+$", "maxLength": 200}
BEGINNING = "The beginning of a name; letter case makes no difference."


@dataclass(frozen=True)
class Parameter:
    """A query parameter or header of one action, described by a JSON schema."""

    name: str
    schema: Mapping[str, object]
    description: str
    required: bool = True
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True)
class Operation:
    """An action.

    `returns` is "many" for a list with pages, "all" for one without. `relation` is the relation whose identifiers the
    action takes or returns. `answers` is the serializer of the answer, if it is not the view's. `streams` says that a
    client can have the answer as events. `fails` are its statuses of errors, besides those of every operation.
    `holds_secret` says that the answer is not stored for a client that repeats its Idempotency-Key, `repeatable` that
    the action ignores the key, because repeating it is harmless. `waits` says that the action waits for another server,
    so that no transaction may be open meanwhile.
    """

    summary: str
    takes: Literal["nothing", "resource", "identifier", "identifiers"] = "nothing"
    returns: Literal["nothing", "one", "many", "all", "identifiers", "events"] = "one"
    status: HTTPStatus = HTTPStatus.OK
    parameters: tuple[Parameter, ...] = ()
    relation: str = ""
    answers: "SerializerClass | None" = None
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

Method = Literal["get", "post", "patch", "delete"]
Action = TypeVar("Action", bound=Callable[..., object])


def documents(summary: str, method: str, **own: Any) -> Callable[[Action], Action]:
    """Declare what an action takes and answers, with the options of Operation."""

    def decorate(function: Action) -> Action:
        function.operation = {method: Operation(summary, **own)}  # type: ignore[attr-defined]
        return function

    return decorate


def extra_action(
    summary: str, *, detail: bool, path: str, method: Method = "get", **options: Any
) -> Callable[..., Any]:
    """An action beyond the standard ones. Options are those of Operation, and attributes of the view."""
    own = {name: options.pop(name) for name in tuple(options) if name in Operation.__dataclass_fields__}
    routed = action(detail=detail, methods=[method], url_path=path, **options)
    return lambda function: routed(documents(summary, method, **own)(function))


class OperationView(GenericViewSet):
    """A view whose actions are declared as operations: the standard ones are STANDARD, unless `operations` differs.

    `filterset_class`, `search_fields` (which hold casefolded names) and `sort_fields` (names to columns) say what a
    client can ask of its lists. For the permissions see `NamedPermissions`.
    """

    lookup_value_converter = "row_id"  # RowIdConverter
    http_method_names = ["get", "post", "patch", "delete", "head"]
    filterset_class: type[FilterSet] | None = None
    search_fields: tuple[str, ...] = ()
    searched = "name"  # where `search` looks, in words
    sort_fields: ClassVar[Mapping[str, str]] = {}
    access_permission = read_permission = ""
    operations: ClassVar[Mapping[str, Operation]] = {}  # by action
    change_permission: str  # without a default: it is not to be forgotten

    if TYPE_CHECKING:
        get_serializer_class: Callable[[], SerializerClass]
        get_serializer: Callable[..., Any]

    @cached_property
    def operation(self) -> Operation:
        own = getattr(getattr(self, self.action), "operation", None)
        method = "get" if self.request.method == "HEAD" else (self.request.method or "").lower()
        return own[method] if own else self.operations.get(self.action) or STANDARD[self.action]

    @property
    def user(self) -> Any:
        """Who is calling; the permissions have made sure that they are signed in."""
        return self.request.user
