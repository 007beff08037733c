"""`POST /api/v1/chats`, as the contract has it."""

from typing import Any

import pytest

from chats.models import Chat
from groups.models import Group
from llms.models import LLM, LLMSettings
from tests.people import JSON, JSON_API, Person


@pytest.fixture
def body(llm: LLM, call_settings: LLMSettings, team: Group) -> dict[str, Any]:
    attributes = {"name": "Help desk", "llm_id": llm.pk, "llm_settings_id": call_settings.pk, "group_ids": [team.pk]}
    return {"data": {"type": "chats", "attributes": attributes}}


@pytest.fixture
def document(llm: LLM, call_settings: LLMSettings, team: Group) -> dict[str, Any]:
    """The same as a JSON:API document."""
    relationships = {
        "llm": {"data": {"type": "llms", "id": str(llm.pk)}},
        "llm_settings": {"data": {"type": "llm-settings", "id": str(call_settings.pk)}},
        "groups": {"data": [{"type": "groups", "id": str(team.pk)}]},
    }
    return {"data": {"type": "chats", "attributes": {"name": "Help desk"}, "relationships": relationships}}


def test_an_administrator_creates_a_chat(alice: Person, body: Any, team: Group) -> None:
    response = alice.post("/chats", body)

    assert response.status_code == 201
    chat = Chat.objects.get()
    created = response.json()
    assert (created["type"], created["id"]) == ("chats", str(chat.pk))
    attributes = created["attributes"]
    assert attributes["name"] == "Help desk"
    assert (attributes["llm_id"], attributes["llm_settings_id"]) == (chat.llm_id, chat.llm_settings_id)
    [group] = attributes["groups"]
    assert (group["type"], group["id"], group["attributes"]["name"]) == ("groups", str(team.pk), "Engineers")
    assert list(chat.groups.all()) == [team]


def test_the_answer_is_what_a_later_get_returns(alice: Person, body: Any) -> None:
    created = alice.post("/chats", body)
    path = created["Location"].removeprefix("http://testserver/api/v1")

    assert alice.get(path).json() == created.json()


def test_the_same_in_json_api(alice: Person, document: Any, team: Group) -> None:
    created = alice.post("/chats", document, JSON_API)

    assert created.status_code == 201
    assert created["Content-Type"] == JSON_API
    data = created.json()["data"]
    assert data["attributes"]["name"] == "Help desk"
    assert data["relationships"]["groups"]["data"] == [{"type": "groups", "id": str(team.pk)}]
    assert data["links"]["self"] == created["Location"]
    later = alice.get(f"/chats/{data['id']}", Accept=JSON_API)
    assert later.json() == created.json()


def test_the_body_may_be_in_one_media_type_and_the_answer_in_the_other(alice: Person, body: Any) -> None:
    created = alice.post("/chats", body, Accept=JSON_API)
    assert created.json()["data"]["type"] == "chats"


def test_groups_may_be_left_out_and_repeated(alice: Person, body: Any, team: Group) -> None:
    body["data"]["attributes"]["group_ids"] = [team.pk, team.pk]
    assert len(alice.post("/chats", body).json()["attributes"]["groups"]) == 1

    del body["data"]["attributes"]["group_ids"]
    assert alice.post("/chats", body).json()["attributes"]["groups"] == []


def test_names_are_trimmed_and_need_not_be_unique(alice: Person, body: Any) -> None:
    body["data"]["attributes"]["name"] = "  Help desk "
    for _ in range(2):
        assert alice.post("/chats", body).json()["attributes"]["name"] == "Help desk"


def test_a_type_is_not_required_in_the_flat_form(alice: Person, body: Any) -> None:
    del body["data"]["type"]
    assert alice.post("/chats", body).status_code == 201


def test_only_administrators_create(bob: Person, charlie: Person, body: Any) -> None:
    for person in (bob, charlie):
        response = person.post("/chats", body)
        assert response.status_code == 403
        assert response.json()["errors"][0]["code"] == "permission_denied"
    assert not Chat.objects.exists()


@pytest.mark.parametrize("groups", [1, 40])
def test_the_number_of_queries_is_constant(
    alice: Person, body: Any, groups: int, django_assert_num_queries: Any
) -> None:
    """Token, LLM, settings, groups, insert, groups set (read, insert), groups shown; and the transaction's two."""
    made = [Group.objects.create(name=f"Group {number}").pk for number in range(groups)]
    body["data"]["attributes"]["group_ids"] = made
    with django_assert_num_queries(8 + 2):
        assert alice.post("/chats", body).status_code == 201


@pytest.mark.parametrize("media_type", [JSON, JSON_API])
def test_all_errors_come_in_one_answer_and_point_at_their_place(
    alice: Person, body: Any, document: Any, media_type: str
) -> None:
    if media_type == JSON:
        body["data"]["attributes"] |= {"name": " ", "llm_id": 987, "group_ids": [654, 321], "colour": "red"}
        response = alice.post("/chats", body)
        relation = "/data/attributes"
        names = ("llm_id", "group_ids")
    else:
        document["data"]["attributes"] |= {"name": " ", "colour": "red"}
        document["data"]["relationships"] |= {
            "llm": {"data": {"type": "llms", "id": "987"}},
            "groups": {"data": [{"type": "groups", "id": "654"}, {"type": "groups", "id": "321"}]},
        }
        response = alice.post("/chats", document, JSON_API)
        relation = "/data/relationships"
        names = ("llm", "groups")

    assert response.status_code == 400
    errors = response.json()["errors"]
    found = {(error["code"], error["source"]["pointer"], error["detail"]) for error in errors}
    assert found == {
        ("unknown_attribute", "/data/attributes/colour", next(e["detail"] for e in errors if "colour" in e["detail"])),
        ("blank", "/data/attributes/name", "This field may not be blank."),
        ("does_not_exist", f"{relation}/{names[0]}", "There is no LLM with the id 987."),
        ("does_not_exist", f"{relation}/{names[1]}", "There is no group with the id 654."),
        ("does_not_exist", f"{relation}/{names[1]}", "There is no group with the id 321."),
    }
    assert {error["status"] for error in errors} == {"400"}
    assert not Chat.objects.exists()
