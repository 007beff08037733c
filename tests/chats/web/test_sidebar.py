"""The list of one's conversations, beside every page."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from chats.models import Chat, Session
from tests.chats.test_sessions import said
from tests.people import Person, client_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def opened(person: Person, chat: Chat, name: str, moment: datetime = NOON, **fields: Any) -> Session:
    session = Session.objects.create(user=person.user, chat=chat, name=name, **fields)
    Session.objects.filter(pk=session.pk).update(updated_at=moment)
    return session


def shown(html: str) -> list[str]:
    """Headings and names, as they come."""
    return [heading or name for heading, name in re.findall(r"<h3>(.*?)</h3>|<span>(.*?)</span>", html)]


def listed(person: Person, cookies: dict[str, str] | None = None, **query: str) -> list[str]:
    client = client_of(person)
    client.cookies.load(cookies or {})
    return shown(client.get("/conversations", query).content.decode())


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def test_the_newest_first_by_the_days_of_who_reads(bob: Person, chat: Chat, at_noon: None) -> None:
    for hours, name in enumerate(("now", "last night", "yesterday", "long ago")):
        opened(bob, chat, name, NOON - timedelta(hours=[0, 13, 30, 24 * 400][hours]))
    opened(bob, chat, "kept", NOON - timedelta(days=90), pinned=True)
    opened(bob, chat, "away", archived=True)
    kept = ["Pinned", "kept"]
    days = ["Yesterday", "last night", "yesterday", "Oct. 19, 2025", "long ago"]
    assert listed(bob) == [*kept, "Today", "now", *days]
    assert listed(bob, {"timezone": "America/New_York"})[2:5] == ["Today", "now", "Yesterday"]
    assert listed(bob, {"timezone": "Asia/Tokyo"})[2:6] == ["Today", "now", "last night", "Yesterday"]
    for nonsense in ("Mars/Olympus", "../../etc/passwd", "America", ""):
        assert listed(bob, {"timezone": nonsense}) == listed(bob)
    assert listed(bob, archived="1") == ["Today", "away"]


def test_words_are_looked_for_in_names_and_in_what_was_said(bob: Person, chat: Chat, at_noon: None) -> None:
    said(opened(bob, chat, "Animals"), "Where is the ZEBRA kept?", "In the barn.")
    opened(bob, chat, "Keys")
    assert listed(bob, q="zebra animals") == ["Today", "Animals"]
    assert listed(bob, q="zebra keys") == []


def test_only_ones_own_and_only_while_the_chat_is_open(bob: Person, charlie: Person, chat: Chat) -> None:
    opened(bob, chat, "<b>Mine</b>")
    assert "&lt;b&gt;Mine&lt;/b&gt;" in listed(bob)
    assert listed(charlie) == []
    bob.user.groups.clear()
    assert listed(bob) == []


def test_page_by_page_all_are_shown_once(
    bob: Person, chat: Chat, at_noon: None, django_assert_num_queries: Any
) -> None:
    for number in range(65):  # groups of five stand at the same moment
        opened(bob, chat, f"c{number:02}", NOON - timedelta(hours=6 * (number // 5)), pinned=number % 20 == 0)
    client, query, found = client_of(bob), "", []
    while True:
        with django_assert_num_queries(3):  # session, user, conversations
            html = client.get(f"/conversations?{query}").content.decode()
        found += shown(html)
        more = re.search(r'data-next href="/conversations\?([^"]*)"', html)
        if not more:
            break
        query = more[1].replace("&amp;", "&")
    names = [item for item in found if item.startswith("c")]
    headings = [item for item in found if not item.startswith("c")]
    assert sorted(names) == [f"c{number:02}" for number in range(65)]
    assert len(headings) == len(set(headings)) == 5
    assert names[:4] == ["c00", "c20", "c40", "c60"]


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"},
        {"after": "1_2026-01-01T00:00:00_5"},
        {"after": "0_2026-01-01_9" * 9},
        {"after": "0_0001-01-01T00:00:00+14:00_1"},  # no year has these moments, in UTC or where the reader is
        {"after": "0_9999-12-31T23:59:59-23:00_1"},
        {"after": "0_0001-01-01T00:00:00+00:00_1"},
        {"q": "\0"},
        {"q": "x" * 201},
    ],
)
def test_what_cannot_be_read_is_refused(bob: Person, query: dict[str, str]) -> None:
    client = client_of(bob)
    client.cookies["timezone"] = "America/Los_Angeles"
    assert client.get("/conversations", query).status_code == 400
