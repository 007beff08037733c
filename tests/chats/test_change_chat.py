"""`PATCH` and `DELETE` of a chat, its relationships, and conditions on what was seen."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chats.models import Chat
from groups.models import Group
from tests.people import JSON, JSON_API, Person


def body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "chats", "attributes": attributes}}


def document(chat: Chat, **members: Any) -> dict[str, Any]:
    return {"data": {"type": "chats", "id": str(chat.pk), **members}}


def groups(*items: Group) -> dict[str, Any]:
    return {"data": [{"type": "groups", "id": str(item.pk)} for item in items]}


def test_what_is_sent_changes_and_nothing_else(alice: Person, chat: Chat, others: Group) -> None:
    before = alice.get(f"/chats/{chat.pk}").json()["attributes"]
    after = alice.patch(f"/chats/{chat.pk}", body(description="Ask away")).json()["attributes"]
    del before["updated_at"], after["updated_at"]
    assert after == {**before, "description": "Ask away"}

    after = alice.patch(f"/chats/{chat.pk}", body(group_ids=[others.pk])).json()["attributes"]
    assert [group["id"] for group in after["groups"]] == [str(others.pk)]


@pytest.mark.parametrize("verb", ["post", "patch"])
def test_what_is_answered_is_read_in_the_transaction(alice: Person, chat: Chat, others: Group, verb: str) -> None:
    """Else it would be half of this change and half of the next one's."""
    attributes = {"name": "Desk", "llm_id": chat.llm_id, "llm_settings_id": chat.llm_settings_id}
    path = "/chats" if verb == "post" else f"/chats/{chat.pk}"
    with CaptureQueriesContext(connection) as queries:
        assert getattr(alice, verb)(path, body(**attributes, group_ids=[others.pk])).status_code < 300
    statements = [query["sql"].split(" ")[0] for query in queries]
    assert statements[-1] == "RELEASE"
    assert "SELECT" in statements[statements.index("SAVEPOINT") :]


def test_the_same_in_json_api(alice: Person, chat: Chat, others: Group) -> None:
    change = document(chat, attributes={"name": "Desk"}, relationships={"groups": groups(others)})
    response = alice.patch(f"/chats/{chat.pk}", change, JSON_API)
    assert response.status_code == 200
    assert response.json() == alice.get(f"/chats/{chat.pk}", Accept=JSON_API).json()
    assert response.json()["data"]["relationships"]["groups"]["data"] == groups(others)["data"]


@pytest.mark.parametrize(
    ("member", "value", "status"),
    [("id", "987", 409), ("id", None, 409), ("type", "users", 409), ("id", ..., 400), ("type", ..., 400)],
)
def test_a_document_for_something_else(alice: Person, chat: Chat, member: str, value: Any, status: int) -> None:
    change = document(chat, attributes={"name": "Desk"})
    if value is ...:
        del change["data"][member]
    else:
        change["data"][member] = value
    assert alice.patch(f"/chats/{chat.pk}", change, JSON_API).status_code == status
    chat.refresh_from_db()
    assert chat.name == "Help desk"


@pytest.mark.parametrize("sent", [None, b"", b"{}", b'{"data": 5}'])
def test_a_change_needs_a_body(alice: Person, chat: Chat, sent: Any) -> None:
    response = alice.patch(f"/chats/{chat.pk}", b"" if sent is None else sent)
    assert response.status_code == 400


def test_bad_input_changes_nothing(alice: Person, chat: Chat) -> None:
    response = alice.patch(f"/chats/{chat.pk}", body(name="", llm_id=987, description="new"))
    assert {error["code"] for error in response.json()["errors"]} == {"blank", "does_not_exist"}
    chat.refresh_from_db()
    assert (chat.name, chat.description) == ("Help desk", "")


@pytest.mark.parametrize("media_type", [JSON, JSON_API])
def test_relationships_are_added_removed_and_replaced(
    alice: Person, chat: Chat, team: Group, others: Group, media_type: str
) -> None:
    path = f"/chats/{chat.pk}/relationships/groups"

    def linked() -> set[Group]:
        return set(chat.groups.all())

    for _ in range(2):  # idempotent
        assert alice.delete(path, groups(others), media_type).status_code == 204
        assert linked() == {team}
    for _ in range(2):
        assert alice.post(path, groups(others), media_type).status_code == 204
        assert linked() == {team, others}
    for _ in range(2):
        assert alice.patch(path, groups(others), media_type).status_code == 204
        assert linked() == {others}
    shown = alice.get(path, Accept=media_type).json()
    assert (shown if media_type == JSON else shown["data"]) == groups(others)["data"]
    assert alice.patch(path, {"data": []}, media_type).status_code == 204
    assert linked() == set()


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": [5]},
        {"data": [{"id": 1}]},
        {"data": [{"type": "groups", "id": "987"}]},
    ],
)
def test_a_bad_relationship_changes_nothing(alice: Person, chat: Chat, bad: Any) -> None:
    for method in (alice.post, alice.patch, alice.delete):
        for media_type in (JSON, JSON_API):
            assert method(f"/chats/{chat.pk}/relationships/groups", bad, media_type).status_code == 400
    assert chat.groups.count() == 2


def test_a_relationship_of_the_wrong_type(alice: Person, chat: Chat) -> None:
    path, wrong = f"/chats/{chat.pk}/relationships/groups", {"data": [{"type": "users", "id": "1"}]}
    assert alice.post(path, wrong, JSON).status_code == 400
    assert alice.post(path, wrong, JSON_API).status_code == 409


def test_chats_by_group(alice: Person, bob: Person, chat: Chat, team: Group, others: Group) -> None:
    assert [item["id"] for item in alice.get(f"/chats/by-group?group_id={others.pk}").json()] == [str(chat.pk)]
    assert bob.get(f"/chats/by-group?group_id={others.pk}").json() == []
    assert [item["id"] for item in bob.get(f"/chats/by-group?group_id={team.pk}").json()] == [str(chat.pk)]
    assert alice.get("/chats/by-group?group_id=987").json() == []
    for query in ("", "?group_id=", "?group_id=x", "?group_id=1.5"):
        assert alice.get(f"/chats/by-group{query}").status_code == 400


@pytest.mark.parametrize("media_type", [JSON, JSON_API])
def test_a_client_that_has_it_is_told_so(alice: Person, bob: Person, chat: Chat, media_type: str) -> None:
    path = f"/chats/{chat.pk}"
    first = alice.get(path, Accept=media_type)
    again = alice.get(path, Accept=media_type, If_None_Match=f'"other", W/{first["ETag"]}')
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert bob.get(path, Accept=media_type)["ETag"] != first["ETag"]  # they see something else
    Chat.objects.update(name="Desk")
    assert alice.get(path, Accept=media_type, If_None_Match=first["ETag"]).status_code == 200


def test_the_two_media_types_have_their_own(alice: Person, chat: Chat) -> None:
    tags = {alice.get(f"/chats/{chat.pk}", Accept=media_type)["ETag"] for media_type in (JSON, JSON_API)}
    assert len(tags) == 2


def test_an_answer_to_a_query_and_a_list_have_none(alice: Person, chat: Chat) -> None:
    assert "ETag" not in alice.get(f"/chats/{chat.pk}?include=llm", Accept=JSON_API)
    assert "ETag" not in alice.get("/chats")


@pytest.mark.parametrize("media_type", [JSON, JSON_API])
def test_a_write_to_what_was_seen(alice: Person, chat: Chat, media_type: str) -> None:
    path = f"/chats/{chat.pk}"
    seen = alice.get(path, Accept=media_type)["ETag"]
    change = document(chat, attributes={"name": "Desk"})
    changed = alice.patch(path, change, media_type, If_Match=seen)
    assert changed.status_code == 200
    assert changed["ETag"] == alice.get(path, Accept=media_type)["ETag"] != seen

    for stale in (
        alice.patch(path, change, media_type, If_Match=seen),
        alice.delete(path, Accept=media_type, If_Match=seen),
    ):
        assert stale.status_code == 412
        assert stale.json()["errors"][0]["code"] == "precondition_failed"
    weak = alice.patch(path, change, media_type, If_Match=f"W/{changed['ETag']}")
    assert weak.status_code == 412  # RFC 9110: a weak tag never matches here
    latest = alice.patch(f"{path}?include=llm", change, JSON_API, If_Match=alice.get(path, Accept=JSON_API)["ETag"])
    assert latest.status_code == 200
    assert alice.delete(path, If_Match="*").status_code == 204


def test_a_relationship_is_changed_as_it_was_seen(alice: Person, chat: Chat, others: Group) -> None:
    path, seen = f"/chats/{chat.pk}/relationships/groups", alice.get(f"/chats/{chat.pk}")["ETag"]
    assert alice.delete(path, groups(others), If_Match='"stale"').status_code == 412
    assert alice.delete(path, groups(others), If_Match=seen).status_code == 204
    assert alice.patch(path, groups(others), If_Match=seen).status_code == 412


def test_to_change_nothing_is_no_change(alice: Person, chat: Chat) -> None:
    before = alice.get(f"/chats/{chat.pk}")
    after = alice.patch(f"/chats/{chat.pk}", {"data": {}})
    assert (after.status_code, after["ETag"]) == (200, before["ETag"])


def test_statements_of_a_change(alice: Person, chat: Chat, django_assert_num_queries: Any) -> None:
    """Token, savepoint, chat, its groups, update, record, release."""
    with django_assert_num_queries(7):
        assert alice.patch(f"/chats/{chat.pk}", body(name="Desk")).status_code == 200
