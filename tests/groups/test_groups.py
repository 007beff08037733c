"""Groups and who belongs to them."""

from typing import Any

import pytest

from chats.models import Chat
from groups.models import Group
from tests.people import JSON_API, Person


def body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "groups", "attributes": attributes}}


def user(pk: int | str) -> dict[str, Any]:
    return {"data": {"type": "users", "id": str(pk)}}


def test_create_read_change_delete(alice: Person, bob: Person) -> None:
    created = alice.post("/groups", body(name=" Sales ", member_ids=[bob.user.pk]))
    assert created.status_code == 201
    assert created.json()["attributes"]["name"] == "Sales"
    group = Group.objects.get(name="Sales")
    assert list(group.members.all()) == [bob.user]
    path = f"/groups/{group.pk}"
    assert alice.get(path).json() == created.json()

    changed = alice.patch(path, body(name="Sales & more"))
    assert changed.json()["attributes"]["name"] == "Sales & more"
    assert list(group.members.all()) == [bob.user]  # what is not sent is not changed
    alice.patch(path, body(member_ids=[]))
    assert not group.members.exists()

    assert alice.delete(path).status_code == 204
    assert alice.get(path).status_code == 404
    assert alice.delete(path).status_code == 404


def test_lists_of_a_resource_include_what_theirs_have(alice: Person, bob: Person, team: Group) -> None:
    users = alice.get(f"/groups/{team.pk}/users?include=groups", Accept=JSON_API)
    assert [item["type"] for item in users.json()["included"]] == ["groups"]
    groups = alice.get(f"/users/{bob.user.pk}/groups?include=members", Accept=JSON_API)
    assert [item["type"] for item in groups.json()["included"]] == ["users"]
    refused = alice.get(f"/groups/{team.pk}/users?include=members", Accept=JSON_API)
    assert refused.json()["errors"][0]["source"] == {"parameter": "include"}


@pytest.mark.parametrize("name", ["Engineers", "ENGINEERS", "  engineers "])
def test_a_name_is_taken_whatever_its_case(alice: Person, team: Group, name: str) -> None:
    response = alice.post("/groups", body(name=name))
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert (error["code"], error["source"]["pointer"]) == ("unique", "/data/attributes/name")
    assert alice.patch(f"/groups/{team.pk}", body(name=name)).status_code == 200  # its own


def test_members_come_and_go_once(alice: Person, bob: Person, charlie: Person, team: Group) -> None:
    users = f"/groups/{team.pk}/users"
    for _ in range(2):
        assert alice.post(users, user(charlie.user.pk)).status_code == 204
    listed = alice.get(users).json()
    assert [item["attributes"]["email"] for item in listed] == ["bob@example.com", "charlie@example.com"]
    for _ in range(2):
        assert alice.delete(f"{users}/{charlie.user.pk}").status_code == 204
    assert list(team.members.all()) == [bob.user]


def test_a_member_who_does_not_exist(alice: Person, team: Group) -> None:
    response = alice.post(f"/groups/{team.pk}/users", user(987))
    assert response.status_code == 400
    assert "987" in response.json()["errors"][0]["detail"]
    assert alice.post("/groups/987/users", user(alice.user.pk)).status_code == 404
    assert alice.delete(f"/groups/{team.pk}/users/987").status_code == 404


@pytest.mark.parametrize(
    "bad",
    [None, [], 5, "x", {}, {"type": "users"}, {"type": "users", "id": 1}, {"type": "groups", "id": "1"}, {"id": "x"}],
)
def test_a_bad_member(alice: Person, team: Group, bad: Any) -> None:
    response = alice.post(f"/groups/{team.pk}/users", {"data": bad})
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"]["pointer"] == "/data"


def test_deleting_a_group_makes_its_chats_stricter(alice: Person, bob: Person, team: Group, chat: Chat) -> None:
    assert alice.delete(f"/groups/{team.pk}").status_code == 204
    assert bob.get(f"/chats/{chat.pk}").status_code == 404
    assert alice.get(f"/chats/{chat.pk}").status_code == 200


def test_a_member_sees_their_own_groups_without_the_members(bob: Person, team: Group, others: Group) -> None:
    assert [item["id"] for item in bob.get("/groups").json()] == [str(team.pk)]
    document = bob.get(f"/groups/{team.pk}", Accept=JSON_API).json()
    assert "relationships" not in document["data"]
    assert bob.get(f"/groups/{team.pk}?include=members", Accept=JSON_API).status_code == 403
    assert bob.get(f"/groups/{others.pk}").status_code == 404


def test_members_are_included_on_request(alice: Person, bob: Person, team: Group) -> None:
    plain = alice.get(f"/groups/{team.pk}", Accept=JSON_API).json()["data"]
    assert set(plain["relationships"]["members"]) == {"links"}
    document = alice.get(f"/groups/{team.pk}?include=members", Accept=JSON_API).json()
    assert document["data"]["relationships"]["members"]["data"] == [{"type": "users", "id": str(bob.user.pk)}]
    assert [item["attributes"]["email"] for item in document["included"]] == ["bob@example.com"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("eng", ["Engineers"]),
        ("ENGINEERS", ["Engineers"]),
        ("gineers", []),
        ("%", []),
        ("_", []),
        ("100%", ["100% us"]),
    ],
)
def test_search_by_the_beginning_of_a_name(
    alice: Person, team: Group, others: Group, name: str, found: list[str]
) -> None:
    Group.objects.create(name="100% us")
    response = alice.get("/groups/search", query={"name": name})
    assert [item["attributes"]["name"] for item in response.json()] == found


@pytest.mark.parametrize("query", [{}, {"name": ""}, {"name": "  "}, {"name": "\0"}])
def test_search_needs_a_name(alice: Person, query: dict[str, str]) -> None:
    response = alice.get("/groups/search", query=query)
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"] == {"parameter": "name"}
