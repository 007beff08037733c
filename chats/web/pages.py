"""The page of a conversation, and the parts of it that its scripts load. What people do there goes through the API."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import TypedDict
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from chats import conversation
from chats.answering import runner
from chats.answering.streams import resume_point
from chats.api.serializers import LONGEST_QUESTION
from chats.errors import AnswerInProgress, InvalidPosition, MessageNotFound, RunnerUnavailable, SessionNotFound
from chats.models import ActiveAnswer, Chat, Message, Session
from chats.web.rendering import MessagePage, message_page, stream_blocks
from core.rest.errors import error_object, http_error
from core.server.responses import EventStream
from core.web.decorators import at_once, page
from groups.models import Group
from groups.pages import SignedInRequest


class SessionContext(TypedDict):
    """The context of a conversation's templates. `answering` is the id of the answer that is being produced."""

    session: Session
    page: MessagePage
    answering: int | None


def page_part(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view for scripts, which answers 401 to people who are not signed in, where `page` would redirect them."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
        return page(view)(request, *args, **kwargs)

    return wrapper


def get_session(request: SignedInRequest, uuid: UUID) -> Session:
    """The session, or a 404 if the user may not see it."""
    visible = Session.objects.visible_to(request.user)
    return get_object_or_404(visible.select_related("chat__llm", "chat__llm_settings"), uuid=uuid)


def session_context(session: Session, *, before: int | None = None) -> SessionContext:
    answering = ActiveAnswer.objects.filter(session=session).values_list("message", flat=True).first()
    return {"session": session, "answering": answering, "page": message_page(session, before=before)}


@require_GET
@page
def chat_page(request: SignedInRequest, pk: int) -> HttpResponse:
    """A new conversation in this chat, which begins with the first question."""
    chat = get_object_or_404(Chat.objects.visible_to(request.user).select_related("llm", "llm_settings"), pk=pk)
    groups = Group.objects.visible_to(request.user).filter(chats=chat)
    return render(request, "chats/session.html", {"chat": chat, "groups": groups, "longest": LONGEST_QUESTION})


@require_GET
@page
def session_page(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The page of a conversation."""
    session = get_session(request, uuid)
    context = {**session_context(session), "chat": session.chat, "longest": LONGEST_QUESTION}
    return render(request, "chats/session.html", context)


@require_GET
@page_part
def session_messages(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The newest messages of the branch, or those before the message that `before` names."""
    session, before = get_session(request, uuid), request.GET.get("before")
    if before is not None and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise Http404
    try:
        context = session_context(session, before=None if before is None else int(before))
    except Message.DoesNotExist:
        raise Http404 from None
    return render(request, "chats/messages.html", context)


@require_GET
@page_part
@at_once("streams")
def session_events(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    """The newest answer as events with blocks of HTML. Clients resume as with the API's events."""
    try:
        last_event_id = request.headers.get("Last-Event-ID")
        session = get_session(request, uuid)
        answer, place = resume_point(session, after=request.GET.get("after"), last_event_id=last_event_id)
        runner.current_runner()
    except InvalidPosition as error:
        return HttpResponse(error.args[1], status=HTTPStatus.BAD_REQUEST, content_type="text/plain")
    except RunnerUnavailable as error:
        return HttpResponse(str(error), status=HTTPStatus.SERVICE_UNAVAILABLE, content_type="text/plain")
    if answer is None:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return EventStream(stream_blocks(lambda: runner.current_runner().live_answer(answer), place))


@require_POST
@page_part
def switch_to_branch(request: SignedInRequest, uuid: UUID, pk: int) -> HttpResponse:
    """Continue the conversation in the branch of this message."""
    try:
        conversation.switch_branch(user=request.user, session=uuid, message=pk)
    except (SessionNotFound, MessageNotFound):
        raise Http404 from None
    except AnswerInProgress as error:
        problem = http_error(error)
        assert problem
        document = {"errors": [error_object(problem.status_code, problem.default_code, str(error))]}
        return JsonResponse(document, status=problem.status_code)
    return HttpResponse(status=HTTPStatus.NO_CONTENT)
