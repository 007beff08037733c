"""No list and no detail costs more statements for more rows."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chats.models import Chat, Session
from core.models import AuditEvent
from groups.models import ApiToken, Group, User
from llms.models import LLM, LLMSettings
from tests.chats.test_sessions import said
from tests.people import JSON, JSON_API, Person

SMALL, LARGE = 2, 12

# path, media type, who: the statements, of which the first is always the token's
LISTS = {
    ("chats", JSON, "alice"): 4,  # count, page, groups
    ("chats", JSON, "bob"): 4,
    ("chats", JSON_API, "alice"): 4,
    ("chats?include=llm,llm_settings,groups", JSON_API, "alice"): 4,
    ("chats?search=desk&sort=-name&filter[llm]={llm}", JSON, "alice"): 4,
    ("chats/by-group?group_id={group}", JSON, "alice"): 4,
    ("chats/by-group?group_id={group}", JSON, "bob"): 4,
    ("groups", JSON, "alice"): 3,  # count, page
    ("groups", JSON_API, "bob"): 3,
    ("groups?include=members", JSON_API, "alice"): 5,  # count, page, members, their groups
    ("groups/search?name=group", JSON, "alice"): 3,
    ("groups/{group}/users", JSON, "alice"): 5,  # group, count, page, groups
    ("groups/{group}/relationships/members", JSON_API, "alice"): 4,  # group, count, ids
    ("chats/{chat}/relationships/groups", JSON_API, "bob"): 4,  # chat, count, ids
    ("users", JSON, "alice"): 4,  # count, page, groups
    ("users?include=groups", JSON_API, "alice"): 4,
    ("users/{bob}/groups", JSON, "bob"): 4,  # user, count, page
    ("users/me/tokens", JSON, "bob"): 3,
    ("llms", JSON, "alice"): 3,
    ("llms/max-privacy-score?max_score=100", JSON_API, "alice"): 3,
    ("llm-settings", JSON, "alice"): 3,
    ("sessions", JSON, "bob"): 3,  # count, page with chats
    ("sessions?include=chat", JSON_API, "bob"): 4,  # count, page, groups of chats
    ("sessions?search=hello&sort=-name&filter[pinned]=false", JSON, "bob"): 3,
    ("sessions/{session}/messages", JSON, "bob"): 4,  # session, count, page
    ("sessions/{session}/messages?branch=all", JSON_API, "bob"): 4,
    ("chat-history-records?user_id={bob}", JSON, "bob"): 3,
    ("chat-history-records?user_id={bob}", JSON, "alice"): 3,
    ("audit-events", JSON, "alice"): 2,  # page; there is no count
    ("audit-events?filter[object_type]=groups&filter[actor]={bob}", JSON_API, "alice"): 2,
}
DETAILS = {
    ("chats/{chat}", JSON, "alice"): 3,  # chat, groups
    ("chats/{chat}", JSON_API, "bob"): 3,
    ("chats/{chat}?include=llm,llm_settings,groups", JSON_API, "alice"): 3,
    ("groups/{group}", JSON, "alice"): 2,
    ("groups/{group}", JSON, "bob"): 2,
    ("groups/{group}?include=members", JSON_API, "alice"): 4,  # group, members, their groups
    ("users/me", JSON, "bob"): 3,  # user, groups
    ("users/{bob}", JSON_API, "alice"): 3,
    ("llms/{llm}", JSON, "alice"): 2,
    ("llms/{llm}/models", JSON, "alice"): 2,
    ("llm-settings/{settings}", JSON, "alice"): 2,
    ("sessions/{session}", JSON, "bob"): 2,
    ("sessions/{session}?include=chat", JSON_API, "bob"): 3,  # session with chat, groups
    ("sessions/{session}/usage", JSON, "bob"): 4,  # session, sums of answers, of titles
    ("sessions/{session}/messages/{answer}", JSON, "bob"): 3,  # session, message
    ("chat-history-records/{record}", JSON, "bob"): 2,
    ("audit-events/{event}", JSON_API, "alice"): 2,
}


def grow(to: int, chat: Chat, group: Group, bob: User) -> None:
    """Have so many of everything, all of it open to bob."""
    have = Chat.objects.count()
    for number in range(have, to):
        llm = LLM.objects.create(name=f"LLM {number}", vendor="demo")
        settings = LLMSettings.objects.create(model_name=f"model {number}")
        Chat.objects.create(name=f"Chat {number}", llm=llm, llm_settings=settings).groups.add(group)
        user = User.objects.create_user(f"user{number}@example.com")
        other = Group.objects.create(name=f"Group {number}")
        other.members.set([bob, user])
        group.members.add(user)
        chat.groups.add(other)
        ApiToken.issue(bob, name=f"token {number}")
        Session.objects.create(user=bob, chat=Chat.objects.latest("pk"), name=f"Hello {number}")
        said(Session.objects.filter(user=bob).earliest("pk"), "Hello", "Hi")


@pytest.mark.parametrize(("path", "media_type", "who"), [*LISTS, *DETAILS])
def test_the_number_of_statements_is_the_same(
    path: str, media_type: str, who: str, chat: Chat, team: Group, bob: Person, request: pytest.FixtureRequest
) -> None:
    """The tables above name the statements beside the token's."""
    expected = {**LISTS, **DETAILS}[path, media_type, who]
    caller: Person = request.getfixturevalue(who)
    ids: dict[str, Any] = {"chat": chat.pk, "group": team.pk, "bob": bob.user.pk}
    ids |= {"llm": chat.llm_id, "settings": chat.llm_settings_id}
    session = Session.objects.create(user=bob.user, chat=chat, name="Hello")
    ids |= {"session": session.uuid, "record": session.pk, "answer": said(session, "Hello", "Hi").pk}
    ids["event"] = AuditEvent.objects.latest("pk").pk
    url = "/" + path.format(**ids)
    if (path, media_type, who) in LISTS:
        url += ("&" if "?" in url else "?") + "page_size=100"
    for size in (SMALL, LARGE):
        grow(size, chat, team, bob.user)
        with CaptureQueriesContext(connection) as queries:
            assert caller.get(url, Accept=media_type).status_code == 200
        assert len(queries) == expected, [query["sql"][:150] for query in queries]
