"""A conversation as a file to download."""

from http import HTTPStatus
from itertools import islice
from uuid import UUID

from django.db.models import QuerySet, Sum
from django.db.models.functions import Length
from django.http import HttpResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from django.views.decorators.http import require_GET

from chats.answering.journal import partial_entries
from chats.api.serializers import MessageSerializer, SessionSerializer
from chats.graphemes import cut_graphemes
from chats.models import Message, Session
from chats.parts import joined_text
from chats.web.harmless_markdown import escape_name, harmless_texts
from chats.web.pages import get_session
from core.rest.renderers import FlatRenderer
from core.web.decorators import at_once, page
from groups.pages import SignedInRequest

LONGEST_NAME = 80  # characters of a file's name
MESSAGES_AT_ONCE = 20  # that are in memory with all that is made of them
LONGEST_EXPORT = 50_000_000  # characters
TOO_LONG = f"This conversation has more than {LONGEST_EXPORT:,} characters. Read it in parts, through the API."


@require_GET
@page
@at_once("exports")
def export_markdown(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The current branch as markdown. No text in it can pass for another one."""
    session = get_session(request, uuid)
    branch = Message.objects.branch(session.leaf_id).order_by("sequence")
    if is_too_long(branch):
        return HttpResponse(TOO_LONG, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, content_type="text/plain")
    name, chat = escape_name(session.shown_name), escape_name(session.name_of_chat)
    question, answer = gettext("Question"), gettext("Answer")
    messages = list(branch)
    for message in messages:
        if message.status == Message.Status.STREAMING:
            message.text = joined_text(partial_entries(message.pk))
    texts = harmless_texts([message.text for message in messages], [question, answer])
    parts = [f"# {name}\n\n{gettext('Chat')}: {chat}"]
    for message, text in zip(messages, texts, strict=True):
        parts.append(f"## {question if message.role == Message.Role.USER else answer}\n\n{text}")
        if note := message.notice or (message.status != Message.Status.COMPLETE and message.status):
            parts.append(f"*({note})*")
    return download(session, "\n\n".join(parts) + "\n", "md", "text/markdown; charset=utf-8")


@require_GET
@page
@at_once("exports")
def export_json(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The session and the messages of all its branches, as the API renders them."""
    session = get_session(request, uuid)
    render_json = FlatRenderer().render
    messages = session.messages.order_by("sequence")
    if is_too_long(messages):
        return HttpResponse(TOO_LONG, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, content_type="text/plain")
    rendered = []
    rows = messages.iterator(MESSAGES_AT_ONCE)
    while some := list(islice(rows, MESSAGES_AT_ONCE)):
        serializer = MessageSerializer(context={"session": uuid})
        rendered.append(render_json(serializer.represent(some, is_many=True))[1:-1])
    head = render_json(SessionSerializer(session).data)
    content = b'{"session":%b,"messages":[%b]}\n' % (head, b",".join(rendered))
    return download(session, content, "json", "application/json")


def is_too_long(messages: QuerySet[Message]) -> bool:
    """Whether the messages have more characters than an export may, which is made in memory."""
    return (messages.order_by().aggregate(total=Sum(Length("text")))["total"] or 0) > LONGEST_EXPORT


def download(session: Session, content: str | bytes, extension: str, media_type: str) -> HttpResponse:
    """A response that browsers save as a file, named after the session."""
    words = " ".join(session.name.replace("/", "-").replace("\\", "-").split())
    name = cut_graphemes(words, LONGEST_NAME).strip(" .…")
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = str(content_disposition_header(True, f"{name or session.uuid}.{extension}"))
    response["Cache-Control"] = "private, no-store"
    return response
