"""What programs ask most goes a short way past the framework, and nobody can tell from the answer."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chats.api.serializers import LONGEST_QUESTION
from tests.talking import HTTP, Member, Studio, bearer, parsed, question, until

SHORT, WHOLE = "text/event-stream", "text/event-stream, application/json;q=0.1"
OWN = {"date", "x-request-id"}  # headers that every answer has for itself
PLAIN = question("How do tides work?")


@pytest.fixture(scope="module")
def group(studio: Studio) -> int:
    return studio.group()


@pytest.fixture(scope="module")
def bob(studio: Studio, group: int) -> Member:
    return studio.bob(group)


@pytest.fixture(scope="module")
def chat(studio: Studio, group: int) -> int:
    return studio.chat(group)


@pytest.fixture(scope="module", autouse=True)
def short_way_is_known(studio: Studio, bob: Member, chat: int) -> None:
    """The first answer goes the whole way, for others to learn from."""
    assert ask(studio, studio.session(chat, bob.key), SHORT, PLAIN, bob.key).status_code == 200


def ask(studio: Studio, session: str, accept: str, body: Any, key: str, **headers: str) -> httpx.Response:
    url = f"{studio.urls[0]}/api/v1/sessions/{session}/messages"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Accept": accept, **bearer(key), **headers}
    return HTTP.post(url, content=content, headers=headers)


def test_both_ways_answer_alike(studio: Studio, bob: Member, chat: int) -> None:
    answers, headers = [], []
    for accept in (SHORT, SHORT, WHOLE):  # the first goes the whole way too, for others to learn from
        session = studio.session(chat, bob.key)
        response = ask(studio, session, accept, question("/echo one two"), bob.key)
        assert response.status_code == 200
        headers.append({name: value for name, value in response.headers.items() if name not in OWN})
        assert response.headers.keys() >= OWN
        events = list(parsed([response.content]))
        answers.append([(event.id, event.name, event.data.keys()) for event in events if event.name != "delta"])
        stored = studio.call("GET", f"/sessions/{session}/messages", key=bob.key)
        assert [message["attributes"]["text"] for message in stored] == ["/echo one two", "one two"]
        assert int(stored[0]["id"]) < int(stored[1]["id"])  # who lists by id reads the question first
    assert headers[0] == headers[1] == headers[2]
    assert answers[0] == answers[1] == answers[2]


BAD = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": [PLAIN],
    "null": None,
    "no data": {},
    "no attributes": {"data": {"type": "messages"}},
    "no text": {"data": {"type": "messages", "attributes": {}}},
    "an empty text": question(""),
    "a number": question(1),  # type: ignore[arg-type]
    "a text too long": question("x" * (LONGEST_QUESTION + 1)),
    "NUL": question("\0"),
    "half a character": b'{"data": {"type": "messages", "attributes": {"text": "\\ud800"}}}',
    "another type": {"data": {"type": "chats", "attributes": {"text": "Hello"}}},
    "an id": {"data": {"type": "messages", "id": "1", "attributes": {"text": "Hello"}}},
    "one attribute more": {"data": {"type": "messages", "attributes": {"text": "Hello", "role": "user"}}},
    "one member more": {**PLAIN, "meta": {}},
    "a member twice": b'{"data": {"type": "messages", "attributes": {"text": "a", "text": "b"}}}',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said_alike(studio: Studio, bob: Member, chat: int, body: Any) -> None:
    session = studio.session(chat, bob.key)
    short, whole = (ask(studio, session, accept, body, bob.key) for accept in (SHORT, WHOLE))
    assert short.status_code in (400, 409)
    assert (short.status_code, short.json()) == (whole.status_code, whole.json())
    assert studio.call("GET", f"/sessions/{session}/messages", key=bob.key) == []


def test_strangers_are_told_the_same(studio: Studio, bob: Member, chat: int) -> None:
    session, charlie = studio.session(chat, bob.key), studio.bob(studio.group())
    for key, of, status in (
        (charlie.key, session, 404),
        (studio.key, session, 404),
        (bob.key, str(uuid4()), 404),
        ("wrong", session, 401),
    ):
        short, whole = (ask(studio, of, accept, PLAIN, key) for accept in (SHORT, WHOLE))
        assert (short.status_code, whole.status_code) == (status, status)
        assert short.json() == whole.json()
    assert studio.call("GET", f"/sessions/{session}/messages", key=bob.key) == []


def test_a_second_question_waits_on_both_ways(studio: Studio, bob: Member, chat: int) -> None:
    session = studio.session(chat, bob.key)
    url = f"{studio.urls[0]}/api/v1/sessions/{session}/messages"
    asked = {"Accept": SHORT, **bearer(bob.key)}
    with HTTP.stream("POST", url, headers=asked, json=question("/count 1000")) as response:
        next(response.iter_bytes())
        short, whole = (ask(studio, session, accept, PLAIN, bob.key) for accept in (SHORT, WHOLE))
        assert (short.status_code, whole.status_code) == (409, 409)
        assert short.json() == whole.json()
        studio.call("POST", f"/sessions/{session}/stop", key=bob.key)
    until(lambda: studio.answer(session, key=bob.key)["status"] == "stopped")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_a_post_asks(studio: Studio, bob: Member, chat: int, method: str) -> None:
    session = studio.session(chat, bob.key)
    headers = {"Content-Type": "application/json", "Accept": SHORT, **bearer(bob.key)}
    url = f"{studio.urls[0]}/api/v1/sessions/{session}/messages"
    assert HTTP.request(method, url, json=PLAIN, headers=headers).status_code in (405, 406)
    assert studio.call("GET", f"/sessions/{session}/messages", key=bob.key) == []
