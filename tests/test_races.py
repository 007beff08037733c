"""Many requests at the same moment, to two real servers on one database: nothing is lost, doubled or a 500."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from email.message import Message
from functools import partial
from http.client import HTTPConnection
from itertools import count, cycle
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from tests.live import environment, free_port, is_healthy, manage, running
from tests.people import JSON_API

pytestmark = pytest.mark.slow

MANY = 20
ROUNDS = 8
TIMEOUT = 30  # seconds for one answer
TOO_LATE = {  # the last who administers stays; who is no administrator any more may not, or sees nobody else
    (409, "conflict"),
    (401, "authentication_failed"),
    (403, "permission_denied"),
    (404, "not_found"),
}
FIRST_STEPS = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from groups.models import ApiToken, User
print(ApiToken.issue(User.objects.create_superuser("alice@example.com"), name="tests")[1])
"""
NUMBER = count(1)  # makes names that nobody has


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: Any

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, and the code of what is wrong."""
        errors = self.body.get("errors", []) if isinstance(self.body, dict) else []
        return self.status, " ".join(error["code"] for error in errors)


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    key: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Studio:
    """Two servers on one database, and the key of alice, who administers."""

    ports: tuple[int, ...]
    key: str

    def at_once(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers to calls that are sent at the same moment, to each server in turn."""
        start = Barrier(len(calls), timeout=TIMEOUT)

        def send(call: Call, port: int) -> Answer:
            connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            try:
                connection.connect()
                start.wait()
                headers = {"Authorization": f"Bearer {call.key}", "Content-Type": "application/json", **call.headers}
                body = None if call.body is None else json.dumps({"data": call.body})
                connection.request(call.method, f"/api/v1/{call.path}", body, headers)
                response = connection.getresponse()
                text = response.read()
                return Answer(response.status, response.headers, json.loads(text) if text else None)
            finally:
                connection.close()

        with ThreadPoolExecutor(len(calls)) as threads:
            return list(threads.map(send, calls, cycle(self.ports)))

    def call(self, method: str, path: str, attributes: Any = None, key: str = "", **headers: str) -> Answer:
        body = None if attributes is None else {"attributes": attributes}
        return self.at_once([Call(method, path, key or self.key, body, headers)])[0]

    def make(self, kind: str, **attributes: Any) -> int:
        """The id of a new resource."""
        answer = self.call("POST", kind, attributes)
        assert answer.status == 201, answer
        return int(answer.body["id"])

    def read(self, path: str, key: str = "") -> dict[str, Any]:
        answer = self.call("GET", path, key=key)
        assert answer.status == 200, answer
        attributes: dict[str, Any] = answer.body["attributes"]
        return attributes

    def total(self, path: str) -> int:
        return int(self.call("GET", path).headers["X-Total-Count"])

    def person(self, **attributes: Any) -> "Fighter":
        user = self.make("users", email=new("person@example.com"), **attributes)
        return Fighter(user, self.call("POST", f"users/{user}/roll-api-key").body["attributes"]["api_key"])

    def chat(self) -> int:
        return self.make("chats", name="Help desk", llm_id=self.llm(), llm_settings_id=self.make("llm-settings"))

    def llm(self) -> int:
        return self.make("llms", name=new("model"), vendor="demo")


@dataclass(frozen=True)
class Fighter:
    """A user, with a key."""

    user: int
    key: str


def new(name: str) -> str:
    return f"{next(NUMBER)}-{name}"


def outcomes(answers: Sequence[Answer]) -> Counter[tuple[int, str]]:
    return Counter(answer.outcome for answer in answers)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("races")
    variables = environment(folder)
    if request.param == "postgresql":
        variables["DATABASE_URL"] = request.getfixturevalue("postgres")
    key = manage(variables, "shell", "--no-imports", "--command", FIRST_STEPS).strip()
    ports = (free_port(), free_port())
    with ExitStack() as stack:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        servers = [
            stack.enter_context(running(variables, folder / f"{number}.log", "runserver", address))
            for number, address in enumerate(addresses)
        ]
        for server, address in zip(servers, addresses, strict=True):
            server.wait_until(partial(is_healthy, f"http://{address}"))
        yield Studio(ports, key)


# one name, one row


def spellings(name: str) -> list[str]:
    """The same name, in other letter cases and with space around it."""
    forms = (name, name.upper(), name.title(), f" {name} ")
    return [form for form, _ in zip(cycle(forms), range(MANY), strict=False)]


@pytest.mark.parametrize(
    ("kind", "attribute", "name", "others"),
    [
        ("groups", "name", "straße", {}),
        ("users", "email", "diana@example.com", {}),
        ("llms", "name", "house model", {"vendor": "demo"}),
    ],
)
def test_of_twenty_creations_of_one_name_one_succeeds(
    studio: Studio, kind: str, attribute: str, name: str, others: dict[str, str]
) -> None:
    before = studio.total(kind)
    bodies = [{"attributes": {attribute: form, **others}} for form in spellings(new(name))]
    answers = studio.at_once([Call("POST", kind, studio.key, body) for body in bodies])
    assert outcomes(answers) == {(201, ""): 1, (400, "unique"): MANY - 1}
    assert studio.total(kind) == before + 1


@pytest.mark.parametrize("kind", ["groups", "llms"])
def test_of_twenty_that_take_one_name_one_succeeds(studio: Studio, kind: str) -> None:
    others = {"vendor": "demo"} if kind == "llms" else {}
    ids = [studio.make(kind, name=new("before"), **others) for _ in range(MANY)]
    name = new("after")
    calls = [Call("PATCH", f"{kind}/{pk}", studio.key, {"attributes": {"name": name}}) for pk in ids]
    assert outcomes(studio.at_once(calls)) == {(200, ""): 1, (400, "unique"): MANY - 1}
    assert studio.total(f"{kind}?filter[name]={name}") == 1


# members


def test_a_member_who_is_added_twenty_times_is_one_member(studio: Studio) -> None:
    group, bob = studio.make("groups", name=new("Engineers")), studio.person()
    add = Call("POST", f"groups/{group}/users", studio.key, {"type": "users", "id": str(bob.user)})
    assert outcomes(studio.at_once([add] * MANY)) == {(204, ""): MANY}
    assert studio.total(f"groups/{group}/users") == 1


def test_a_group_that_is_added_to_a_chat_twenty_times_is_there_once(studio: Studio) -> None:
    chat, group = studio.chat(), studio.make("groups", name=new("Engineers"))
    path = f"chats/{chat}/relationships/groups"
    add = Call("POST", path, studio.key, [{"type": "groups", "id": str(group)}])
    assert outcomes(studio.at_once([add] * MANY)) == {(204, ""): MANY}
    assert studio.total(path) == 1


def test_twenty_groups_that_are_added_to_a_chat_are_all_there(studio: Studio) -> None:
    chat, groups = studio.chat(), [studio.make("groups", name=new("Team")) for _ in range(MANY)]
    path = f"chats/{chat}/relationships/groups"
    calls = [Call("POST", path, studio.key, [{"type": "groups", "id": str(group)}]) for group in groups]
    assert outcomes(studio.at_once(calls)) == {(204, ""): MANY}
    assert studio.total(path) == MANY


def test_a_user_becomes_a_member_from_both_sides(studio: Studio) -> None:
    for _ in range(ROUNDS):
        bob, group = studio.person(), studio.make("groups", name=new("Engineers"))
        calls = [
            Call("POST", f"groups/{group}/users", studio.key, {"type": "users", "id": str(bob.user)}),
            Call("PATCH", f"users/{bob.user}", studio.key, {"attributes": {"group_ids": [group]}}),
            Call("PATCH", f"groups/{group}", studio.key, {"attributes": {"member_ids": [bob.user]}}),
        ]
        answers = studio.at_once(calls * 2)
        assert outcomes(answers) == {(204, ""): 2, (200, ""): 4}
        assert studio.total(f"groups/{group}/users") == 1


def test_a_user_is_deleted_while_they_become_a_member(studio: Studio) -> None:
    group = studio.make("groups", name=new("Engineers"))
    for _ in range(ROUNDS):
        bob = studio.person()
        member = {"type": "users", "id": str(bob.user)}
        delete = Call("DELETE", f"users/{bob.user}", studio.key)
        add = Call("POST", f"groups/{group}/users", studio.key, member)
        relate = Call("POST", f"groups/{group}/relationships/members", studio.key, [member])
        kept = [replace(call, headers={"Idempotency-Key": new("add")}) for call in (add, relate)]
        deleted, *added = studio.at_once([delete, add, relate, *kept])
        assert deleted.outcome == (204, "")
        assert outcomes(added[:2]).keys() <= {(204, ""), (400, "does_not_exist")}
        assert outcomes(added[2:]).keys() <= {(204, ""), (400, "does_not_exist"), (409, "conflict")}
        assert studio.total(f"groups/{group}/users") == 0


# changes


@pytest.mark.parametrize("include", ["", "llm,llm_settings"])
def test_changes_of_different_attributes_are_all_kept(studio: Studio, include: str) -> None:
    """Twenty in all, of five attributes; with `include`, what is included is read along."""
    path = f"chats/{studio.chat()}"
    asked, accept = (f"{path}?include={include}", {"Accept": JSON_API}) if include else (path, {})
    for _ in range(MANY // 5):
        group = studio.make("groups", name=new("Team"))
        sent = {
            "name": new("name"),
            "description": new("description"),
            "system_prompt": new("prompt"),
            "llm_id": studio.llm(),
            "group_ids": [group],
        }
        calls = [
            Call("PATCH", asked, studio.key, {"attributes": {name: value}}, accept) for name, value in sent.items()
        ]
        assert outcomes(studio.at_once(calls)) == {(200, ""): len(sent)}
        stored = studio.read(path)
        stored["group_ids"] = [int(item["id"]) for item in stored["groups"]]
        assert {name: stored[name] for name in sent} == sent


def test_of_twenty_changes_of_what_they_read_one_succeeds(studio: Studio) -> None:
    chat = studio.chat()
    seen = {"If-Match": studio.call("GET", f"chats/{chat}").headers["ETag"]}
    names = [new("name") for _ in range(MANY)]
    answers = studio.at_once(
        [Call("PATCH", f"chats/{chat}", studio.key, {"attributes": {"name": name}}, seen) for name in names]
    )
    assert outcomes(answers) == {(200, ""): 1, (412, "precondition_failed"): MANY - 1}
    stored = studio.read(f"chats/{chat}")["name"]
    assert stored == next(name for name, answer in zip(names, answers, strict=True) if answer.status == 200)


def test_of_twenty_keys_rolled_at_once_one_works(studio: Studio) -> None:
    bob = studio.person()
    answers = studio.at_once([Call("POST", f"users/{bob.user}/roll-api-key", studio.key)] * MANY)
    assert outcomes(answers) == {(200, ""): MANY}
    keys = [bob.key, *(answer.body["attributes"]["api_key"] for answer in answers)]
    statuses = Counter(studio.call("GET", "users/me", key=key).status for key in keys)
    assert statuses == {200: 1, 401: MANY}


# deletions


def test_of_twenty_deletions_of_a_chat_one_succeeds(studio: Studio) -> None:
    delete = Call("DELETE", f"chats/{studio.chat()}", studio.key)
    assert outcomes(studio.at_once([delete] * MANY)) == {(204, ""): 1, (404, "not_found"): MANY - 1}


def test_an_llm_is_deleted_while_chats_with_it_are_created(studio: Studio) -> None:
    call_settings = studio.make("llm-settings")
    for _ in range(ROUNDS):
        llm = studio.llm()
        chat = {"name": "Help desk", "llm_id": llm, "llm_settings_id": call_settings}
        create = Call("POST", "chats", studio.key, {"attributes": chat})
        delete = Call("DELETE", f"llms/{llm}", studio.key)
        *created, deleted = studio.at_once([create] * 4 + [delete])
        assert outcomes(created).keys() <= {(201, ""), (400, "does_not_exist")}
        chats = sum(answer.status == 201 for answer in created)
        assert deleted.outcome == ((409, "conflict") if chats else (204, ""))
        assert studio.call("GET", f"llms/{llm}").status == (200 if chats else 404)
        assert studio.total(f"chats?filter[llm]={llm}") == chats


def test_a_user_is_deleted_while_their_key_is_rolled(studio: Studio) -> None:
    for _ in range(ROUNDS):
        bob = studio.person()
        roll = Call("POST", f"users/{bob.user}/roll-api-key", studio.key)
        deleted, *rolled = studio.at_once([Call("DELETE", f"users/{bob.user}", studio.key), *[roll] * 4])
        assert deleted.outcome == (204, "")
        assert outcomes(rolled).keys() <= {(200, ""), (404, "not_found")}
        keys = [bob.key, *(answer.body["attributes"]["api_key"] for answer in rolled if answer.status == 200)]
        assert {studio.call("GET", "users/me", key=key).status for key in keys} == {401}


# repetitions


def test_of_twenty_requests_with_one_key_one_is_done(studio: Studio) -> None:
    name = new("Pilots")
    create = Call("POST", "groups", studio.key, {"attributes": {"name": name}}, {"Idempotency-Key": name})
    answers = studio.at_once([create] * MANY)
    assert outcomes(answers).keys() <= {(201, ""), (409, "conflict")}
    done = [answer for answer in answers if answer.status == 201]
    assert sum("Idempotency-Replayed" not in answer.headers for answer in done) == 1
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 409)
    assert studio.at_once([create])[0].headers["Idempotency-Replayed"] == "true"
    assert {answer.body["id"] for answer in done} == {done[0].body["id"]}
    assert studio.total(f"groups?filter[name]={name}") == 1
    made = studio.call("GET", f"audit-events?filter[object_type]=groups&filter[object_id]={done[0].body['id']}").body
    assert [event["attributes"]["action"] for event in made] == ["created"]


# conversations


def session_of(studio: Studio) -> str:
    """The path of a new session in a chat of the demo's."""
    settings = studio.make("llm-settings", model_name="demo")
    chat = studio.make("chats", name="Help desk", llm_id=studio.llm(), llm_settings_id=settings)
    return f"sessions/{studio.call('POST', 'sessions', {'chat_id': chat}).body['id']}"


def question(studio: Studio, session: str, text: str, **headers: str) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call("POST", f"{session}/messages", studio.key, {"attributes": {"text": text}}, named)


def test_of_twenty_questions_one_is_answered(studio: Studio) -> None:
    session = session_of(studio)
    answers = studio.at_once([question(studio, session, f"/count {100 + number}") for number in range(MANY)])
    assert outcomes(answers) == {(201, ""): 1, (409, "conflict"): MANY - 1}
    asked, answer = studio.call("GET", f"{session}/messages?branch=all").body
    assert [answer] == [each.body for each in answers if each.status == 201]
    assert answer["attributes"]["text"].endswith(asked["attributes"]["text"].removeprefix("/count "))


def test_a_question_that_is_sent_twenty_times_is_asked_once(studio: Studio) -> None:
    session = session_of(studio)
    answers = studio.at_once([question(studio, session, "/count 20", Idempotency_Key="key")] * MANY)
    assert outcomes(answers) == {(201, ""): MANY}
    stored = studio.call("GET", f"{session}/messages?branch=all").body
    assert len(stored) == 2
    assert all(answer.body == stored[1] for answer in answers)


def test_a_session_is_deleted_while_it_is_asked(studio: Studio) -> None:
    for _ in range(ROUNDS // 2):
        session = session_of(studio)
        ask, stop = question(studio, session, "/count 500"), Call("POST", f"{session}/stop", studio.key)
        deleted, *others = studio.at_once([Call("DELETE", session, studio.key), ask, ask, stop, ask])
        assert deleted.outcome == (204, "")
        assert {answer.status for answer in others} <= {201, 202, 404, 409}
        assert studio.call("GET", session).status == 404


def test_of_twenty_records_of_one_uuid_one_is_made(studio: Studio) -> None:
    record = {"chat_id": studio.chat(), "session_id": str(uuid4())}
    answers = studio.at_once([Call("POST", "chat-history-records", studio.key, {"attributes": record})] * MANY)
    assert outcomes(answers) == {(201, ""): 1, (400, "unique"): MANY - 1}


# two administrators, of whom one must remain; last, as alice is none while they fight


@pytest.mark.parametrize("attack", ["demote", "deactivate", "delete"])
def test_two_administrators_cannot_remove_each_other(studio: Studio, attack: str) -> None:
    alice = studio.call("GET", "users/me").body["id"]
    erin, frank = studio.person(is_admin=True), studio.person(is_admin=True)
    assert studio.call("PATCH", f"users/{alice}", {"is_admin": False}, erin.key).status == 200
    try:
        for _ in range(ROUNDS):
            answers = studio.at_once([blow(attack, erin.key, frank), blow(attack, frank.key, erin)])
            won, lost = sorted(answers, key=lambda answer: answer.status)
            assert won.status == (204 if attack == "delete" else 200)
            assert lost.outcome in TOO_LATE
            winner, loser = (erin, frank) if won is answers[0] else (frank, erin)
            erin, frank = winner, revived(studio, attack, winner, loser)
    finally:
        promotions = [studio.call("PATCH", f"users/{alice}", {"is_admin": True}, key) for key in (erin.key, frank.key)]
        assert 200 in [answer.status for answer in promotions], "Nobody is left who administers."
        for fighter in (erin, frank):
            studio.call("DELETE", f"users/{fighter.user}")


def blow(attack: str, key: str, victim: Fighter) -> Call:
    if attack == "delete":
        return Call("DELETE", f"users/{victim.user}", key)
    change = {"is_admin": False} if attack == "demote" else {"is_active": False}
    return Call("PATCH", f"users/{victim.user}", key, {"attributes": change})


def revived(studio: Studio, attack: str, winner: Fighter, loser: Fighter) -> Fighter:
    """The loser, or someone in their place: an active administrator again, by the hand of the winner."""
    winners = Studio(studio.ports, winner.key)
    if attack == "delete":
        return winners.person(is_admin=True)
    assert winners.call("PATCH", f"users/{loser.user}", {"is_admin": True, "is_active": True}).status == 200
    return loser
