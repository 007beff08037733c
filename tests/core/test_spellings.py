"""What has one spelling: ids have no leading zeros, and moments have a zone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chats.models import Chat, Session
from groups.models import ApiToken, Group
from llms.models import LLM, LLMSettings
from tests.people import JSON_API, Person, client_of

OTHER_SPELLINGS = ["0{}", "00{}", "+{}", "%20{}", "{}%20", "{}.0", "0x{}", "١"]


@pytest.mark.parametrize("spelling", OTHER_SPELLINGS)
def test_an_id_in_a_path(
    alice: Person, team: Group, chat: Chat, llm: LLM, call_settings: LLMSettings, spelling: str
) -> None:
    session = Session.objects.create(user=alice.user, chat=chat)
    message = session.messages.create(sequence=1, role="user", text="Hello")
    token = ApiToken.objects.get(user=alice.user)
    for path, key, methods in (
        ("/groups/{}", team.pk, ("GET", "PATCH", "DELETE")),
        ("/groups/{}/users", team.pk, ("GET", "POST")),
        (f"/groups/{team.pk}/users/{{}}", alice.user.pk, ("DELETE",)),
        ("/groups/{}/relationships/members", team.pk, ("GET", "PATCH")),
        ("/users/{}", alice.user.pk, ("GET", "PATCH", "DELETE")),
        ("/users/{}/roll-api-key", alice.user.pk, ("POST",)),
        ("/chats/{}", chat.pk, ("GET", "PATCH", "DELETE")),
        ("/llms/{}", llm.pk, ("GET", "PATCH", "DELETE")),
        ("/llms/{}/check", llm.pk, ("POST",)),
        ("/llm-settings/{}", call_settings.pk, ("GET", "PATCH")),
        ("/users/me/tokens/{}", token.pk, ("GET", "DELETE")),
        ("/chat-history-records/{}", session.pk, ("GET", "DELETE")),
        (f"/sessions/{session.uuid}/messages/{{}}", message.pk, ("GET",)),
        (f"/sessions/{session.uuid}/messages/{{}}/regenerate", message.pk, ("POST",)),
    ):
        for method in methods:
            response = alice.send(method, path.format(spelling.format(key)), {}, "application/json")
            assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "not_found"), path
            if method == "GET":
                assert alice.get(path.format(key)).status_code == 200, path
    page = client_of(alice)
    assert page.get(f"/chats/{spelling.format(chat.pk)}").status_code == 404


@pytest.mark.parametrize("key", [2**63, 10**19, "9" * 400])
def test_an_id_that_no_row_can_have(alice: Person, key: Any) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        assert alice.send(method, f"/groups/{key}", {}, "application/json").status_code == 404
    assert alice.get(f"/groups/{2**63 - 1}").status_code == 404


def test_an_id_in_a_body(alice: Person, team: Group, chat: Chat) -> None:
    for key in (f"0{alice.user.pk}", f" {alice.user.pk}", "-1", "1" * 30, ""):
        members = {"data": [{"type": "users", "id": key}]}
        response = alice.post(f"/groups/{team.pk}/relationships/members", members)
        assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "invalid")
        linkage = {"llm": {"data": {"type": "llms", "id": key}}}
        body = {"data": {"type": "chats", "id": str(chat.pk), "relationships": linkage}}
        assert alice.patch(f"/chats/{chat.pk}", body, JSON_API).status_code == 400
    assert team.members.count() == 0
    session = Session.objects.create(user=alice.user, chat=chat)
    answer = session.messages.create(sequence=1, role="assistant", text="Hello")
    leaf = {"data": {"attributes": {"leaf_id": f"0{answer.pk}"}}}
    assert alice.patch(f"/sessions/{session.uuid}", leaf).status_code == 400


@pytest.mark.parametrize(
    "text", ["2090-01-31T12:00:00", "2090-01-31 12:00", "2090-01-31", "2090-01-31T12:00:00 UTC", ""]
)
def test_a_moment_without_its_zone(alice: Person, text: str) -> None:
    response = alice.post("/users/me/tokens", {"data": {"attributes": {"name": "laptop", "expires_at": text}}})
    (error,) = response.json()["errors"]
    assert (response.status_code, error["source"]) == (400, {"pointer": "/data/attributes/expires_at"})
    assert "2030-01-31T12:00:00Z" in error["detail"]
    for name in ("since", "until"):
        answer = alice.get("/audit-events", {f"filter[{name}]": text or "x"})
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["source"]) == (400, {"parameter": f"filter[{name}]"})
        assert "2030-01-31T12:00:00Z" in error["detail"]


@pytest.mark.parametrize("text", ["2090-01-31T12:00:00Z", "2090-01-31T14:00:00+02:00", "2090-01-31T06:30:00.000-05:30"])
def test_a_moment_with_its_zone(alice: Person, text: str) -> None:
    response = alice.post("/users/me/tokens", {"data": {"attributes": {"name": "laptop", "expires_at": text}}})
    assert response.json()["attributes"]["expires_at"] == "2090-01-31T12:00:00Z"
    assert ApiToken.objects.get(name="laptop").expires_at == datetime(2090, 1, 31, 12, tzinfo=UTC)
    assert alice.get("/audit-events", {"filter[until]": text, "filter[object_type]": "tokens"}).json()
    assert not alice.get("/audit-events", {"filter[since]": text}).json()


@pytest.mark.parametrize("text", ["2090-02-30T12:00:00Z", "0001-01-01T00:00:00+14:00", "2090-01-31T25:00:00Z"])
def test_a_moment_that_is_none(alice: Person, text: str) -> None:
    new = {"data": {"attributes": {"name": "laptop", "expires_at": text}}}
    assert alice.post("/users/me/tokens", new).status_code == 400
    assert alice.get("/audit-events", {"filter[since]": text}).status_code in (200, 400)
