"""`chat-history-records`: sessions as the contract has them."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from chats.models import Chat, Session
from groups.models import Group
from tests.chats.test_sessions import errors, said
from tests.people import JSON_API, Person

PATH = "/chat-history-records"


def body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "chat-history-records", "attributes": attributes}}


def record(session: Session) -> dict[str, Any]:
    """A session in the contract's shape."""
    attributes = {"name": session.name, "chat_id": session.chat_id, "session_id": str(session.uuid)}
    attributes["user_id"] = session.user_id
    return {"type": "chat-history-records", "id": str(session.pk), "attributes": attributes}


@pytest.fixture
def session(bob: Person, chat: Chat) -> Session:
    return Session.objects.create(user=bob.user, chat=chat, name="Bob's")


def test_a_record_is_made(bob: Person, chat: Chat) -> None:
    given = "7D3F0C52-1B1C-4C3E-9C0A-6F3E1A2B4C5D"
    for sent in ({}, {"session_id": given}, {"user_id": bob.user.pk, "name": " Plans "}):
        made = bob.post(PATH, body(chat_id=chat.pk, **sent))
        assert made.status_code == 201, made.content
        session = Session.objects.order_by("pk").last()
        assert session
        assert made.json() == record(session) == bob.get(f"{PATH}/{session.pk}").json()
        assert made["Location"] == f"http://testserver/api/v1{PATH}/{session.pk}"
        assert session.user == bob.user
        assert "session_id" not in sent or session.uuid == UUID(given)
    assert Session.objects.filter(name="Plans").count() == 1


def test_records_and_sessions_are_the_same_rows(bob: Person, chat: Chat) -> None:
    made = bob.post("/sessions", {"data": {"attributes": {"chat_id": chat.pk, "name": "Plans"}}}).json()
    [shown] = bob.get(f"{PATH}?user_id={bob.user.pk}").json()["data"]
    assert shown["attributes"]["session_id"] == made["id"]
    assert bob.get(f"/sessions/{shown['attributes']['session_id']}").json() == made
    said(Session.objects.get(), "Who?", "Me.")
    assert bob.delete(f"{PATH}/{shown['id']}").status_code == 204
    assert bob.get(f"/sessions/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("attributes", "code", "member"),
    [
        ({"chat_id": ...}, "required", "chat_id"),
        ({"chat_id": None}, "null", "chat_id"),
        ({"chat_id": 987}, "does_not_exist", "chat_id"),
        ({"chat_id": 2**63 - 1}, "does_not_exist", "chat_id"),
        ({"chat_id": "1"}, "invalid", "chat_id"),
        ({"session_id": "x"}, "invalid", "session_id"),
        ({"session_id": 5}, "invalid", "session_id"),
        ({"session_id": None}, "null", "session_id"),
        ({"user_id": 987}, "invalid", "user_id"),
        ({"user_id": "1"}, "invalid", "user_id"),
        ({"user_id": True}, "invalid", "user_id"),
        ({"name": "x" * 201}, "max_length", "name"),
        ({"name": 5}, "invalid", "name"),
        ({"pinned": True}, "unknown_attribute", "pinned"),
    ],
)
def test_what_is_refused_is_named(bob: Person, chat: Chat, attributes: dict[str, Any], code: str, member: str) -> None:
    sent = {name: value for name, value in {"chat_id": chat.pk, **attributes}.items() if value is not ...}
    assert errors(bob.post(PATH, body(**sent))) == {(code, f"/data/attributes/{member}")}
    assert not Session.objects.exists()


def test_a_uuid_that_is_taken(bob: Person, chat: Chat, session: Session) -> None:
    for text in (str(session.uuid), session.uuid.hex, str(session.uuid).upper()):
        refused = bob.post(PATH, body(chat_id=chat.pk, session_id=text))
        assert errors(refused) == {("unique", "/data/attributes/session_id")}
    session.chat.groups.clear()  # what bob cannot see is still bob's
    other = Chat.objects.create(name="Other", llm=chat.llm, llm_settings=chat.llm_settings)
    other.groups.set(bob.user.groups.all())
    refused = bob.post(PATH, body(chat_id=other.pk, session_id=str(session.uuid)))
    assert errors(refused) == {("unique", "/data/attributes/session_id")}
    assert Session.objects.count() == 1


def test_nobody_is_told_that_another_has_a_uuid(alice: Person, bob: Person, chat: Chat, session: Session) -> None:
    """Each has a session of their own, and sees, asks in and deletes only that."""
    said(session, "Who?", "Bob.")
    made = alice.post(PATH, body(chat_id=chat.pk, session_id=str(session.uuid), name="Alice's"))
    assert made.status_code == 201
    own = f"/sessions/{session.uuid}"
    assert alice.get(own).json()["attributes"]["name"] == "Alice's"
    assert bob.get(own).json()["attributes"]["name"] == "Bob's"
    said(Session.objects.get(user=alice.user), "Who?", "Alice.")
    for person, name in ((alice, "Alice."), (bob, "Bob.")):
        assert [each["attributes"]["text"] for each in person.get(f"{own}/messages").json()] == ["Who?", name]
    assert alice.delete(own).status_code == 204
    assert alice.get(own).status_code == 404
    assert bob.get(f"{PATH}/{session.pk}").json() == record(session)


def test_nobody_makes_one_for_another(alice: Person, bob: Person, charlie: Person, chat: Chat) -> None:
    for person in (alice, bob):
        refused = person.post(PATH, body(chat_id=chat.pk, user_id=charlie.user.pk))
        assert errors(refused) == {("invalid", "/data/attributes/user_id")}
    assert errors(charlie.post(PATH, body(chat_id=chat.pk))) == {("does_not_exist", "/data/attributes/chat_id")}


def test_lists(alice: Person, bob: Person, chat: Chat, session: Session) -> None:
    newer = Session.objects.create(user=bob.user, chat=chat, name="Newer")
    own = f"{PATH}?user_id={bob.user.pk}"
    assert bob.get(own).json() == {"data": [record(newer), record(session)]}
    assert bob.get(f"{own}&page_size=1&page=2").json() == {"data": [record(session)]}
    assert bob.get(f"{own}&page_size=1")["X-Total-Count"] == "2"
    assert alice.get(own).json() == {"data": [record(newer), record(session)]}
    assert alice.get(f"{PATH}?user_id={alice.user.pk}").json() == {"data": []}
    assert alice.get(f"{PATH}?user_id=987").json() == {"data": []}
    document = bob.get(own, Accept=JSON_API).json()
    assert [item["id"] for item in document["data"]] == [str(newer.pk), str(session.pk)]
    assert document["meta"]["pagination"]["count"] == 2


def test_a_list_says_whose(bob: Person, charlie: Person) -> None:
    for query in ("", "?user_id=", "?user_id=x", "?user_id=1.5", f"?user_id={10**20}", "?user_id=1&user_id=2"):
        refused = bob.get(f"{PATH}{query}")
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["source"] == {"parameter": "user_id"}
    for another in (charlie.user.pk, 987):
        assert bob.get(f"{PATH}?user_id={another}").status_code == 403


def test_only_their_owner_reads_and_deletes_them(
    alice: Person, bob: Person, charlie: Person, team: Group, session: Session
) -> None:
    path = f"{PATH}/{session.pk}"
    for stranger in (alice, charlie):
        for refused in (stranger.get(path), stranger.delete(path)):
            assert refused.status_code == 404
            assert refused.content == stranger.get(f"{PATH}/987").content
    team.members.remove(bob.user)
    assert bob.get(path).status_code == bob.delete(path).status_code == 404
    assert bob.get(f"{PATH}?user_id={bob.user.pk}").json() == {"data": []}
    team.members.add(bob.user)
    assert bob.get(path).json() == record(session)
    assert bob.patch(path, body(name="Mine")).status_code == 405
    assert bob.get(f"{PATH}/{session.uuid}").status_code == 404
    assert bob.delete(path).status_code == 204
    assert not Session.objects.exists()


def test_of_a_deleted_chat(bob: Person, chat: Chat, session: Session) -> None:
    chat.delete()
    assert bob.get(f"{PATH}/{session.pk}").json()["attributes"]["chat_id"] is None


def test_the_same_in_json_api(bob: Person, chat: Chat) -> None:
    key = str(uuid4())
    made = bob.post(PATH, body(chat_id=chat.pk, session_id=key), JSON_API)
    assert made.status_code == 201
    assert made.json() == bob.get(f"{PATH}/{made.json()['data']['id']}", Accept=JSON_API).json()
    assert made.json()["data"]["attributes"]["session_id"] == key
