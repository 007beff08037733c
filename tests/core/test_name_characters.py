"""A name has something to see, and no control characters, however it comes."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chats.conversation import title_of
from chats.models import Chat, Session
from core.database.casefold import CasefoldedCharField, NameField
from groups.models import ApiToken, Group, User
from llms.models import LLM, LLMSettings
from tests.people import Person, client_of

INVISIBLE = ["\u200b", "\u202e\u2066", "\u3164", "\U000e0041", " \u00ad\u2800 ", "\ufeff\ufe0f"]
CONTROL = ["a\nb", "a\tb", "\x1b[2Ja", "a\x7fb", "a\x85b", "a\u2028b", "\x07"]
NEEDED = [("/groups", "name", {}), ("/llms", "name", {"vendor": "demo"}), ("/users/me/tokens", "name", {})]
OPTIONAL = [
    ("/users", "name", {"email": "ada@example.com"}),
    ("/llm-settings", "model_name", {}),
    ("/llms", "default_model", {"name": "Another", "vendor": "demo"}),
]


def body(**attributes: Any) -> Any:
    return {"data": {"attributes": attributes}}


def errors(response: Any) -> list[tuple[str, str]]:
    return [(error["code"], error["source"]["pointer"].rpartition("/")[2]) for error in response.json()["errors"]]


@pytest.mark.parametrize(("path", "name", "others"), NEEDED + OPTIONAL)
def test_control_characters_are_refused(alice: Person, path: str, name: str, others: Any) -> None:
    for text in CONTROL:
        response = alice.post(path, body(**{name: text}, **others))
        assert (response.status_code, errors(response)) == (400, [("invalid", name)]), ascii(text)
    assert alice.post(path, body(**{name: "  b\n"}, **others)).status_code == 201  # names are trimmed


@pytest.mark.parametrize("text", CONTROL)
def test_control_characters_of_chats_and_sessions(alice: Person, chat: Chat, text: str) -> None:
    new = {"name": text, "llm_id": chat.llm_id, "llm_settings_id": chat.llm_settings_id}
    session = Session.objects.create(user=alice.user, chat=chat)
    for response in (
        alice.post("/chats", body(**new)),
        alice.patch(f"/chats/{chat.pk}", body(name=text)),
        alice.post("/sessions", body(name=text, chat_id=chat.pk)),
        alice.patch(f"/sessions/{session.uuid}", body(name=text)),
        alice.post("/chat-history-records", body(name=text, chat_id=chat.pk)),
    ):
        assert (response.status_code, errors(response)) == (400, [("invalid", "name")])


@pytest.mark.parametrize("email", ['"a\x07b"@example.com', '"a\x7fb"@example.com'])
def test_control_characters_of_an_e_mail(alice: Person, email: str) -> None:
    assert errors(alice.post("/users", body(email=email))) == [("invalid", "email")]


@pytest.mark.parametrize("text", INVISIBLE)
def test_a_name_without_visible_characters_is_empty(alice: Person, chat: Chat, text: str) -> None:
    for path, name, others in NEEDED:
        response = alice.post(path, body(**{name: text}, **others))
        assert (response.status_code, errors(response)) == (400, [("blank", name)])
    assert errors(alice.patch(f"/chats/{chat.pk}", body(name=text))) == [("blank", "name")]
    for path, name, others in [*OPTIONAL, ("/sessions", "name", {"chat_id": chat.pk})]:
        response = alice.post(path, body(**{name: text}, **others))
        assert response.json()["attributes"][name] == ""
    record = alice.post("/chat-history-records", body(name=text, chat_id=chat.pk))
    assert record.json()["attributes"]["name"] == ""


def test_what_is_seen_may_hold_what_is_not(alice: Person) -> None:
    """Joiners of Persian words and of emoji, a mark of direction: a name is kept as it was typed."""
    for name in ("می\u200cخواهم", "👩\u200d🔬", "‏שלום"):
        assert alice.post("/groups", body(name=name)).json()["attributes"]["name"] == name


@pytest.mark.parametrize("text", ["\u200b", "a\x1bb", "a\u2028b"])
def test_pages_and_commands_refuse_them_too(alice: Person, chat: Chat, text: str) -> None:
    page = client_of(alice)
    for path, form in (
        ("/admin/groups/group/add/", {"name": text}),
        ("/admin/groups/apitoken/add/", {"name": text, "user": alice.user.pk}),
        ("/profile", {"name": text, "lifetime": "90"}),
    ):
        before = Group.objects.count(), ApiToken.objects.count()
        assert page.post(path, form).status_code == 200, path
        assert (Group.objects.count(), ApiToken.objects.count()) == before, path
    with pytest.raises(CommandError, match="--name: "):
        call_command("create_token", "alice@example.com", name=text)


def test_the_admin_stores_an_optional_name_without_visible_characters_as_empty(alice: Person, bob: Person) -> None:
    form = {"email": "bob@example.com", "name": "\u200b", "is_active": "on"}
    rows = {f"{name}-{part}": 0 for name in ("Group_members", "tokens") for part in ("TOTAL_FORMS", "INITIAL_FORMS")}
    assert client_of(alice).post(f"/admin/groups/user/{bob.user.pk}/change/", {**form, **rows}).status_code == 302
    assert User.objects.get(pk=bob.user.pk).name == ""


def test_a_name_that_is_made_of_a_question_has_none() -> None:
    assert title_of("List\x1b[2J all\x07 files\n\nof /tmp\u2028now") == "List [2J all files of /tmp now"
    assert title_of("\x07\x1b") == ""


def test_models_say_so_by_themselves(db: Any) -> None:
    """For whatever is built on them: names have one kind of field."""
    for model in (User, Group, ApiToken, LLM, LLMSettings, Chat, Session):
        for field in model._meta.get_fields():
            if isinstance(field, CasefoldedCharField) and field.source != "email":
                assert isinstance(model._meta.get_field(field.source), NameField)
