"""Every write takes malformed bodies, and every list bad parameters, with a clear 4xx."""

from typing import Any

import pytest

from chats.models import Chat, Session
from groups.models import ApiToken, Group
from tests.chats.test_malformed_bodies import ANY_DIALECT
from tests.chats.test_sessions import said
from tests.people import JSON, JSON_API, Person
from tests.test_matrix import MATRIX, filled

BODIES = [
    *ANY_DIALECT,
    b'{"data": {"attributes": {"\\ud800": 1}}}',
    b'{"data": {"attributes": {"name": "\\u0000"}}}',
    b'{"data": {"attributes": {"name": [[[[]]]]}, "type": []}}',
    b'{"data": {"attributes": {"id": 1, "pk": 1, "name": {}}}}',
    b'{"data": {"id": {}, "type": {}}}',
    b'{"data": {"id": 1e999, "type": "x"}}',
    b'{"data": [{"id": {}, "type": {}}]}',
    b'{"data": [null, 5, "x", []]}',
    b'{"data": [{"type": "groups", "id": "99999999999999999999"}]}',
    b'{"data": {"relationships": [], "attributes": {}}}',
    b'{"data": {"relationships": {"groups": null, "members": "x", "llm": 5}}}',
    b'{"data": {"relationships": {"groups": {"data": [[]]}, "members": {"data": {}}}}}',
]
NOTHING = b'{"data": []}'  # of which there may be none
PARAMETERS = [
    "page=0",
    "page=x",
    "page[number]=-1",
    "page[size]=abc",
    "page_size=0",
    "page=1&page=1",
    "sort=nonsense",
    "sort=",
    "sort=--id",
    "sort=password",
    "filter[nonsense]=1",
    "filter[]=1",
    "filter=1",
    "filter[name]=",
    "filter[name]=%00",
    "nonsense=1",
    "include=nonsense",
    "include=..",
    "fields[nonsense]=x",
    "format=json",
]
WRITES = [(method, path) for (method, path), (body, *_) in MATRIX.items() if body is not None]
LISTS = [path for (method, path), _ in MATRIX.items() if method == "get" and path in (
    "chats", "groups", "users", "users/me/tokens", "llms", "llm-settings", "groups/{group}/users", "users/{bob}/groups",
    "chats/by-group?group_id={group}", "groups/search?name=e", "llms/search?name=h", "llm-settings/search?model_name=d",
    "llms/max-privacy-score?max_score=50", "llms/privacy-score-range?min_score=0&max_score=50",
    "sessions", "sessions/{session}/messages", "chat-history-records?user_id={bob}",
)]  # fmt: skip


@pytest.fixture
def ids(chat: Chat, team: Group, alice: Person, bob: Person) -> dict[str, Any]:
    token = ApiToken.objects.get(user=bob.user)
    own: dict[str, Any] = {"chat": chat.pk, "group": team.pk, "bob": bob.user.pk, "token": token.pk}
    session = Session.objects.create(user=alice.user, chat=chat)  # of who sends all that is malformed
    answer = said(session, "Who?", "Me.")
    own |= {"session": session.uuid, "record": session.pk, "answer": answer.pk, "question": answer.parent_id}
    return {**own, "llm": chat.llm_id, "settings": chat.llm_settings_id}


def is_clear(response: Any) -> bool:
    errors = response.json()["errors"]
    return bool(errors) and all(error["code"] and error["title"] and error["detail"] for error in errors)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_bodies(method: str, path: str, alice: Person, ids: dict[str, Any]) -> None:
    for media_type in (JSON, JSON_API):
        for body in BODIES:
            if body == NOTHING and "relationships" in path:
                continue
            response = alice.send(method.upper(), f"/{path.format(**ids)}", body, media_type)
            assert response.status_code in (400, 403, 409), (body[:80], response.content)
            assert is_clear(response)


@pytest.mark.parametrize("path", LISTS)
def test_parameters(path: str, alice: Person, ids: dict[str, Any]) -> None:
    for media_type in (JSON, JSON_API):
        for query in PARAMETERS:
            url = f"/{path.format(**ids)}{'&' if '?' in path else '?'}{query}"
            response = alice.get(url, Accept=media_type)
            assert response.status_code == 400, (query, response.content)
            assert is_clear(response)


def test_the_lists_above_are_all_there_are() -> None:
    assert len(LISTS) == 17


def test_a_filled_body_is_no_malformed_one(ids: dict[str, Any]) -> None:
    assert filled({"data": {"type": "users", "id": "{bob}"}}, ids)["data"]["id"] == str(ids["bob"])
