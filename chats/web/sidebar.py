"""The sidebar of all pages: the chats that the user may use, and the user's conversations."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Self
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from chats.models import Chat, Session
from chats.search import bounded_search, match_sessions
from core.rest.filters import LONGEST_SEARCH
from core.rest.resource import LARGEST_INTEGER
from core.web.decorators import at_once, page
from groups.models import User
from groups.pages import SignedInRequest

CHATS = 5  # the first page has all
CONVERSATIONS = 30  # in one part of the list
FIELDS = ("uuid", "name", "pinned", "archived", "updated_at")


@dataclass(frozen=True)
class ListPosition:
    """Where a conversation stands in the list: pinned ones come first, then the newest."""

    pinned: bool
    updated_at: datetime
    pk: int

    @classmethod
    def of(cls, session: Session) -> Self:
        return cls(session.pinned, session.updated_at, session.pk)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The position that `str` wrote; raises ValueError."""
        pinned, moment, key = text.split("_")
        updated_at, pk = datetime.fromisoformat(moment), int(key)
        if not timezone.is_aware(updated_at) or not 0 <= pk <= LARGEST_INTEGER:
            raise ValueError(text)
        try:
            timezone.localtime(updated_at.astimezone(UTC))  # the database needs UTC, the heading local time
        except OverflowError:
            raise ValueError(text) from None
        return cls(pinned == "1", updated_at, pk)

    def __str__(self) -> str:
        return f"{self.pinned:d}_{self.updated_at.isoformat()}_{self.pk}"

    @property
    def after(self) -> Q:
        """The condition of all conversations below this one."""
        older = Q(updated_at__lt=self.updated_at) | Q(updated_at=self.updated_at, pk__lt=self.pk)
        return Q(pinned=self.pinned) & older | Q(pinned__lt=self.pinned)

    @property
    def heading(self) -> str:
        day, today = timezone.localdate(self.updated_at), timezone.localdate()
        if self.pinned:
            return str(_("Pinned"))
        if day >= today:
            return str(_("Today"))
        if day == today - timedelta(days=1):
            return str(_("Yesterday"))
        return date_format(day, "MONTH_DAY_FORMAT" if day.year == today.year else "DATE_FORMAT")


@dataclass(frozen=True)
class ConversationList:
    """A part of a user's list: headings with their conversations, and the query of the next part if there is one."""

    parts: list[tuple[str, list[Session]]]
    next: str = ""
    words: str = ""
    archived: bool = False


@dataclass(frozen=True)
class Sidebar:
    """What the sidebar shows: the first chats, whether there are more, the first conversations."""

    chats: list[Chat] = field(default_factory=list)
    more_chats: bool = False
    conversations: ConversationList = field(default_factory=lambda: ConversationList([]))


def sidebar(request: HttpRequest) -> dict[str, SimpleLazyObject]:
    """A context processor. `sidebar` is lazy, so that pages without a sidebar make no queries."""

    def load() -> Sidebar:
        user = request.user
        if not isinstance(user, User):
            return Sidebar()
        chats = list(Chat.objects.visible_to(user).order_by("name_folded", "pk").only("name")[: CHATS + 1])
        return Sidebar(chats[:CHATS], len(chats) > CHATS, list_conversations(user))

    return {"sidebar": SimpleLazyObject(load)}


@page
@at_once("searches", "q")
def conversations(request: SignedInRequest) -> HttpResponse:
    """A part of the list as HTML. `q` has words to search for, `after` the position of the last conversation before."""
    words, after = request.GET.get("q", ""), request.GET.get("after")
    if len(words) > LONGEST_SEARCH or "\0" in words:
        raise BadRequest(f"q must have at most {LONGEST_SEARCH} characters, none of them NUL.")
    try:
        position = ListPosition.parse(after) if after else None
    except ValueError:
        raise BadRequest("after must be what the page before gave.") from None
    with bounded_search() if words.strip() else nullcontext():
        part = list_conversations(request.user, words=words, archived="archived" in request.GET, after=position)
    return render(request, "chats/conversation_list.html", {"conversations": part})


def list_conversations(
    user: User, *, words: str = "", archived: bool = False, after: ListPosition | None = None
) -> ConversationList:
    """The user's conversations from the first, or after a position, found with one query."""
    sessions = match_sessions(Session.objects.visible_to(user).filter(archived=archived), words)
    if after:
        sessions = sessions.filter(after.after)
    rows = list(sessions.order_by("-pinned", "-updated_at", "-pk").only(*FIELDS)[: CONVERSATIONS + 1])
    part = rows[:CONVERSATIONS]
    query = {"q": words} | ({"archived": "1"} if archived else {})
    more = urlencode({**query, "after": str(ListPosition.of(part[-1]))}) if len(rows) > len(part) else ""
    previous = after.heading if after else ""  # the list has this heading already
    groups = groupby(part, lambda session: ListPosition.of(session).heading)
    parts = [("" if heading == previous else heading, list(group)) for heading, group in groups]
    return ConversationList(parts, more, words, archived)
