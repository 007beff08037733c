"""The page of a conversation. What is done there is asked of the API; here is what is shown.

Parts of the page are asked for by its scripts: they are told that someone is not signed in, and not led away.
"""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from chats import conversation
from chats.answering import runner
from chats.answering.journal import partial_text
from chats.answering.streams import resume_point
from chats.api.serializers import LONGEST_QUESTION, MessageSerializer, SessionSerializer
from chats.errors import AnswerInProgress, InvalidPosition, MessageNotFound, RunnerUnavailable, SessionNotFound
from chats.models import ActiveAnswer, Chat, Message, Session
from chats.web.rendering import message_page, stream_blocks
from core.rest.errors import error_object, http_error
from core.rest.renderers import FlatRenderer
from core.rest.sse import EventStream
from core.web.decorators import page
from groups.models import Group

View = Callable[..., Any]


def for_scripts(view: View) -> View:
    """For who is signed in: others get a 401."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
        return page(view)(request, *args, **kwargs)

    return guarded


def own(request: HttpRequest, session: UUID) -> Session:
    """The session of this uuid, if the caller may see it."""
    user: Any = request.user
    return get_object_or_404(Session.objects.visible_to(user).select_related("chat__llm"), uuid=session)


@require_GET
@page
def chat(request: HttpRequest, pk: int) -> HttpResponse:
    """A conversation in this chat that is yet to begin."""
    user: Any = request.user
    found = get_object_or_404(Chat.objects.visible_to(user).select_related("llm"), pk=pk)
    groups = Group.objects.visible_to(user).filter(chats=found)
    return render(request, "chats/session.html", {"chat": found, "groups": groups, "longest": LONGEST_QUESTION})


@require_GET
@page
def session(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = own(request, uuid)
    context = {
        "session": found,
        "chat": found.chat,
        "longest": LONGEST_QUESTION,
        **state_of(found),
        "page": message_page(found),
    }
    return render(request, "chats/session.html", context)


@require_GET
@for_scripts
def messages(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The newest messages of the branch, or those before the message that `before` names."""
    found, before = own(request, uuid), request.GET.get("before")
    if before is not None and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise Http404
    try:
        shown = message_page(found, before=None if before is None else int(before))
    except Message.DoesNotExist:
        raise Http404 from None
    return render(request, "chats/messages.html", {"session": found, **state_of(found), "page": shown})


def state_of(session: Session) -> dict[str, Any]:
    return {"answering": ActiveAnswer.objects.filter(session=session).values_list("message", flat=True).first()}


@require_GET
@for_scripts
def events(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """The newest answer as it grows, in blocks of HTML; where to read on is named as in the API's events."""
    try:
        session = own(request, uuid)
        last_event_id = request.headers.get("Last-Event-ID")
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
@for_scripts
def switch(request: HttpRequest, uuid: UUID, pk: int) -> HttpResponse:
    """Go on in the branch of this message."""
    user: Any = request.user
    try:
        conversation.switch_branch(user=user, session=uuid, message=pk)
    except (SessionNotFound, MessageNotFound):
        raise Http404 from None
    except AnswerInProgress as error:
        problem = http_error(error)
        assert problem
        refusal = error_object(problem.status_code, problem.default_code, str(error))
        return JsonResponse({"errors": [refusal]}, status=problem.status_code)
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


@require_GET
@page
def export_markdown(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The current branch as Markdown."""
    found = own(request, uuid)
    parts = [f"# {found.shown_name}\n\n{gettext('Chat')}: {found.name_of_chat}"]
    for message in Message.objects.branch(found.leaf_id).order_by("sequence"):
        heading = gettext("Question") if message.role == Message.Role.USER else gettext("Answer")
        text = message.text if message.status != Message.Status.STREAMING else partial_text(message.pk)
        parts.append(f"## {heading}\n\n{text}")
        if message.status != Message.Status.COMPLETE:
            parts.append(f"*({message.status})*")
    return file_of(found, "\n\n".join(parts) + "\n", "md", "text/markdown; charset=utf-8")


@require_GET
@page
def export_json(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The session and all its messages, whatever their branch, as the API writes them."""
    found = own(request, uuid)
    one: Any = SessionSerializer(found)
    all_of_it: Any = MessageSerializer(found.messages.order_by("sequence"), many=True)
    render_json = FlatRenderer().render
    content = b'{"session":%b,"messages":%b}\n' % (render_json(one.data), render_json(all_of_it.data))
    return file_of(found, content, "json", "application/json")


def file_of(session: Session, content: str | bytes, ending: str, media_type: str) -> HttpResponse:
    """A file to keep, named as the session is."""
    name = " ".join(session.name.replace("/", "-").replace("\\", "-").split())[:80].strip(" .…")
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = str(content_disposition_header(True, f"{name or session.uuid}.{ending}"))
    response["Cache-Control"] = "private, no-store"
    return response
