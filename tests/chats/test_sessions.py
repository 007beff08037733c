"""Sessions: whose they are, how they are found, what can be changed in them, and what is left without their chat."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chats.models import ActiveAnswer, Chat, Message, Session
from groups.models import Group, User
from tests.people import JSON, JSON_API, Person

SHOWN = {"name", "chat_id", "chat_name", "leaf_id", "pinned", "archived", "created_at", "updated_at"}


def body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "sessions", "attributes": attributes}}


def document(chat_id: Any, **members: Any) -> dict[str, Any]:
    chat = {"data": {"type": "chats", "id": str(chat_id)}}
    return {"data": {"type": "sessions", "relationships": {"chat": chat}, **members}}


def said(session: Session, question: str, answer: str, after: Message | None = None) -> Message:
    """A question and its answer, put at the end of the session or after another answer; the answer."""
    number, parent = session.last_sequence, after or session.leaf
    asked = Message.objects.create(session=session, parent=parent, sequence=number + 1, role="user", text=question)
    session.leaf = Message.objects.create(
        session=session, parent=asked, sequence=number + 2, role="assistant", text=answer
    )
    session.last_sequence = number + 2
    session.save()
    return session.leaf


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [item["attributes"]["name"] for item in response.json()]


def errors(response: Any) -> set[tuple[str, str]]:
    assert response.status_code == 400, response.content
    return {(error["code"], error["source"]["pointer"]) for error in response.json()["errors"]}


@pytest.fixture
def session(bob: Person, chat: Chat) -> Session:
    return Session.objects.create(user=bob.user, chat=chat, name="Bob's")


@pytest.fixture
def path(session: Session) -> str:
    return f"/sessions/{session.uuid}"


# creation


def test_a_session_is_made(bob: Person, chat: Chat) -> None:
    made = bob.post("/sessions", body(chat_id=chat.pk))
    assert made.status_code == 201
    resource = made.json()
    assert made["Location"] == f"http://testserver/api/v1/sessions/{resource['id']}"
    assert resource == bob.get(f"/sessions/{resource['id']}").json()
    assert (resource["type"], str(UUID(resource["id"]))) == ("sessions", resource["id"])
    attributes = resource["attributes"]
    assert set(attributes) == SHOWN
    expected = {"name": "", "chat_id": chat.pk, "chat_name": "Help desk", "leaf_id": None}
    assert attributes.items() >= {**expected, "pinned": False, "archived": False}.items()
    assert Session.objects.get().user == bob.user


def test_the_same_in_json_api(bob: Person, chat: Chat) -> None:
    made = bob.post("/sessions", document(chat.pk, attributes={"name": "Plans", "pinned": True}), JSON_API)
    assert made.status_code == 201
    data = made.json()["data"]
    assert made.json() == bob.get(f"/sessions/{data['id']}", Accept=JSON_API).json()
    assert data["relationships"]["chat"]["data"] == {"type": "chats", "id": str(chat.pk)}
    assert set(data["attributes"]) == SHOWN - {"chat_id"}
    assert (data["attributes"]["name"], data["attributes"]["pinned"]) == ("Plans", True)


@pytest.mark.parametrize(
    ("attributes", "code", "member"),
    [
        ({"chat_id": ...}, "required", "chat_id"),
        ({"chat_id": None}, "null", "chat_id"),
        ({"chat_id": 987}, "does_not_exist", "chat_id"),
        ({"chat_id": "1"}, "invalid", "chat_id"),
        ({"chat_id": True}, "invalid", "chat_id"),
        ({"chat_id": [1]}, "invalid", "chat_id"),
        ({"name": "x" * 201}, "max_length", "name"),
        ({"name": 5}, "invalid", "name"),
        ({"pinned": "true"}, "invalid", "pinned"),
        ({"archived": 1}, "invalid", "archived"),
        ({"leaf_id": "1"}, "does_not_exist", "leaf_id"),
        ({"chat_name": "Desk"}, "read_only", "chat_name"),
        ({"user_id": 1}, "unknown_attribute", "user_id"),
        ({"uuid": str(uuid4())}, "unknown_attribute", "uuid"),
        ({"last_sequence": 5}, "unknown_attribute", "last_sequence"),
    ],
)
def test_what_is_refused_is_named(bob: Person, chat: Chat, attributes: dict[str, Any], code: str, member: str) -> None:
    sent = {name: value for name, value in {"chat_id": chat.pk, **attributes}.items() if value is not ...}
    assert errors(bob.post("/sessions", body(**sent))) == {(code, f"/data/attributes/{member}")}
    assert not Session.objects.exists()


def test_a_chat_that_one_may_not_see_does_not_exist(alice: Person, charlie: Person, chat: Chat) -> None:
    unseen = charlie.post("/sessions", body(chat_id=chat.pk))
    assert errors(unseen) == {("does_not_exist", "/data/attributes/chat_id")}
    absent = charlie.post("/sessions", body(chat_id=987)).content
    assert unseen.content.replace(f"id {chat.pk}.".encode(), b"id 987.") == absent
    refused = charlie.post("/sessions", document(chat.pk), JSON_API)
    assert errors(refused) == {("does_not_exist", "/data/relationships/chat")}
    assert alice.post("/sessions", body(chat_id=chat.pk)).status_code == 201


def test_a_name_is_trimmed(bob: Person, chat: Chat) -> None:
    made = bob.post("/sessions", body(chat_id=chat.pk, name="  Plans \n"))
    assert made.json()["attributes"]["name"] == "Plans"


# whose they are


def test_only_their_owner_knows_them(alice: Person, bob: Person, charlie: Person, session: Session, path: str) -> None:
    answer = said(session, "Who?", "Me.")
    message, text = f"{path}/messages/{answer.pk}", {"data": {"attributes": {"text": "Hi"}}}
    calls: list[tuple[str, str, Any]] = [
        ("GET", path, None),
        ("PATCH", path, body(name="Mine")),
        ("DELETE", path, None),
        ("GET", f"{path}/usage", None),
        ("GET", f"{path}/events", None),
        ("POST", f"{path}/stop", None),
        ("GET", f"{path}/messages", None),
        ("GET", message, None),
        ("POST", f"{path}/messages", text),
        ("POST", f"{message}/regenerate", None),
        ("POST", f"{message}/edit", text),
    ]
    for stranger in (alice, charlie):
        assert names(stranger.get("/sessions")) == []
        for method, url, sent in calls:
            kind = JSON if sent else ""
            answers = [
                stranger.send(method, each, sent, kind) for each in (url, url.replace(str(session.uuid), str(uuid4())))
            ]
            assert [each.status_code for each in answers] == [404, 404], (method, url)
            assert answers[0].content == answers[1].content
    assert names(bob.get("/sessions")) == ["Bob's"]


def test_with_the_chat_goes_the_session(bob: Person, team: Group, session: Session, path: str) -> None:
    team.members.remove(bob.user)
    assert names(bob.get("/sessions")) == []
    for url in (path, f"{path}/messages", f"{path}/events", f"{path}/usage"):
        assert bob.get(url).status_code == 404
    assert bob.patch(path, body(name="Mine")).status_code == bob.delete(path).status_code == 404
    team.members.add(bob.user)
    assert names(bob.get("/sessions")) == ["Bob's"]


def test_with_the_user_go_their_sessions(alice: Person, bob: Person, session: Session) -> None:
    said(session, "Who?", "Me.")
    assert alice.delete(f"/users/{bob.user.pk}").status_code == 204
    assert not Session.objects.exists()
    assert not Message.objects.exists()


# lists


@pytest.fixture
def shelf(bob: Person, chat: Chat, team: Group) -> dict[str, Session]:
    """Three of bob's, in two chats; the oldest first."""
    other = Chat.objects.create(name="Kitchen", llm=chat.llm, llm_settings=chat.llm_settings)
    other.groups.add(team)
    return {
        "Zebra": Session.objects.create(user=bob.user, chat=chat, name="Zebra", pinned=True),
        "ÄRGER": Session.objects.create(user=bob.user, chat=other, name="ÄRGER", archived=True),
        "monkey": Session.objects.create(user=bob.user, chat=chat, name="monkey"),
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["monkey", "ÄRGER", "Zebra"]),
        ("filter[pinned]=true", ["Zebra"]),
        ("filter[pinned]=false", ["monkey", "ÄRGER"]),
        ("filter[archived]=true", ["ÄRGER"]),
        ("filter[archived]=false&filter[pinned]=false", ["monkey"]),
        ("filter[chat]={chat}", ["monkey", "Zebra"]),
        ("filter[chat]=987", []),
        ("sort=name", ["monkey", "Zebra", "ÄRGER"]),
        ("sort=-name", ["ÄRGER", "Zebra", "monkey"]),
        ("sort=created_at", ["Zebra", "ÄRGER", "monkey"]),
        ("sort=updated_at", ["Zebra", "ÄRGER", "monkey"]),
        ("sort=-id", ["monkey", "ÄRGER", "Zebra"]),
        ("page_size=2", ["monkey", "ÄRGER"]),
        ("page_size=2&page=2", ["Zebra"]),
        ("page=3", []),
    ],
)
def test_lists(bob: Person, chat: Chat, shelf: dict[str, Session], query: str, expected: list[str]) -> None:
    assert names(bob.get(f"/sessions?{query.format(chat=chat.pk)}")) == expected


@pytest.mark.parametrize(
    "query", ["filter[pinned]=yes", "filter[pinned]=", "filter[chat]=x", "filter[user]=1", "sort=chat"]
)
def test_a_bad_parameter_is_named(bob: Person, query: str) -> None:
    response = bob.get(f"/sessions?{query}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"]["parameter"] == query.partition("=")[0]


def test_what_was_changed_last_comes_first(bob: Person, shelf: dict[str, Session]) -> None:
    bob.patch(f"/sessions/{shelf['Zebra'].uuid}", body(name="Zebras"))
    assert names(bob.get("/sessions")) == ["Zebras", "monkey", "ÄRGER"]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("zebr", ["Zebra"]),
        ("ärger", ["ÄRGER"]),
        ("crème", ["monkey"]),
        ("CRÈME", ["monkey"]),
        ("crème zebra", []),
        ("monkey crème", ["monkey"]),
        ("привет", ["Zebra"]),
        ("straße", ["Zebra"]),  # of which Unicode's folding makes ss
        ("100%", ["Zebra"]),
        ("0%p", []),
        ("a_b", ["monkey"]),
        ("a%b", []),
        ("c:\\new", ["monkey"]),
        ("(.*", ["ÄRGER"]),
        ("^", []),
        ("'", []),
    ],
)
def test_search_looks_into_names_and_texts(
    bob: Person, shelf: dict[str, Session], search: str, expected: list[str]
) -> None:
    said(shelf["Zebra"], "ПРИВЕТ", "100% pure, on every Straße")
    said(shelf["ÄRGER"], "Which one?", "The pattern is (.*)")
    said(shelf["monkey"], "Crème brûlée, with a_b in C:\\new?", "axb")
    assert names(bob.get("/sessions", {"search": search, "sort": "name"})) == expected


def test_search_stays_within_ones_own(alice: Person, session: Session) -> None:
    said(session, "The merger", "is off")
    assert names(alice.get("/sessions?search=merger")) == []


def test_a_chat_is_included_as_its_reader_may_see_it(alice: Person, bob: Person, chat: Chat, session: Session) -> None:
    Chat.objects.update(system_prompt="Never mention the merger.")
    Session.objects.create(user=alice.user, chat=chat)
    single, new = f"/sessions/{session.uuid}?include=chat", document(chat.pk)
    for person, groups in ((bob, ["Engineers"]), (alice, ["Engineers", "Lawyers"])):
        answers = [person.get("/sessions?include=chat", Accept=JSON_API)]
        answers.append(person.post("/sessions?include=chat", new, JSON_API))
        if person is bob:
            change = {"data": {"type": "sessions", "id": str(session.uuid), "attributes": {"pinned": True}}}
            answers += [person.get(single, Accept=JSON_API), person.patch(single, change, JSON_API)]
        for answer in answers:
            [included] = answer.json()["included"]
            assert (included["type"], included["id"]) == ("chats", str(chat.pk))
            linked = {item["id"] for item in included["relationships"]["groups"]["data"]}
            assert linked == {str(group.pk) for group in Group.objects.filter(name__in=groups)}
            assert ("merger" in included["attributes"].get("system_prompt", "")) == (person is alice)


def test_a_hidden_field_cannot_be_asked_for(bob: Person, chat: Chat, session: Session) -> None:
    Chat.objects.update(system_prompt="Never mention the merger.")
    answer = bob.get("/sessions?include=chat&fields[chats]=name,system_prompt", Accept=JSON_API)
    assert answer.json()["included"][0]["attributes"] == {"name": "Help desk"}
    assert bob.get("/sessions?include=chat.llm", Accept=JSON_API).status_code == 400


# changes


def test_what_is_sent_changes_and_nothing_else(bob: Person, path: str) -> None:
    before = bob.get(path).json()["attributes"]
    for change in ({"name": "Plans"}, {"pinned": True}, {"archived": True}, {"pinned": False}, {"name": None}):
        after = bob.patch(path, body(**change))
        assert after.status_code == 200
        assert after.json() == bob.get(path).json()
        changed = after.json()["attributes"]
        assert changed["updated_at"] > before["updated_at"]
        expected = {**before, **change, "updated_at": changed["updated_at"]}
        before = changed
        assert changed == {**expected, "name": expected["name"] or ""}


def test_a_resource_can_be_sent_back_whole(bob: Person, session: Session, path: str) -> None:
    said(session, "Who?", "Me.")
    shown = bob.get(path).json()
    shown["attributes"]["name"] = "Plans"
    assert bob.patch(path, {"data": shown}).status_code == 200
    shown = bob.get(path, Accept=JSON_API).json()["data"]
    del shown["links"]
    assert bob.patch(path, {"data": shown}, JSON_API).status_code == 200


def test_a_session_stays_in_its_chat(alice: Person, bob: Person, chat: Chat, team: Group, path: str) -> None:
    other = Chat.objects.create(name="Kitchen", llm=chat.llm, llm_settings=chat.llm_settings)
    other.groups.add(team)
    assert bob.patch(path, body(chat_id=chat.pk)).status_code == 200
    assert errors(bob.patch(path, body(chat_id=other.pk))) == {("read_only", "/data/attributes/chat_id")}
    assert errors(bob.patch(path, body(chat_id=None))) == {("null", "/data/attributes/chat_id")}
    assert bob.get(path).json()["attributes"]["chat_id"] == chat.pk


def test_the_leaf_is_an_answer_of_the_session(bob: Person, chat: Chat, session: Session, path: str) -> None:
    first = said(session, "One?", "1")
    newest = said(session, "Two?", "2")
    foreign = said(Session.objects.create(user=bob.user, chat=chat), "Three?", "3")
    assert bob.get(path).json()["attributes"]["leaf_id"] == str(newest.pk)
    for leaf in (str(first.pk), None, str(newest.pk)):
        changed = bob.patch(path, body(leaf_id=leaf))
        assert changed.status_code == 200
        assert bob.get(path).json()["attributes"]["leaf_id"] == leaf
    refused: list[tuple[Any, str]] = [
        (str(foreign.pk), "does_not_exist"),
        (str(newest.parent_id), "does_not_exist"),  # a question
        ("9" * 18, "does_not_exist"),
        ("9" * 19, "does_not_exist"),  # more than 64 bits
        ("9" * 20, "invalid"),
        (newest.pk, "invalid"),
    ]
    garbage: list[Any] = ["", "x", "-1", "1.5", " 1", "١", True, [], {}]
    for leaf, code in [*refused, *((each, "invalid") for each in garbage)]:
        assert errors(bob.patch(path, body(leaf_id=leaf))) == {(code, "/data/attributes/leaf_id")}, leaf
    assert bob.get(path).json()["attributes"]["leaf_id"] == str(newest.pk)


def test_the_leaf_stays_while_an_answer_is_made(bob: Person, session: Session, path: str) -> None:
    first, running = said(session, "One?", "1"), said(session, "Two?", "")
    ActiveAnswer.objects.create(session=session, message=running, worker=uuid4(), lease_until=timezone.now())
    for leaf in (str(first.pk), None):
        refused = bob.patch(path, body(name="Plans", leaf_id=leaf))
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "conflict")
    assert bob.get(path).json()["attributes"]["name"] == "Bob's"
    assert bob.patch(path, body(name="Plans", leaf_id=str(running.pk))).status_code == 200
    ActiveAnswer.objects.all().delete()
    assert bob.patch(path, body(leaf_id=str(first.pk))).status_code == 200


@pytest.mark.parametrize("media_type", [JSON, JSON_API])
def test_conditions(bob: Person, session: Session, path: str, media_type: str) -> None:
    seen = bob.get(path, Accept=media_type)["ETag"]
    assert bob.get(path, Accept=media_type, If_None_Match=seen).status_code == 304
    change = {"data": {"type": "sessions", "id": str(session.uuid), "attributes": {"name": "Plans"}}}
    changed = bob.patch(path, change, media_type, If_Match=seen)
    assert (changed.status_code, changed["ETag"]) == (200, bob.get(path, Accept=media_type)["ETag"])
    assert bob.get(path, Accept=media_type, If_None_Match=seen).status_code == 200
    assert bob.patch(path, change, media_type, If_Match=seen).status_code == 412
    assert bob.delete(path, Accept=media_type, If_Match=seen).status_code == 412
    assert bob.delete(path, Accept=media_type, If_Match=changed["ETag"]).status_code == 204
    assert bob.get(path).status_code == 404


def test_with_a_session_go_its_messages(bob: Person, session: Session, path: str) -> None:
    said(session, "Who?", "Me.")
    assert bob.delete(path).status_code == 204
    assert bob.delete(path).status_code == 404
    assert not Message.objects.exists()


# without the chat


def test_a_session_can_be_read_when_its_chat_is_deleted(
    alice: Person, bob: Person, chat: Chat, session: Session, path: str
) -> None:
    answer = said(session, "Who?", "Me.")
    alice.patch(f"/chats/{chat.pk}", {"data": {"attributes": {"name": "Service desk"}}})
    assert bob.get(path).json()["attributes"]["chat_name"] == "Service desk"
    assert alice.delete(f"/chats/{chat.pk}").status_code == 204

    shown = bob.get(path).json()
    assert (shown["attributes"]["chat_id"], shown["attributes"]["chat_name"]) == (None, "Service desk")
    assert bob.get(path, Accept=JSON_API).json()["data"]["relationships"]["chat"] == {"data": None}
    assert bob.get("/sessions?include=chat", Accept=JSON_API).json()["included"] == []
    assert names(bob.get("/sessions?search=me")) == ["Bob's"]
    assert [item["attributes"]["text"] for item in bob.get(f"{path}/messages").json()] == ["Who?", "Me."]
    assert bob.get(f"{path}/messages/{answer.pk}").status_code == 200
    assert bob.get(f"{path}/usage").json()["attributes"]["answers"] == 1
    assert bob.patch(path, body(name="Plans", pinned=True)).status_code == 200
    assert alice.get(path).status_code == 404
    assert bob.delete(path).status_code == 204


@pytest.mark.parametrize("taken", ["membership", "the group", "the chat from the group"])
def test_a_deleted_chat_gives_nobody_back_what_was_taken(
    alice: Person, bob: Person, team: Group, chat: Chat, session: Session, path: str, taken: str
) -> None:
    said(session, "Who?", "Me.")
    other = Group.objects.create(name="Others")
    chat.groups.add(other)
    dora = User.objects.create_user("dora@example.com")
    dora.groups.add(other)
    hers, alices = (Session.objects.create(user=user, chat=chat, name="Kept") for user in (dora, alice.user))
    if taken == "membership":
        team.members.remove(bob.user)
    elif taken == "the group":
        team.delete()
    else:
        chat.groups.remove(team)
    assert bob.get(path).status_code == 404
    assert alice.delete(f"/chats/{chat.pk}").status_code == 204

    assert [bob.get(each).status_code for each in (path, f"{path}/messages", f"{path}/usage")] == [404] * 3
    assert bob.get("/sessions").json() == []
    assert bob.get(f"/chat-history-records?user_id={bob.user.pk}").json()["data"] == []
    assert list(Session.objects.visible_to(dora)) == [hers]
    assert list(Session.objects.visible_to(alice.user)) == [alices]
    assert {kept.name_of_chat for kept in Session.objects.all()} == {chat.name}


def test_without_its_chat_a_resource_can_be_sent_back_whole(bob: Person, chat: Chat, path: str) -> None:
    chat.delete()
    assert bob.patch(path, {"data": bob.get(path).json()}).status_code == 200


def test_the_page_that_asks_whether_to_delete_a_chat_only_reads(alice: Person, chat: Chat, session: Session) -> None:
    client = Client()
    client.force_login(alice.user)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/admin/chats/chat/{chat.pk}/delete/").status_code == 200
    assert not [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
