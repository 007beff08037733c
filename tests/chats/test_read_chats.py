"""`GET /api/v1/chats` and `/api/v1/chats/{id}`: who sees what, and how it can be asked for."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chats.models import Chat
from groups.models import Group
from llms.models import LLM, LLMSettings
from tests.people import JSON, JSON_API, Person


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [item["attributes"]["name"] for item in response.json()]


def test_an_administrator_sees_every_chat_a_member_theirs_a_stranger_none(
    alice: Person, bob: Person, charlie: Person, chat: Chat, llm: LLM, call_settings: LLMSettings
) -> None:
    hidden = Chat.objects.create(name="Board", llm=llm, llm_settings=call_settings)

    assert names(alice.get("/chats")) == ["Help desk", "Board"]
    assert names(bob.get("/chats")) == ["Help desk"]
    assert names(charlie.get("/chats")) == []
    assert bob.get(f"/chats/{chat.pk}").status_code == 200
    for person, pk in ((bob, hidden.pk), (charlie, chat.pk), (charlie, 987)):
        response = person.get(f"/chats/{pk}")
        assert response.status_code == 404
        assert response.json()["errors"][0]["detail"] == "Not found."


def test_a_member_sees_among_the_groups_of_a_chat_only_their_own(
    alice: Person, bob: Person, chat: Chat, others: Group
) -> None:
    def groups(person: Person) -> list[str]:
        attributes = person.get(f"/chats/{chat.pk}").json()["attributes"]
        return [group["attributes"]["name"] for group in attributes["groups"]]

    assert groups(alice) == ["Engineers", "Lawyers"]
    assert groups(bob) == ["Engineers"]
    assert bob.get(f"/chats?filter[groups]={others.pk}").json() == []


def test_a_member_of_two_groups_of_a_chat_sees_it_once(bob: Person, chat: Chat, others: Group) -> None:
    others.members.add(bob.user)
    assert names(bob.get("/chats")) == ["Help desk"]


def test_system_prompts_are_for_administrators(alice: Person, bob: Person, chat: Chat) -> None:
    Chat.objects.update(system_prompt="Never mention the merger.")
    assert alice.get(f"/chats/{chat.pk}").json()["attributes"]["system_prompt"] == "Never mention the merger."
    assert b"merger" not in bob.get(f"/chats/{chat.pk}").content
    assert b"merger" not in bob.get("/chats", Accept=JSON_API).content


def test_pages(alice: Person, chat: Chat) -> None:
    Chat.objects.bulk_create(Chat(name=f"Chat {n}", llm=chat.llm, llm_settings=chat.llm_settings) for n in range(24))

    first = alice.get("/chats")
    assert len(first.json()) == 10
    assert (first["X-Total-Count"], first["X-Total-Pages"]) == ("25", "3")
    assert len(alice.get("/chats?page=3").json()) == 5
    for page in (4, 2**63, 10**30):
        assert alice.get(f"/chats?page={page}").json() == []
    assert len(alice.get("/chats?page_size=1000").json()) == 25
    seen = [item["id"] for page in (1, 2, 3) for item in alice.get(f"/chats?page={page}").json()]
    assert len(set(seen)) == 25

    document = alice.get("/chats?page[number]=2&page[size]=5", Accept=JSON_API).json()
    assert document["meta"]["pagination"] == {"page": 2, "pages": 5, "count": 25}
    assert "page%5Bnumber%5D=3" in document["links"]["next"]
    assert "page%5Bnumber%5D=1" in document["links"]["prev"]


def test_a_large_total_is_counted_once_in_a_while(
    alice: Person, bob: Person, chat: Chat, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr("core.rest.pagination.LARGE_TOTAL", 3)
    Chat.objects.bulk_create(Chat(name=f"Chat {n}", llm=chat.llm, llm_settings=chat.llm_settings) for n in range(4))
    with django_assert_num_queries(4):  # token, count, page, groups
        assert alice.get("/chats?page_size=2")["X-Total-Count"] == "5"
    with django_assert_num_queries(3):
        assert alice.get("/chats?page_size=2&page=2")["X-Total-Count"] == "5"
    assert alice.get("/chats?search=4")["X-Total-Count"] == "0"
    assert bob.get("/chats?page_size=2")["X-Total-Count"] == "1"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=x", "page"),
        ("page=%D9%A1", "page"),  # an Arabic 1
        ("page=1.5", "page"),
        ("page=", "page"),
        ("page[number]=0", "page[number]"),
        ("page_size=0", "page_size"),
        ("page_size=x", "page_size"),
        ("page[size]=-3", "page[size]"),
        ("page=1&page[number]=1", "page[number]"),
        ("page=1&page=2", "page"),
        ("sort=colour", "sort"),
        ("sort=", "sort"),
        ("sort=--name", "sort"),
        ("sort=llm__api_key", "sort"),
        ("filter[colour]=red", "filter[colour]"),
        ("filter[llm]=x", "filter[llm]"),
        ("filter[llm]=1.5", "filter[llm]"),
        ("filter[llm]=", "filter[llm]"),
        ("filter[llm]=99999999999999999999", "filter[llm]"),
        ("filter[groups]=99999999999999999999", "filter[groups]"),
        ("filter[name]=%00", "filter[name]"),
        ("filter[llm__api_key]=x", "filter[llm__api_key]"),
        ("filter=x", "filter"),
        ("search=%00", "search"),
        ("colour=red", "colour"),
        ("include=llm", "include"),
        ("fields[chats]=name", "fields[chats]"),
        ("format=json", "format"),
    ],
)
def test_a_bad_parameter_is_named(alice: Person, query: str, parameter: str) -> None:
    response = alice.get(f"/chats?{query}")
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert error["source"] == {"parameter": parameter}
    assert error["code"] in ("invalid_parameter", "unknown_parameter")


@pytest.mark.parametrize(
    ("query", "status", "parameter"),
    [
        ("include=owner", 400, "include"),
        ("include=llm.chats", 400, "include"),
        ("fields[chats]=colour", 400, "fields[chats]"),
        ("fields[users]=name", 400, "fields[users]"),
    ],
)
def test_a_bad_json_api_parameter_is_named(alice: Person, query: str, status: int, parameter: str) -> None:
    response = alice.get(f"/chats?{query}", Accept=JSON_API)
    assert response.status_code == status
    assert response.json()["errors"][0]["source"] == {"parameter": parameter}


def test_sort_filter_and_search(alice: Person, chat: Chat, team: Group, others: Group) -> None:
    for name in ("alpha", "Über uns", "Beta 100%"):
        Chat.objects.create(name=name, llm=chat.llm, llm_settings=chat.llm_settings).groups.set([others])

    assert names(alice.get("/chats?sort=name")) == ["alpha", "Beta 100%", "Help desk", "Über uns"]
    assert names(alice.get("/chats?sort=-name"))[0] == "Über uns"
    assert names(alice.get("/chats?sort=-id"))[-1] == "Help desk"
    assert names(alice.get("/chats?filter[name]=help%20DESK")) == ["Help desk"]
    assert names(alice.get(f"/chats?filter[groups]={team.pk}")) == ["Help desk"]
    assert len(names(alice.get(f"/chats?filter[llm]={chat.llm_id}"))) == 4
    assert names(alice.get("/chats?filter[llm]=987")) == []
    assert names(alice.get("/chats?search=ÜBER")) == ["Über uns"]
    assert names(alice.get("/chats?search=desk%20help")) == ["Help desk"]
    assert names(alice.get("/chats?search=%25")) == ["Beta 100%"]


def test_include_and_sparse_fieldsets(alice: Person, chat: Chat) -> None:
    query = "include=llm,llm_settings,groups&fields[chats]=name,llm&fields[llms]=name"
    document = alice.get(f"/chats?{query}", Accept=JSON_API).json()

    [data] = document["data"]
    assert data["attributes"] == {"name": "Help desk"}
    assert set(data["relationships"]) == {"llm"}
    included = {item["type"]: item for item in document["included"]}
    assert set(included) == {"llms", "llm-settings", "groups"}
    assert included["llms"]["attributes"] == {"name": "House model"}
    assert included["groups"]["attributes"]["name"]


def test_include_of_llms_is_for_administrators(bob: Person, chat: Chat) -> None:
    assert bob.get("/chats?include=groups", Accept=JSON_API).status_code == 200
    for name in ("llm", "llm_settings"):
        response = bob.get(f"/chats?include={name}", Accept=JSON_API)
        assert response.status_code == 403


def test_an_api_key_is_never_shown(alice: Person, chat: Chat) -> None:
    response = alice.get("/chats?include=llm", Accept=JSON_API)
    [llm] = response.json()["included"]
    assert llm["attributes"]["has_api_key"] is True
    assert b"canary" not in response.content
    assert b"7777" not in response.content


@pytest.mark.parametrize("person", ["alice", "bob"])
@pytest.mark.parametrize("path", ["/chats?page_size=100", "/chats?page_size=100&include=groups"])
def test_the_number_of_queries_does_not_grow(
    person: str, path: str, chat: Chat, team: Group, request: pytest.FixtureRequest
) -> None:
    """Token, count, page, groups."""
    caller: Person = request.getfixturevalue(person)
    media_type = JSON_API if "include" in path else JSON
    for total in (1, 100):
        missing = total - Chat.objects.count()
        more = [Chat(name=f"Chat {n}", llm=chat.llm, llm_settings=chat.llm_settings) for n in range(missing)]
        for created in Chat.objects.bulk_create(more):
            created.groups.add(team)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = caller.get(path, Accept=media_type)
        data = response.json() if media_type == JSON else response.json()["data"]
        assert len(data) == total
        assert len(queries) == 4, [query["sql"] for query in queries]


def test_one_chat_costs_three_queries(alice: Person, chat: Chat, django_assert_num_queries: Any) -> None:
    """Token, chat, groups."""
    with django_assert_num_queries(3):
        alice.get(f"/chats/{chat.pk}")
