"""What a GET shows can be sent to PATCH as it is, of every resource and in both media types, and changes nothing."""

from typing import Any

import pytest
from django.urls import reverse

from aistudio.urls import router
from chats.models import Chat, Session
from core.models import AuditEvent
from groups.models import Group, User
from llms.models import LLM, LLMSettings
from tests.people import JSON, JSON_API, Person

CHANGEABLE = {
    basename: viewset
    for _, viewset, basename in router.registry
    if hasattr(viewset, "partial_update") and "patch" in viewset.http_method_names
}
FORMS = [(JSON, "bare"), (JSON, "in data"), (JSON_API, "bare")]


@pytest.fixture
def rows(alice: Person, bob: Person, team: Group, others: Group, chat: Chat, llm: LLM) -> dict[str, list[Any]]:
    """By the name of their routes: plain ones, full ones, and old ones that could not be made today."""
    full = LLMSettings.objects.create(
        model_name="large", temperature=1, top_p=0.0, seed=-(2**63), stop_words=["\n", "é"], system_prompt="Be brief.",
        metadata={"z": [1, 1.0, True, None, {"b": 1, "a": 2}], "a": "x"},
    )  # fmt: skip
    empty, private = LLM.objects.create(name="Empty", vendor="demo"), LLM(name="Old", vendor="ollama", privacy_score=7)
    private.api_endpoint, private.allowed_models = "http://169.254.169.254/v1", ["a", "b"]
    private.save()
    for model, row in ((Group, others), (Chat, chat), (LLM, empty)):
        model.objects.filter(pk=row.pk).update(name="Old\x07 name\n", name_folded="old name")
    User.objects.filter(pk=bob.user.pk).update(email_folded=f"alice@example.com\n{bob.user.pk}", name="\x1b")
    titled = Session.objects.create(user=alice.user, chat=chat, name="Plans", pinned=True)
    question = titled.messages.create(sequence=1, role="user", text="Hello")
    titled.leaf = titled.messages.create(sequence=2, role="assistant", text="Hi", parent=question)
    titled.save()
    closed = Session.objects.create(user=alice.user, chat=None, chat_name="Gone", archived=True)
    Session.objects.filter(pk=closed.pk).update(name="a\tb")
    return {
        "group": [team, others],
        "user": [alice.user, bob.user],
        "llm": [llm, empty, private],
        "llm-settings": [LLMSettings.objects.exclude(pk=full.pk).get(), full],
        "chat": [chat, Chat.objects.create(name="Closed", llm=llm, llm_settings=full)],
        "session": [titled, closed],
    }


def sendable(response: Any, form: str) -> Any:
    return {"data": response.json()} if form == "in data" else response.json()


@pytest.mark.parametrize(("media_type", "form"), FORMS)
@pytest.mark.parametrize("name", CHANGEABLE)
def test_it_changes_nothing(alice: Person, rows: Any, name: str, media_type: str, form: str) -> None:
    for row in rows[name]:
        path = reverse(f"{name}-detail", args=[getattr(row, CHANGEABLE[name].key)]).removeprefix("/api/v1")
        before = type(row).objects.filter(pk=row.pk).values().get()
        for query in ("", *(f"?include={name}" for name in includable(name, media_type))):
            shown = alice.get(path + query, Accept=media_type)
            for _ in range(2):
                seen = alice.get(path)["ETag"]
                changed = alice.patch(path, sendable(shown, form), media_type, If_Match=seen, Accept=JSON)
                assert changed.status_code == 200, changed.content
                assert changed.content == alice.get(path).content
        assert type(row).objects.filter(pk=row.pk).values().get() == before
    assert not AuditEvent.objects.filter(actor_id=alice.user.pk).exists()


def includable(name: str, media_type: str) -> list[str]:
    return list(CHANGEABLE[name].serializer_class.included_serializers) if media_type == JSON_API else []


@pytest.mark.parametrize(("media_type", "form"), FORMS)
def test_a_part_of_it_is_changed(alice: Person, rows: Any, media_type: str, form: str) -> None:
    """And the rest is as it was, also what could not be made so today."""
    for name, attribute in (("chat", "description"), ("session", "archived"), ("llm", "short_description")):
        for row in rows[name]:
            path = reverse(f"{name}-detail", args=[getattr(row, CHANGEABLE[name].key)]).removeprefix("/api/v1")
            body = sendable(alice.get(path, Accept=media_type), form)
            attributes = body["data"]["attributes"] if "data" in body else body["attributes"]
            value = not attributes[attribute] if attribute == "archived" else "changed"
            attributes[attribute] = value
            before = alice.get(path).json()["attributes"]
            response = alice.patch(path, body, media_type)
            assert response.status_code == 200, response.content
            after = alice.get(path).json()["attributes"]
            assert after.pop("updated_at") > before.pop("updated_at")
            assert after == {**before, attribute: value}


def test_what_is_only_shown_is_not_changed_by_the_way(alice: Person, chat: Chat, others: Group) -> None:
    path = f"/chats/{chat.pk}"
    for change in (
        lambda shown: shown.pop(),
        lambda shown: shown[0]["attributes"].update(name="Renamed"),
        lambda shown: shown.reverse(),
        lambda shown: shown.append({"type": "groups", "id": "99", "attributes": {}}),
    ):
        body = alice.get(path).json()
        change(body["attributes"]["groups"])
        response = alice.patch(path, body)
        (error,) = response.json()["errors"]
        assert (response.status_code, error["code"]) == (400, "read_only")
        assert error["source"]["pointer"] == "/data/attributes/groups"
    body = alice.get(path).json()
    body["attributes"]["group_ids"] = [others.pk]  # beside it, the ids do change it
    changed = alice.patch(path, body)
    assert [group["id"] for group in changed.json()["attributes"]["groups"]] == [str(others.pk)]
    assert alice.post("/chats", body).status_code == 400
    assert alice.post("/chats", {"data": {"attributes": {"groups": []}}}).json()["errors"][0]["code"] != "read_only"


def test_types_stay_exact(alice: Person, llm: LLM, call_settings: LLMSettings, chat: Chat) -> None:
    """True is not 1, and "1" is not 1, also where the value is the present one."""
    LLM.objects.filter(pk=llm.pk).update(privacy_score=1)
    for path, attributes in (
        (f"/llms/{llm.pk}", {"privacy_score": True}),
        (f"/llms/{llm.pk}", {"privacy_score": "1"}),
        (f"/llms/{llm.pk}", {"active": 1}),
        (f"/llms/{llm.pk}", {"privacy_score": 1.0}),
        (f"/chats/{chat.pk}", {"llm_id": str(llm.pk)}),
        (f"/chats/{chat.pk}", {"llm_id": True}),
        (f"/llm-settings/{call_settings.pk}", {"seed": False}),
    ):
        assert alice.patch(path, {"data": {"attributes": attributes}}).status_code == 400, attributes


@pytest.mark.parametrize("relation", [{}, {"links": {}, "data": 1}, {"data": {"type": "groups"}}, [], "x", None])
def test_a_malformed_relationship_is_one_still(alice: Person, chat: Chat, relation: Any) -> None:
    body = {"data": {"type": "chats", "id": str(chat.pk), "relationships": {"groups": relation}}}
    assert alice.patch(f"/chats/{chat.pk}", body, JSON_API).status_code == 400


def test_a_body_without_its_envelope_is_refused_where_nothing_is_yet(alice: Person) -> None:
    response = alice.post("/groups", {"type": "groups", "attributes": {"name": "Pilots"}})
    assert (response.status_code, response.json()["errors"][0]["source"]["pointer"]) == (400, "/data")
