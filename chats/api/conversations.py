"""Sessions and messages: what people and programs talk with."""

from collections.abc import AsyncGenerator, Callable
from functools import cached_property
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum
from django.http.response import HttpResponseBase
from django_filters import rest_framework as filters
from rest_framework.exceptions import ErrorDetail, NotFound, PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from chats import conversation
from chats.answering import runner
from chats.answering.events import DONE, Position, follow, is_place
from chats.answering.live_answer import Subscriber
from chats.api.serializers import (
    MessageSerializer,
    QuestionSerializer,
    RecordSerializer,
    SessionSerializer,
    SessionUsageSerializer,
)
from chats.conversation import Exchange
from chats.models import ActiveAnswer, Message, MessageQuerySet, Session, Title
from chats.search import text_contains
from core.idempotency import attempts
from core.rest.errors import Conflict, InvalidParameter
from core.rest.filters import BooleanFilter, IdFilter
from core.rest.operations import INTEGER_64, Parameter, documents, extra_action
from core.rest.permissions import SignedIn
from core.rest.renderers import API_ROOT, FlatRenderer
from core.rest.sse import MEDIA_TYPE, EventStream
from core.rest.views import ResourceView, ResourceViewSet
from core.server.responses import StreamedResponse

FAILURE = "aistudio.failure"  # in the scope of a request: what it met with on the short way, to be explained here
EVENT_ID = {"type": "string", "pattern": "^[0-9]{1,19}$"}
BRANCH = {"type": "string", "enum": ["current", "all"]}
KEY = Parameter(
    "Idempotency-Key",
    attempts.KEY_SCHEMA,
    "One for each question: sent again, it leads to the answer that there is.",
    required=False,
    place="header",
)
USER = Parameter("user_id", INTEGER_64, "Your own id; an administrator may name anyone.")


class EventStreamRenderer(BaseRenderer):
    """Stands for `text/event-stream` where a media type is chosen; errors before the stream are JSON."""

    media_type = MEDIA_TYPE
    format = "events"


class Streaming(ResourceView):
    """A view some of whose actions can answer with events."""

    def get_renderers(self) -> list[Any]:
        events = [EventStreamRenderer()] if self.has_operation and self.operation.streams else []
        return [*super().get_renderers(), *events]

    @property
    def wants_events(self) -> bool:
        return bool(self.request.accepted_renderer.format == EventStreamRenderer.format)

    def refuse_content(self) -> None:
        """Where nothing is taken, nothing that is sent may be overlooked."""
        if self.request._request.body.strip() in (b"", b"{}"):
            return
        document: Any = self.request.data
        errors = dict(document.problems)
        errors |= {name: ErrorDetail(f"{self.action} takes no {name}.", "unknown_attribute") for name in document}
        if errors:
            raise ValidationError(errors)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        chosen = getattr(request, "accepted_renderer", None)  # none, where no media type fits
        if isinstance(response, Response) and isinstance(chosen, EventStreamRenderer):
            request.accepted_renderer, request.accepted_media_type = FlatRenderer(), FlatRenderer.media_type
        return super().finalize_response(request, response, *args, **kwargs)


class SessionFilters(filters.FilterSet):
    chat = IdFilter("chat_id")
    pinned = BooleanFilter()
    archived = BooleanFilter()


class SessionViewSet(Streaming, ResourceViewSet):
    queryset = Session.objects.all()
    serializer_class = SessionSerializer
    permission_classes = [SignedIn]
    filterset_class = SessionFilters
    search_fields = ("name_folded",)
    searched = "name or messages"
    sort_fields: ClassVar[dict[str, str]] = {
        "name": "name_folded",
        "created_at": "created_at",
        "updated_at": "updated_at",
    }
    lookup_value_converter = "uuid"
    key = "uuid"

    def get_queryset(self) -> QuerySet[Session]:
        return super().get_queryset().select_related("chat")

    def search_elsewhere(self, word: str) -> Q:
        return text_contains(word)

    def save(self, serializer: Any) -> None:
        serializer.save(**({} if serializer.instance else {"user": self.user}))

    @extra_action(
        "Sum up what the answers of a session took", detail=True, path="usage", answers=SessionUsageSerializer
    )
    def usage(self, request: Request, pk: UUID) -> Response:
        session = self.get_object()
        answers = took(session.messages.filter(role=Message.Role.ASSISTANT))
        titles = took(Title.objects.filter(session=session))
        cached = [each["cached_tokens"] for each in (answers, titles) if each["cached_tokens"] is not None]
        sums = SimpleNamespace(
            session=pk,
            answers=answers["calls"],
            titles=titles["calls"],
            input_tokens=answers["input_tokens"] + titles["input_tokens"],
            output_tokens=answers["output_tokens"] + titles["output_tokens"],
            cached_tokens=sum(cached) if cached else None,
            estimated=answers["guesses"] + titles["guesses"] > 0,
        )
        return self.answer_one(sums)

    @extra_action(
        "Stop the answer of a session",
        detail=True,
        path="stop",
        method="post",
        returns="nothing",
        status=HTTPStatus.ACCEPTED,
    )
    def stop(self, request: Request, pk: UUID) -> Response:
        self.refuse_content()
        session = self.get_object()
        run = ActiveAnswer.objects.filter(session=session).first()
        if run is None or not conversation.request_stop(session=session):
            raise Conflict("Nothing is being answered in this session.")
        runner.stop(run.message_id)
        return Response(status=HTTPStatus.ACCEPTED)

    @extra_action(
        "Follow the newest answer of a session, from its beginning or after an event",
        detail=True,
        path="events",
        returns="events",
        parameters=(
            Parameter("after", EVENT_ID, "The id of the last event that the client has.", required=False),
            Parameter("Last-Event-ID", EVENT_ID, "The same, as browsers send it.", required=False, place="header"),
        ),
    )
    def events(self, request: Request, pk: UUID) -> HttpResponseBase:
        answer, place = followed(self.get_object(), request)
        if answer is None:
            return Response(status=HTTPStatus.NO_CONTENT)
        return EventStream(events(answer, answer.parent, place))

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        if self.action == "events":
            return EventStreamRenderer(), MEDIA_TYPE
        return super().perform_content_negotiation(request, force)


class MessageViewSet(Streaming):
    queryset = Message.objects.all()
    serializer_class = MessageSerializer
    permission_classes = [SignedIn]
    lookup_value_converter = "int"

    def get_serializer_class(self) -> Any:
        return QuestionSerializer if self.request and self.request.method == "POST" else MessageSerializer

    def get_queryset(self) -> MessageQuerySet:
        return Message.objects.filter(session=self.session)

    @cached_property
    def session(self) -> Session:
        return get_object_or_404(Session.objects.visible_to(self.user), uuid=self.kwargs["session"])

    @documents(
        "List the messages of a session, by their sequence",
        "get",
        returns="many",
        parameters=(Parameter("branch", BRANCH, "The branch of the leaf (current), or all.", required=False),),
    )
    def list(self, request: Request, session: UUID) -> Response:
        branch = request.query_params.get("branch", "current")
        if branch not in BRANCH["enum"]:
            raise InvalidParameter("branch", "branch is current or all.")
        messages = self.get_queryset()
        return self.answer_list(messages if branch == "all" else messages.branch(self.session.leaf_id))

    def retrieve(self, request: Request, session: UUID, pk: int) -> Response:
        return self.answer_one(self.get_object())

    @documents(
        "Ask a question",
        "post",
        takes="resource",
        answers=MessageSerializer,
        status=HTTPStatus.CREATED,
        streams=True,
        parameters=(KEY,),
    )
    def create(self, request: Request, session: UUID) -> HttpResponseBase:
        return self.answer(conversation.ask, text=self.text)

    @extra_action(
        "Ask for another answer to a question",
        detail=True,
        path="regenerate",
        method="post",
        answers=MessageSerializer,
        status=HTTPStatus.CREATED,
        streams=True,
        parameters=(KEY,),
    )
    def regenerate(self, request: Request, session: UUID, pk: int) -> HttpResponseBase:
        self.refuse_content()
        return self.answer(conversation.regenerate, message=pk)

    @extra_action(
        "Ask another question instead of one",
        detail=True,
        path="edit",
        method="post",
        takes="resource",
        answers=MessageSerializer,
        status=HTTPStatus.CREATED,
        streams=True,
        parameters=(KEY,),
    )
    def edit(self, request: Request, session: UUID, pk: int) -> HttpResponseBase:
        return self.answer(conversation.edit, message=pk, text=self.text)

    @property
    def text(self) -> str:
        serializer: Any = QuestionSerializer(data=self.body, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        text: str = serializer.validated_data["text"]
        return text

    def answer(self, verb: Callable[..., Exchange], **said: Any) -> HttpResponseBase:
        """Let the worker of this process answer, and show that: as it comes, or when it is whole."""
        key = attempts.key_of(self.request)
        try:
            if failure := getattr(self.request._request, "scope", {}).get(FAILURE):
                raise failure
            exchange = begun(verb, user=self.user, session=self.kwargs["session"], idempotency_key=key, **said)
        except (Session.DoesNotExist, Message.DoesNotExist):
            raise NotFound from None
        if self.wants_events:
            return EventStream(events(exchange.answer, exchange.question))
        renderer = self.request.accepted_renderer
        response = StreamedResponse(
            self.whole(exchange.answer), status=HTTPStatus.CREATED, content_type=renderer.media_type
        )
        path = f"sessions/{self.kwargs['session']}/messages/{exchange.answer.pk}"
        response["Location"] = self.request.build_absolute_uri(f"{API_ROOT}{path}")
        return response

    async def whole(self, answer: Message) -> AsyncGenerator[bytes]:
        """The answer once it has ended."""
        feed = runner.current().feed(answer)
        with Subscriber(feed) as reader:
            while not feed.ended:
                await reader.woken()
        # here no database can be asked, and need not be
        serializer = MessageSerializer(feed.message, context={**self.get_serializer_context(), "as_it_is": True})
        renderer: Any = self.request.accepted_renderer
        yield renderer.render(serializer.data, renderer_context=self.get_renderer_context())


class RecordViewSet(ResourceViewSet):
    """Sessions, as the contract has them."""

    queryset = Session.objects.all()
    serializer_class = RecordSerializer
    permission_classes = [SignedIn]
    http_method_names = ["get", "post", "delete", "head"]

    @documents("List the sessions of a user", "get", returns="many", parameters=(USER,))
    def list(self, request: Request) -> Response:
        user_id = self.integer("user_id")
        if user_id == self.user.pk:
            return self.answer_list(self.get_queryset())
        if not self.user.is_admin:
            raise PermissionDenied(f"These are not yours; your own id is {self.user.pk}.")
        return self.answer_list(self.queryset.filter(user=user_id))


def took(calls: QuerySet[Any]) -> dict[str, Any]:
    """The sums of what these calls of vendors took."""
    sums = {name: Sum(name, default=0) for name in ("input_tokens", "output_tokens")}
    guesses = Count("pk", filter=Q(estimated=True))
    return calls.aggregate(calls=Count("pk"), guesses=guesses, cached_tokens=Sum("cached_tokens"), **sums)


def begun(verb: Callable[..., Exchange], **said: Any) -> Exchange:
    """What was said, and the answer to it, which the worker of this process gives from now on."""
    exchange = verb(worker=runner.current_id, **said)
    if exchange.call:
        runner.begin(exchange)
    return exchange


def events(answer: Message, question: Message | None, place: int = -1) -> AsyncGenerator[bytes]:
    return follow(lambda: runner.current().feed(answer), question, place)


def followed(session: Session, request: Any) -> tuple[Message | None, int]:
    """The answer that a request for events is to read on, and after which place; None where nothing (more) comes.

    Raises InvalidParameter where it names no event of this session.
    """
    answers = session.messages.filter(role=Message.Role.ASSISTANT).select_related("parent")
    position = asked_position(request)
    if position is None:
        return answers.order_by("sequence").last(), -1
    answer = answers.filter(sequence=position.sequence).first()
    if answer is None or not is_place(answer, position.place):
        name = "after" if "after" in request.GET else "Last-Event-ID"
        raise InvalidParameter(name, "There is no event with this id in this session.")
    if position.place == DONE:
        return answers.filter(sequence__gt=answer.sequence).order_by("sequence").first(), -1
    return answer, position.place


def asked_position(request: Any) -> Position | None:
    """The later of the two places that a browser names: where it began, and where it lost the connection."""
    given = {"after": request.GET.get("after"), "Last-Event-ID": request.headers.get("Last-Event-ID")}
    ids = []
    for name, text in given.items():
        if text is None or (name != "after" and not text):
            continue
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise InvalidParameter(name, f"{name} must be the id of an event.")
        ids.append(int(text))
    return Position.of(max(ids)) if ids else None
