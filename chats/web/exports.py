"""A conversation as a file to download."""

from uuid import UUID

from django.http import HttpResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from django.views.decorators.http import require_GET

from chats.answering.journal import partial_entries
from chats.api.serializers import MessageSerializer, SessionSerializer
from chats.graphemes import cut_graphemes
from chats.models import Message, Session
from chats.parts import joined_text
from chats.web.pages import get_session
from core.rest.renderers import FlatRenderer
from core.web.decorators import page
from groups.pages import SignedInRequest

LONGEST_NAME = 80  # characters of a file's name


@require_GET
@page
def export_markdown(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The current branch as markdown."""
    session = get_session(request, uuid)
    parts = [f"# {session.shown_name}\n\n{gettext('Chat')}: {session.name_of_chat}"]
    for message in Message.objects.branch(session.leaf_id).order_by("sequence"):
        heading = gettext("Question") if message.role == Message.Role.USER else gettext("Answer")
        text = message.text if message.status != Message.Status.STREAMING else joined_text(partial_entries(message.pk))
        parts.append(f"## {heading}\n\n{text}")
        if note := message.notice or (message.status != Message.Status.COMPLETE and message.status):
            parts.append(f"*({note})*")
    return download(session, "\n\n".join(parts) + "\n", "md", "text/markdown; charset=utf-8")


@require_GET
@page
def export_json(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The session and the messages of all its branches, as the API renders them."""
    session = get_session(request, uuid)
    render_json = FlatRenderer().render
    head = render_json(SessionSerializer(session).data)
    messages = list(session.messages.order_by("sequence"))
    rendered = render_json(MessageSerializer(context={"session": uuid}).represent(messages, is_many=True))
    content = b'{"session":%b,"messages":%b}\n' % (head, rendered)
    return download(session, content, "json", "application/json")


def download(session: Session, content: str | bytes, extension: str, media_type: str) -> HttpResponse:
    """A response that browsers save as a file, named after the session."""
    words = " ".join(session.name.replace("/", "-").replace("\\", "-").split())
    name = cut_graphemes(words, LONGEST_NAME).strip(" .…")
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = str(content_disposition_header(True, f"{name or session.uuid}.{extension}"))
    response["Cache-Control"] = "private, no-store"
    return response
