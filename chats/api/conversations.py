"""Sessions and messages: what people and programs talk with."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from functools import cached_property
from http import HTTPStatus
from types import SimpleNamespace
from typing import ClassVar, TypedDict, cast
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.encoding import force_bytes
from django_filters import rest_framework as filters
from rest_framework.generics import get_object_or_404
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from chats import conversation
from chats.answering import runner
from chats.answering.events import follow
from chats.answering.live_answer import Subscriber
from chats.answering.streams import resume_point
from chats.api.serializers import (
    MessageSerializer,
    QuestionSerializer,
    SessionSerializer,
    SessionUsageSerializer,
)
from chats.api.streaming import EventStreamRenderer, StreamingView
from chats.conversation import Exchange
from chats.models import Message, MessageQuerySet, Session, Title
from chats.search import bounded_search, text_contains
from core.idempotency import attempts
from core.rest.errors import InvalidParameter
from core.rest.filters import BooleanFilter, IdFilter
from core.rest.operations import Parameter, documents, extra_action
from core.rest.renderers import API_ROOT
from core.rest.serializers import SerializerClass
from core.rest.sse import MEDIA_TYPE
from core.rest.views import ResourceViewSet
from core.server.responses import EventStream, StreamedResponse
from groups.models import User

EVENT_ID = {"type": "string", "pattern": "^[0-9]{1,19}$"}
BRANCH = {"type": "string", "enum": ["current", "all"]}
KEY = Parameter(
    "Idempotency-Key",
    attempts.KEY_SCHEMA,
    "One for each question: sent again, it leads to the answer that there is.",
    required=False,
    place="header",
)


class AskArguments(TypedDict):
    """The arguments that `ask`, `edit` and `regenerate` have in common."""

    user: User
    session: UUID
    runner_id: UUID | None
    idempotency_key: str | None


class SessionFilters(filters.FilterSet):
    chat = IdFilter("chat_id")
    pinned = BooleanFilter()
    archived = BooleanFilter()


class SessionViewSet(StreamingView, ResourceViewSet):
    """The caller's own sessions, as long as the caller may see their chats."""

    queryset = Session.objects.all()
    serializer_class = SessionSerializer
    change_permission = ""
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

    def list(self, request: Request, *args: object, **kwargs: object) -> Response:
        with bounded_search() if request.query_params.get("search") else nullcontext():
            return super().list(request, *args, **kwargs)

    def search_elsewhere(self, word: str) -> Q:
        return text_contains(word)

    def save(self, serializer: BaseSerializer[Session]) -> None:
        serializer.save(**({} if serializer.instance else {"user": self.user}))

    @extra_action(
        "Sum up what the answers of a session took", detail=True, path="usage", answers=SessionUsageSerializer
    )
    def usage(self, request: Request, pk: UUID) -> Response:
        session = self.get_object()
        answers = usage_totals(session.messages.filter(role=Message.Role.ASSISTANT))
        titles = usage_totals(Title.objects.filter(session=session))
        cached = [each["cached_tokens"] for each in (answers, titles) if each["cached_tokens"] is not None]
        sums = SimpleNamespace(
            session=pk,
            answers=answers["calls"],
            titles=titles["calls"],
            input_tokens=answers["input_tokens"] + titles["input_tokens"],
            output_tokens=answers["output_tokens"] + titles["output_tokens"],
            cached_tokens=sum(cached) if cached else None,
            estimated=answers["estimates"] + titles["estimates"] > 0,
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
        runner.stop(conversation.request_stop(session=self.get_object()))
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
        answer, place = resume_point(
            self.get_object(),
            after=request.query_params.get("after"),
            last_event_id=request.headers.get("Last-Event-ID"),
        )
        if answer is None:
            nothing = HttpResponse(status=HTTPStatus.NO_CONTENT)  # DRF's would look for a renderer of events
            del nothing["Content-Type"]
            return nothing
        return EventStream(follow(lambda: runner.current_runner().live_answer(answer), answer.parent, place))

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        if self.action == "events":
            return EventStreamRenderer(), MEDIA_TYPE
        return super().perform_content_negotiation(request, force)


class MessageViewSet(StreamingView):
    """The messages of a session of the caller's: asked, regenerated, edited and read."""

    queryset = Message.objects.all()
    serializer_class = MessageSerializer
    change_permission = ""

    def get_serializer_class(self) -> SerializerClass:
        return QuestionSerializer if self.request and self.request.method == "POST" else MessageSerializer

    def get_serializer_context(self) -> dict[str, object]:
        return {**super().get_serializer_context(), "session": self.kwargs.get("session")}  # the schema's view has none

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
        return self.answer(conversation.ask(**self.ask_arguments(), text=self.read_text()))

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
        return self.answer(conversation.regenerate(**self.ask_arguments(), message=pk))

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
        return self.answer(conversation.edit(**self.ask_arguments(), message=pk, text=self.read_text()))

    def ask_arguments(self) -> AskArguments:
        user, key = self.request.user, attempts.key_of(self.request)
        assert isinstance(user, User)  # as permissions have checked
        if key and "pk" in self.kwargs:  # a key holds for a path, and messages keep those of their session
            key = hashlib.sha256(f"{self.request.path}\0{key}".encode()).hexdigest()
        return {
            "user": user,
            "session": self.kwargs["session"],
            "runner_id": runner.current_runner_id(),
            "idempotency_key": key,
        }

    def read_text(self) -> str:
        serializer = QuestionSerializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        return str(serializer.validated_data["text"])

    def answer(self, exchange: Exchange) -> HttpResponseBase:
        """Produce the answer in this process. The response streams it, or has it when it is complete."""
        runner.submit(exchange)
        answer, media_type = exchange.answer, self.request.accepted_renderer.media_type
        response: StreamedResponse
        if media_type == MEDIA_TYPE:
            response = EventStream(follow(lambda: runner.current_runner().live_answer(answer), exchange.question))
        else:
            whole = self.whole_answer(answer)
            response = StreamedResponse(whole, status=HTTPStatus.CREATED, content_type=media_type)
            path = f"sessions/{self.kwargs['session']}/messages/{answer.pk}"
            response["Location"] = self.request.build_absolute_uri(f"{API_ROOT}{path}")
        if exchange.call is None:
            response[attempts.REPLAYED] = "true"
        return response

    async def whole_answer(self, answer: Message) -> AsyncGenerator[bytes]:
        """The answer once it has ended."""
        live = runner.current_runner().live_answer(answer)
        with Subscriber(live) as subscriber:
            while not live.ended:
                await subscriber.wait()
        # the database must not be used in the event loop, and need not be: the message is complete
        serializer = MessageSerializer(live.message, context={**self.get_serializer_context(), "as_it_is": True})
        renderer, context = self.request.accepted_renderer, self.get_renderer_context()
        yield force_bytes(renderer.render(serializer.data, renderer_context=context))


class UsageTotals(TypedDict):
    """The sums of some calls of vendors, and how many of them were estimated."""

    calls: int
    estimates: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None


def usage_totals(calls: QuerySet[Message] | QuerySet[Title]) -> UsageTotals:
    """Sum up what these calls took, with one query."""
    sums = calls.aggregate(
        calls=Count("pk"),
        estimates=Count("pk", filter=Q(estimated=True)),
        input_tokens=Sum("input_tokens", default=0),
        output_tokens=Sum("output_tokens", default=0),
        cached_tokens=Sum("cached_tokens"),
    )
    return cast(UsageTotals, sums)
