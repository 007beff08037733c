"""`If-Match` and `If-None-Match` on every method that has one resource, as RFC 9110 (13.1) says."""

from typing import Any

import pytest

from chats.models import Chat, Session
from groups.models import Group
from tests.people import JSON, JSON_API, Person

BOTH = pytest.mark.parametrize("media_type", [JSON, JSON_API])


def name(text: str, group: Group, media_type: str) -> Any:
    return {"data": {"type": "groups", "id": str(group.pk), "attributes": {"name": text}}}


def codes(response: Any) -> tuple[int, list[str]]:
    return response.status_code, [error["code"] for error in response.json()["errors"]]


REFUSED = 412, ["precondition_failed"]


@BOTH
def test_what_is_not_to_exist_is_neither_changed_nor_deleted(alice: Person, team: Group, media_type: str) -> None:
    path = f"/groups/{team.pk}"
    seen = alice.get(path, Accept=media_type)["ETag"]
    change = name("Changed", team, media_type)
    for condition in ("*", seen, f"W/{seen}", f'"other", {seen}', f", {seen},"):
        assert codes(alice.patch(path, change, media_type, If_None_Match=condition)) == REFUSED
        assert codes(alice.delete(path, Accept=media_type, If_None_Match=condition)) == REFUSED
    team.refresh_from_db()
    assert team.name == "Engineers"
    assert alice.patch(path, change, media_type, If_None_Match='"other"').status_code == 200
    assert alice.patch("/groups/99", change, media_type, If_None_Match="*").status_code == 404
    assert alice.delete("/groups/99", If_None_Match="*").status_code == 404
    assert alice.delete(path, Accept=media_type, If_None_Match=seen).status_code == 204  # it has changed since


def test_it_holds_for_relations(alice: Person, team: Group) -> None:
    members = {"data": [{"type": "users", "id": str(alice.user.pk)}]}
    path = f"/groups/{team.pk}/relationships/members"
    assert codes(alice.patch(path, members, If_None_Match="*")) == REFUSED
    assert codes(alice.delete(path, members, If_None_Match="*")) == REFUSED
    assert codes(alice.delete(f"/groups/{team.pk}/users/{alice.user.pk}", If_None_Match="*")) == REFUSED


@BOTH
def test_a_weak_tag_is_never_equal(alice: Person, team: Group, media_type: str) -> None:
    path = f"/groups/{team.pk}"
    seen = alice.get(path, Accept=media_type)["ETag"]
    change = name("Engineers", team, media_type)
    for condition in (f"W/{seen}", f'W/{seen}, "other"', seen.strip('"'), "", ","):
        assert codes(alice.patch(path, change, media_type, If_Match=condition)) == REFUSED, condition
        assert codes(alice.get(path, Accept=media_type, If_Match=condition)) == REFUSED, condition
    for condition in (seen, "*", f"W/{seen}, {seen}", f',, "other",{seen} ,'):
        assert alice.patch(path, change, media_type, If_Match=condition).status_code == 200, condition


@BOTH
def test_reading_what_was_seen(alice: Person, team: Group, chat: Chat, media_type: str) -> None:
    session = Session.objects.create(user=alice.user, chat=chat, name="Plans")
    for path in (f"/groups/{team.pk}", f"/chats/{chat.pk}", f"/sessions/{session.uuid}", "/users/me"):
        seen = alice.get(path, Accept=media_type)
        for method in ("GET", "HEAD"):
            same = alice.send(method, path, Accept=media_type, If_Match=seen["ETag"])
            assert (same.status_code, same["ETag"]) == (200, seen["ETag"])
            assert alice.send(method, path, Accept=media_type, If_Match="*").status_code == 200
            assert alice.send(method, path, Accept=media_type, If_Match='"other"').status_code == 412
            # If-Match comes first; what is the same is no error of If-None-Match
            both = {"If_Match": '"other"', "If_None_Match": seen["ETag"]}
            assert alice.send(method, path, Accept=media_type, **both).status_code == 412
            both["If_Match"] = seen["ETag"]
            assert alice.send(method, path, Accept=media_type, **both).status_code == 304
            assert alice.send(method, path, Accept=media_type, If_None_Match="*").status_code == 304
    assert alice.get("/groups/99", If_Match="*").status_code == 404


def test_a_message_has_one_too(alice: Person, chat: Chat) -> None:
    session = Session.objects.create(user=alice.user, chat=chat)
    message = session.messages.create(sequence=1, role="user", text="Hello")
    path = f"/sessions/{session.uuid}/messages/{message.pk}"
    seen = alice.get(path, Accept=JSON_API)["ETag"]
    assert alice.get(path, Accept=JSON_API, If_Match=seen).status_code == 200
    assert alice.get(path, Accept=JSON_API, If_Match='"other"').status_code == 412
