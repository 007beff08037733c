"""Why someone may or may not use a chat."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chats.models import Chat
from groups.models import Group, User
from tests.people import JSON_API, Person


def explained(alice: Person, chat: Chat, person: Person) -> dict[str, Any]:
    response = alice.get(f"/chats/{chat.pk}/explain-access?user={person.user.pk}")
    assert response.status_code == 200
    return response.json()["attributes"]


def told(capsys: Any, *arguments: str) -> str:
    call_command("explain_access", *arguments)
    return capsys.readouterr().out


def test_a_member(alice: Person, bob: Person, chat: Chat, capsys: Any) -> None:
    answer = explained(alice, chat, bob)
    assert (answer["allowed"], answer["code"], answer["groups"]) == (True, "member", ["Engineers"])
    said = told(capsys, "bob@example.com", "help DESK")
    assert said == f"Help desk (chat {chat.pk}): yes. bob@example.com belongs to Engineers.\n"


def test_a_stranger(alice: Person, charlie: Person, chat: Chat, capsys: Any) -> None:
    answer = explained(alice, chat, charlie)
    assert (answer["allowed"], answer["code"], answer["groups"]) == (False, "not_member", ["Engineers", "Lawyers"])
    assert "They belong to no group at all" in answer["detail"]
    assert ": no. " in told(capsys, "charlie@example.com", str(chat.pk))


def test_an_administrator(alice: Person, chat: Chat) -> None:
    answer = explained(alice, chat, alice)
    assert (answer["allowed"], answer["code"]) == (True, "administrator")


def test_a_chat_without_groups(alice: Person, bob: Person, chat: Chat) -> None:
    chat.groups.clear()
    assert explained(alice, chat, bob)["code"] == "no_groups"


def test_someone_inactive(alice: Person, bob: Person, chat: Chat) -> None:
    User.objects.filter(pk=bob.user.pk).update(is_active=False)
    answer = explained(alice, chat, bob)
    assert (answer["allowed"], answer["code"]) == (False, "inactive")


def test_it_agrees_with_what_they_get(alice: Person, bob: Person, charlie: Person, chat: Chat) -> None:
    for person in (alice, bob, charlie):
        allowed = person.get(f"/chats/{chat.pk}").status_code == 200
        assert explained(alice, chat, person)["allowed"] is allowed


def test_someone_without_any_chat(alice: Person, bob: Person, charlie: Person, chat: Chat, capsys: Any) -> None:
    assert told(capsys, "bob@example.com") == "They may use 1 chat: Help desk.\n"
    assert "no group at all" in told(capsys, "charlie@example.com")
    Group.objects.create(name="Idle").members.add(charlie.user)
    assert "No chat is open to their groups, Idle" in told(capsys, "charlie@example.com")


def test_who_and_what_must_exist(alice: Person, chat: Chat) -> None:
    assert alice.get(f"/chats/987/explain-access?user={alice.user.pk}").status_code == 404
    for query in ("", "?user=", "?user=x", "?user=987"):
        assert alice.get(f"/chats/{chat.pk}/explain-access{query}").status_code == 400
    for arguments in (("nobody@example.com",), ("alice@example.com", "No such chat")):
        with pytest.raises(CommandError, match="There is no"):
            call_command("explain_access", *arguments)


def test_in_json_api(alice: Person, bob: Person, chat: Chat) -> None:
    document = alice.get(f"/chats/{chat.pk}/explain-access?user={bob.user.pk}", Accept=JSON_API).json()
    assert document["data"]["type"] == "access-explanations"
    assert document["data"]["attributes"]["allowed"] is True
