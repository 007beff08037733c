"""What stands beside every page of someone who is signed in: the chats they may use, and their conversations."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, Self
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
from chats.search import match_sessions
from core.rest.filters import LONGEST_SEARCH
from core.rest.parsers import LARGEST_INTEGER
from core.web.decorators import page
from groups.models import User

CHATS = 5  # the home page has all
CONVERSATIONS = 30  # that are shown at once
FIELDS = ("uuid", "name", "pinned", "archived", "updated_at")


@dataclass(frozen=True)
class Place:
    """Where in the list a conversation stands: pinned ones first, then the newest."""

    pinned: bool
    updated_at: datetime
    pk: int

    @classmethod
    def of(cls, session: Session) -> Self:
        return cls(session.pinned, session.updated_at, session.pk)

    @classmethod
    def read(cls, text: str) -> Self:
        """What `str` wrote; raises ValueError."""
        pinned, moment, key = text.split("_")
        updated_at, pk = datetime.fromisoformat(moment), int(key)
        if not timezone.is_aware(updated_at) or not 0 <= pk <= LARGEST_INTEGER:
            raise ValueError(text)
        try:
            timezone.localtime(updated_at.astimezone(UTC))  # as the database has it, and as it is shown
        except OverflowError:
            raise ValueError(text) from None
        return cls(pinned == "1", updated_at, pk)

    def __str__(self) -> str:
        return f"{self.pinned:d}_{self.updated_at.isoformat()}_{self.pk}"

    @property
    def after(self) -> Q:
        older = Q(updated_at__lt=self.updated_at) | Q(updated_at=self.updated_at, pk__lt=self.pk)
        return Q(pinned=self.pinned) & older | Q(pinned__lt=self.pinned)

    @property
    def heading(self) -> str:
        """What it stands under: that it is pinned, or the day."""
        return str(_("Pinned")) if self.pinned else day_name(timezone.localdate(self.updated_at))


@dataclass(frozen=True)
class Conversations:
    """A part of someone's list, below its headings, and the query that leads to the next part."""

    parts: list[tuple[str, list[Session]]]
    next: str = ""
    words: str = ""
    archived: bool = False


@dataclass(frozen=True)
class Sidebar:
    chats: list[Chat] = field(default_factory=list)
    more_chats: bool = False
    conversations: Conversations = field(default_factory=lambda: Conversations([]))


def sidebar(request: HttpRequest) -> dict[str, Any]:
    """A context processor: `sidebar`, which asks the database only where a page shows it."""
    return {"sidebar": SimpleLazyObject(lambda: sidebar_of(request.user))}


def sidebar_of(user: Any) -> Sidebar:
    if not isinstance(user, User):
        return Sidebar()
    chats = list(Chat.objects.visible_to(user).order_by("name_folded", "pk").only("name")[: CHATS + 1])
    return Sidebar(chats[:CHATS], len(chats) > CHATS, conversations_of(user))


@page
def conversations(request: HttpRequest) -> HttpResponse:
    """A part of the list, to be put into the page: `q` has words to look for, `after` is the last one before."""
    words, after = request.GET.get("q", ""), request.GET.get("after")
    if len(words) > LONGEST_SEARCH or "\0" in words:
        raise BadRequest(f"q must have at most {LONGEST_SEARCH} characters, none of them NUL.")
    try:
        place = Place.read(after) if after else None
    except ValueError:
        raise BadRequest("after must be what the page before gave.") from None
    assert isinstance(request.user, User)
    found = conversations_of(request.user, words=words, archived="archived" in request.GET, after=place)
    return render(request, "chats/conversation_list.html", {"conversations": found})


def conversations_of(
    user: User, *, words: str = "", archived: bool = False, after: Place | None = None
) -> Conversations:
    """One's own, as the API has them, in one statement; after that one, or from the first."""
    sessions = match_sessions(Session.objects.visible_to(user).filter(archived=archived), words)
    if after:
        sessions = sessions.filter(after.after)
    found = list(sessions.order_by("-pinned", "-updated_at", "-pk").only(*FIELDS)[: CONVERSATIONS + 1])
    shown = found[:CONVERSATIONS]
    query = {"q": words} | ({"archived": "1"} if archived else {})
    more = urlencode({**query, "after": Place.of(shown[-1])}) if len(found) > len(shown) else ""
    return Conversations(grouped(shown, after.heading if after else ""), more, words, archived)


def grouped(sessions: Iterable[Session], before: str) -> list[tuple[str, list[Session]]]:
    """Each heading with what stands below it; none where the part before ended below the same."""
    parts = [(heading, list(under)) for heading, under in groupby(sessions, lambda item: Place.of(item).heading)]
    return [("" if heading == before else heading, under) for heading, under in parts]


def day_name(day: date) -> str:
    today = timezone.localdate()
    if day >= today:
        return str(_("Today"))
    if day == today - timedelta(days=1):
        return str(_("Yesterday"))
    return date_format(day, "MONTH_DAY_FORMAT" if day.year == today.year else "DATE_FORMAT")
