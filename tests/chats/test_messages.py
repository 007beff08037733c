"""Messages: asking, reading the answer as it comes or whole, branches, stopping, and coming back to a stream.

What needs an answer runs against the real server, whose demo answers `/echo TEXT` and `/count N` without any network.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from django.test import Client

from chats.answering.events import DONE, IDS_PER_ANSWER
from chats.api.serializers import SessionUsageSerializer
from chats.models import Chat, Message, Session
from llms.models import LLM, LLMSettings
from tests.chats.test_sessions import errors, said
from tests.live import Live
from tests.people import JSON, JSON_API, Person

EVENTS = "text/event-stream"
SHOWN = [
    *("role", "text", "parts", "status", "finish_reason", "error", "notice", "parent_id", "sequence", "model"),
    *("ignored_settings", "usage", "created_at"),
]
COUNTED = ["input_tokens", "output_tokens", "cached_tokens", "estimated", "latency_ms", "time_to_first_token_ms"]
TEXTS = {
    "spaces": "  between two  ",
    "line ends": "one\r\ntwo\rthree\n\n\nfour\n",
    "backslash-n": 'print("a\\n\\\\n\\u0041\\t")',
    "null": "null",
    "braces": "{}",
    "like an event": "\n\ndata: {}\n\nevent: done\nid: 1\n\n",
    "done marker": "data: [DONE]",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "right-to-left": "\u202bשלום עולם\u202c مرحبا",
    "separators": "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg",
    "combining": "e\u0301 is not \u00e9, \ufb01 is not fi",
    "controls": "\x01\x1b[31m\x7f\ufeff",
    "markup": "<script>alert('&amp;')</script>",
    "100 kB of one word": "wörd" * 20_000,
    "nothing": "",
}


class Event(NamedTuple):
    id: int
    name: str
    data: Any


def events_of(stream: bytes) -> list[Event]:
    """The events of a whole stream. Only line feeds end lines in it."""
    *blocks, rest = stream.decode().split("\n\n")
    assert rest == ""
    fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks if block != ":"]
    return [Event(int(each["id"]), each["event"], json.loads(each["data"])) for each in fields]


def joined(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "delta")


@dataclass(frozen=True)
class Talk:
    """A session of the real server, and who talks in it."""

    api: httpx.Client
    path: str

    def send(self, text: str, to: str = "/messages", media_type: str = JSON, **headers: str) -> httpx.Response:
        """The answer to a question; names of headers are written with underscores."""
        body = {"data": {"type": "messages", "attributes": {"text": text}}}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = json.dumps(body, ensure_ascii=False).encode()
        return self.api.post(self.path + to, content=content, headers={"Content-Type": media_type, **named})

    def ask(self, text: str, to: str = "/messages", **headers: str) -> Any:
        answer = self.send(text, to, **headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def stream(self, text: str, to: str = "/messages", **headers: str) -> list[Event]:
        answer = self.send(text, to, Accept=EVENTS, **headers)
        assert answer.status_code == 200, answer.text
        return events_of(answer.content)

    @contextmanager
    def asking(self, text: str, **headers: str) -> Iterator[list[Event]]:
        """While a question is being answered; at its end the list has all events that came."""
        body = {"data": {"type": "messages", "attributes": {"text": text}}}
        sent = {"Accept": EVENTS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        with self.api.stream("POST", f"{self.path}/messages", json=body, headers=sent) as response:
            pieces = response.iter_raw()
            got, seen = next(pieces), list[Event]()
            while b"event: delta" not in got:
                got += next(pieces)
            yield seen
            seen += events_of(got + b"".join(pieces))

    def again(self, message: Any, verb: str = "regenerate") -> Any:
        answer = self.api.post(f"{self.path}/messages/{message['id']}/{verb}")
        assert answer.status_code == 201, answer.text
        return answer.json()

    def events(self, query: str = "", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api.get(f"{self.path}/events{query}", headers=named)

    def messages(self, query: str = "?page_size=100") -> list[Any]:
        found: list[Any] = self.api.get(f"{self.path}/messages{query}").json()
        return found

    def texts(self) -> list[str]:
        return [message["attributes"]["text"] for message in self.messages()]

    @property
    def attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(self.path).json()["attributes"]
        return found

    def change(self, **attributes: Any) -> None:
        assert self.api.patch(self.path, json={"data": {"attributes": attributes}}).status_code == 200


@pytest.fixture(scope="module")
def api(live: Live) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {live.token}"}
    with httpx.Client(base_url=f"{live.url}/api/v1", headers=headers, trust_env=False, timeout=120) as client:
        yield client


def make(api: httpx.Client, kind: str, **attributes: Any) -> Any:
    made = api.post(f"/{kind}", json={"data": {"attributes": attributes}})
    assert made.status_code == 201, made.text
    return made.json()["id"]


@pytest.fixture
def talk(api: httpx.Client) -> Talk:
    """A new session in the demo's chat."""
    return Talk(api, f"/sessions/{make(api, 'sessions', chat_id=int(api.get('/chats').json()[0]['id']))}")


def talk_with(api: httpx.Client, llm: dict[str, Any], **settings: Any) -> Talk:
    """A session in a chat of its own."""
    llm_id = int(make(api, "llms", **{"name": str(uuid4()), "vendor": "demo", **llm}))
    settings_id = int(make(api, "llm-settings", **settings))
    chat = int(make(api, "chats", name="Another", llm_id=llm_id, llm_settings_id=settings_id))
    return Talk(api, f"/sessions/{make(api, 'sessions', chat_id=chat)}")


@pytest.fixture
def session(bob: Person, chat: Chat) -> Session:
    """Bob's, of this process: where nothing answers, but all else is as it is."""
    return Session.objects.create(user=bob.user, chat=chat)


@pytest.fixture
def path(session: Session) -> str:
    return f"/sessions/{session.uuid}"


def question(text: Any) -> dict[str, Any]:
    return {"data": {"type": "messages", "attributes": {"text": text}}}


# an answer, whole


def test_an_answer_is_given_whole(talk: Talk) -> None:
    response = talk.send("How are you?")
    assert (response.status_code, response.headers["Content-Type"]) == (201, JSON)
    answer = response.json()
    assert answer == talk.api.get(response.headers["Location"]).json()
    assert response.headers["Location"].endswith(f"{talk.path}/messages/{answer['id']}")
    asked, shown = talk.messages()
    assert shown == answer
    attributes = answer["attributes"]
    assert list(attributes) == SHOWN
    assert attributes["text"].startswith("You said: How are you?\n\nI am the demo")
    expected = {"role": "assistant", "status": "complete", "finish_reason": "stop", "error": None, "model": "demo"}
    assert attributes.items() >= {**expected, "parent_id": asked["id"], "sequence": 2}.items()
    assert list(attributes["usage"]) == COUNTED
    words = {"input_tokens": 3, "output_tokens": len(attributes["text"].split()), "cached_tokens": None}
    assert attributes["usage"].items() >= {**words, "estimated": False}.items()
    assert 0 < attributes["usage"]["time_to_first_token_ms"] < attributes["usage"]["latency_ms"]

    expected = {"role": "user", "text": "How are you?", "status": "complete", "error": None, "model": None}
    assert asked["attributes"].items() >= {**expected, "parent_id": None, "sequence": 1, "usage": None}.items()
    assert talk.attributes["leaf_id"] == answer["id"]


def test_the_same_in_json_api(talk: Talk) -> None:
    response = talk.send("/echo Hi", media_type=JSON_API)
    assert (response.status_code, response.headers["Content-Type"]) == (201, JSON_API)
    assert response.json() == talk.api.get(response.headers["Location"], headers={"Accept": JSON_API}).json()
    data = response.json()["data"]
    assert (data["type"], data["attributes"]["text"], list(data["attributes"])) == ("messages", "Hi", SHOWN)
    assert events_of(talk.send("/echo Hi", media_type=JSON_API, Accept=EVENTS).content)[-1].name == "done"


# an answer, as it comes


def test_an_answer_comes_as_events(talk: Talk) -> None:
    response = talk.send("/echo one two three", Accept=EVENTS)
    assert (response.status_code, response.headers["Content-Type"]) == (200, EVENTS)
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    events = events_of(response.content)
    asked, answer = talk.messages()
    names = [event.name for event in events]
    assert names == ["message", "message", *["delta"] * (len(events) - 4), "usage", "done"]
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert events[0].data == {"id": asked["id"], "role": "user", "status": "complete", "parent_id": None}
    started = {"id": answer["id"], "role": "assistant", "status": "streaming", "parent_id": asked["id"]}
    assert events[1].data == started
    assert joined(events) == answer["attributes"]["text"] == "one two three"
    assert events[-2].data == answer["attributes"]["usage"]
    assert events[-1].data == {"id": answer["id"], "status": "complete", "finish_reason": "stop"}
    assert talk.stream("/echo again")[0].id > events[-1].id


@pytest.mark.parametrize("name", TEXTS)
def test_every_byte_is_kept(talk: Talk, name: str) -> None:
    text = TEXTS[name]
    assert joined(talk.stream(f"/echo {text}")) == text
    assert talk.texts() == [f"/echo {text}", text]
    assert joined(events_of(talk.events().content)) == text
    assert talk.messages()[1]["attributes"]["status"] == "complete"


def test_a_vendors_failure_is_the_status_of_the_answer(api: httpx.Client) -> None:
    talk = talk_with(api, {"vendor": "openai", "api_endpoint": "http://nowhere.invalid/v1", "default_model": "any"})
    attributes = talk.ask("Hello")["attributes"]
    assert (attributes["status"], attributes["text"], attributes["finish_reason"]) == ("failed", "", None)
    assert attributes["error"]["code"] == "unreachable"
    assert attributes["error"]["retryable"] is True
    assert list(attributes["usage"]) == COUNTED
    events = talk.stream("Hello?")
    assert [event.name for event in events] == ["message", "message", "usage", "error", "done"]
    assert events[-2].data == attributes["error"]
    assert talk.messages()[1]["attributes"] == attributes


def test_what_the_vendor_does_not_know_is_said_and_stored(api: httpx.Client) -> None:
    talk = talk_with(api, {"default_model": "demo"}, temperature=0, seed=0)
    answer = talk.ask("/echo Hi")
    assert answer["attributes"]["ignored_settings"] == ["temperature", "seed"]
    assert talk.messages()[1] == answer


# what is refused


@pytest.mark.parametrize(
    ("attributes", "code", "member"),
    [
        ({}, "required", "text"),
        ({"text": None}, "null", "text"),
        ({"text": ""}, "blank", "text"),
        ({"text": " \n\t"}, "blank", "text"),
        ({"text": 5}, "invalid", "text"),
        ({"text": ["a"]}, "invalid", "text"),
        ({"text": "x" * 200_001}, "max_length", "text"),
        ({"text": "Hi", "role": "assistant"}, "unknown_attribute", "role"),
        ({"text": "Hi", "model": "gpt-5"}, "unknown_attribute", "model"),
        ({"text": "Hi", "parent_id": "1"}, "unknown_attribute", "parent_id"),
    ],
)
def test_bad_questions(
    bob: Person, session: Session, path: str, attributes: dict[str, Any], code: str, member: str
) -> None:
    answer = said(session, "Who?", "Me.")
    for url in (f"{path}/messages", f"{path}/messages/{answer.parent_id}/edit"):
        for accept in (JSON, EVENTS):
            refused = bob.post(url, {"data": {"attributes": attributes}}, Accept=accept)
            assert errors(refused) == {(code, f"/data/attributes/{member}")}
            assert refused["Content-Type"] == JSON
    assert Message.objects.count() == 2


def test_the_longest_question(talk: Talk) -> None:
    text = "/echo " + "é" * 199_994
    assert talk.ask(text)["attributes"]["text"] == "é" * 199_994
    assert talk.texts()[0] == text


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\tinside", "two words", "é"])
def test_bad_idempotency_keys(bob: Person, path: str, key: str) -> None:
    refused = bob.post(f"{path}/messages", question("Hi"), Idempotency_Key=key)
    assert refused.status_code == 400
    [error] = refused.json()["errors"]
    assert (error["code"], error["source"]["parameter"]) == ("invalid_parameter", "Idempotency-Key")


@pytest.mark.parametrize("media_type", [JSON, JSON_API])
def test_errors_before_a_stream_are_json(alice: Person, bob: Person, path: str, media_type: str) -> None:
    unknown = Person(bob.user, "ais_wrong")
    for person, status in ((alice, 404), (unknown, 401)):
        asked = person.post(f"{path}/messages", question("Hi"), media_type, Accept=EVENTS)
        for refused in (asked, person.get(f"{path}/events", Accept=EVENTS)):
            assert (refused.status_code, refused["Content-Type"]) == (status, JSON)
    refused = bob.get(f"{path}/events?after=x", Accept=media_type)
    assert (refused.status_code, refused["Content-Type"]) == (400, JSON)


@pytest.mark.parametrize("accept", [EVENTS, "text/html", "application/vnd.api+json;ext=x"])
def test_a_media_type_that_there_is_not(bob: Person, path: str, accept: str) -> None:
    for url in ("/sessions", path, f"{path}/messages", f"{path}/usage"):
        refused = bob.get(url, Accept=accept)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    ("of_llm", "of_settings"),
    [
        ({"active": False}, {}),
        ({"allowed_models": ["small"]}, {}),
        ({"allowed_models": ["small"]}, {"model_name": ""}),
        ({"default_model": ""}, {"model_name": ""}),
    ],
)
def test_an_llm_that_cannot_be_called_is_a_conflict(
    bob: Person, session: Session, path: str, of_llm: dict[str, Any], of_settings: dict[str, Any]
) -> None:
    answer = said(session, "Who?", "Me.")
    LLM.objects.update(**of_llm)
    LLMSettings.objects.update(**of_settings)
    for url, body in (
        (f"{path}/messages", question("Hello")),
        (f"{path}/messages/{answer.parent_id}/edit", question("Hello")),
        (f"{path}/messages/{answer.pk}/regenerate", None),
    ):
        for accept in (JSON, EVENTS):
            refused = bob.post(url, body, Accept=accept)
            assert (refused.status_code, refused["Content-Type"]) == (409, JSON)
            assert refused.json()["errors"][0]["code"] == "conflict"
    assert Message.objects.count() == 2
    assert bob.get(path).json()["attributes"]["name"] == ""


def test_a_deleted_chat_takes_no_questions(api: httpx.Client) -> None:
    talk = talk_with(api, {"default_model": "demo"})
    answer = talk.ask("/echo Hi")
    assert api.delete(f"/chats/{talk.attributes['chat_id']}").status_code == 204
    calls = (
        talk.send("Hello"),
        talk.send("Hello", f"/messages/{answer['attributes']['parent_id']}/edit"),
        api.post(f"{talk.path}/messages/{answer['id']}/regenerate"),
    )
    assert [call.status_code for call in calls] == [409, 409, 409]
    assert talk.texts() == ["/echo Hi", "Hi"]
    assert joined(events_of(talk.events().content)) == "Hi"


# lists


def test_messages_are_listed_by_sequence(bob: Person, session: Session, path: str) -> None:
    first = said(session, "1", "one")
    said(session, "2", "two")
    branch = said(session, "3", "three", after=first)

    def texts(query: str) -> list[str]:
        response = bob.get(f"{path}/messages{query}")
        assert response.status_code == 200, response.content
        return [item["attributes"]["text"] for item in response.json()]

    assert texts("") == texts("?branch=current") == ["1", "one", "3", "three"]
    assert texts("?branch=all") == ["1", "one", "2", "two", "3", "three"]
    assert texts("?branch=all&page_size=4&page=2") == ["3", "three"]
    assert texts("?page_size=3&page=2") == ["three"]
    assert bob.get(f"{path}/messages?page_size=3")["X-Total-Count"] == "4"
    document = bob.get(f"{path}/messages?branch=all&page[size]=5", Accept=JSON_API).json()
    assert document["meta"]["pagination"] == {"page": 1, "pages": 2, "count": 6}
    assert document["data"][0]["links"]["self"] == f"http://testserver/api/v1{path}/messages/{first.parent_id}"
    parents = [item["attributes"]["parent_id"] for item in bob.get(f"{path}/messages").json()]
    assert parents == [None, str(first.parent_id), str(first.pk), str(branch.parent_id)]

    bob.patch(path, {"data": {"attributes": {"leaf_id": str(first.pk)}}})
    assert texts("") == ["1", "one"]
    bob.patch(path, {"data": {"attributes": {"leaf_id": None}}})
    assert texts("") == []


@pytest.mark.parametrize("query", ["branch=", "branch=other", "branch=all&branch=all", "filter[role]=user", "search=x"])
def test_a_bad_parameter_is_named(bob: Person, path: str, query: str) -> None:
    refused = bob.get(f"{path}/messages?{query}")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["source"]["parameter"] == query.partition("=")[0]


def test_a_message_is_found_in_its_session_alone(bob: Person, session: Session, path: str) -> None:
    answer = said(session, "Who?", "Me.")
    other = Session.objects.create(user=bob.user, chat=session.chat)
    assert bob.get(f"{path}/messages/{answer.pk}").status_code == 200
    for url in (
        f"/sessions/{other.uuid}/messages/{answer.pk}",
        f"{path}/messages/{'9' * 18}",
        f"{path}/messages/{'9' * 30}",
    ):
        assert bob.get(url).status_code == 404
        assert bob.post(f"{url}/regenerate").status_code == 404
        assert bob.post(f"{url}/edit", question("Hi")).status_code == 404


def test_what_goes_on_shows_as_such(bob: Person, session: Session, path: str) -> None:
    answer = said(session, "Who?", "")
    Message.objects.filter(pk=answer.pk).update(status="streaming", input_tokens=7, estimated=True)
    attributes = bob.get(f"{path}/messages/{answer.pk}").json()["attributes"]
    assert (attributes["status"], attributes["usage"], attributes["finish_reason"]) == ("streaming", None, None)


# branches


def test_regenerate_is_another_answer_to_the_question(talk: Talk) -> None:
    first = talk.ask("/echo Hi")
    second = talk.again(first)
    asked = first["attributes"]["parent_id"]
    third = talk.again({"id": asked})
    assert [each["attributes"]["parent_id"] for each in (second, third)] == [asked, asked]
    assert [each["attributes"]["sequence"] for each in (first, second, third)] == [2, 3, 4]
    assert [each["id"] for each in talk.messages()] == [asked, third["id"]]
    assert [each["id"] for each in talk.messages("?branch=all")] == [
        asked,
        *(each["id"] for each in (first, second, third)),
    ]
    assert talk.attributes["leaf_id"] == third["id"]
    events = events_of(talk.api.post(f"{talk.path}/messages/{asked}/regenerate", headers={"Accept": EVENTS}).content)
    assert [event.data["id"] for event in events[:2]] == [asked, events[-1].data["id"]]
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert joined(events) == "Hi"


def test_edit_is_a_branch_beside_the_question(talk: Talk) -> None:
    first = talk.ask("/echo one")
    second = talk.ask("/echo two")
    edited = talk.ask("/echo zwei", f"/messages/{second['attributes']['parent_id']}/edit")
    assert talk.texts() == ["/echo one", "one", "/echo zwei", "zwei"]
    talk.ask("What did you see?", f"/messages/{first['attributes']['parent_id']}/edit")
    assert talk.messages()[0]["attributes"]["parent_id"] is None
    assert talk.texts()[1].endswith("I saw no earlier messages.")
    assert len(talk.messages("?branch=all&page_size=100")) == 8
    refused = talk.send("/echo no", f"/messages/{edited['id']}/edit")
    assert refused.status_code == 409
    assert events_of(talk.send("/echo 2", f"/messages/{second['attributes']['parent_id']}/edit", Accept=EVENTS).content)
    assert talk.texts() == ["/echo one", "one", "/echo 2", "2"]


def test_a_question_comes_after_the_leaf(talk: Talk) -> None:
    first = talk.ask("/echo one")
    talk.ask("/echo two")
    talk.change(leaf_id=first["id"])
    assert talk.ask("And now?")["attributes"]["text"].endswith("I saw 2 earlier messages.")
    assert talk.messages()[2]["attributes"]["parent_id"] == first["id"]
    talk.change(leaf_id=None)
    assert talk.ask("And now?")["attributes"]["text"].endswith("I saw no earlier messages.")
    assert len(talk.messages()) == 2


def test_after_a_hundred_questions_the_next_sees_them_all(talk: Talk) -> None:
    for number in range(100):
        talk.ask(f"/echo {number}")
    assert talk.ask("Well?")["attributes"]["text"].endswith("I saw 200 earlier messages.")
    assert talk.messages("?page_size=1&page=200")[0]["attributes"]["text"] == "99"


# one at a time, and stopping


def test_while_one_is_answered_another_waits(talk: Talk) -> None:
    first = talk.ask("/echo Hi")
    asked = first["attributes"]["parent_id"]
    with talk.asking("/count 500") as events:
        calls = (
            talk.send("Hello"),
            talk.send("Hello", Accept=EVENTS),
            talk.send("Hello", f"/messages/{asked}/edit"),
            talk.api.post(f"{talk.path}/messages/{asked}/regenerate"),
        )
        assert [(call.status_code, call.headers["Content-Type"]) for call in calls] == [(409, JSON)] * 4
        assert len(talk.messages("?branch=all")) == 4
        assert talk.api.post(f"{talk.path}/stop").status_code == 202
    assert [event.name for event in events[-2:]] == ["usage", "done"]
    answer = talk.messages()[-1]
    assert (answer["attributes"]["status"], answer["attributes"]["error"]) == ("stopped", None)
    assert events[-1].data == {"id": answer["id"], "status": "stopped", "finish_reason": None}
    assert joined(events) == answer["attributes"]["text"] != ""
    assert " ".join(map(str, range(1, 501))).startswith(joined(events))
    assert answer["attributes"]["usage"]["estimated"] is True
    refused = talk.api.post(f"{talk.path}/stop")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "conflict")
    assert talk.ask("/echo on")["attributes"]["text"] == "on"


def test_nothing_to_stop(bob: Person, session: Session, path: str) -> None:
    assert bob.post(f"{path}/stop").status_code == 409
    said(session, "Who?", "Me.")
    assert bob.post(f"{path}/stop").status_code == 409


def test_to_hang_up_ends_nothing(talk: Talk) -> None:
    body = question("/count 20")
    with talk.api.stream("POST", f"{talk.path}/messages", json=body, headers={"Accept": EVENTS}) as response:
        next(response.iter_raw())
    whole = events_of(talk.events().content)
    assert joined(whole) == " ".join(map(str, range(1, 21)))
    assert whole[-1].data["status"] == "complete"


def test_a_session_can_be_deleted_while_it_is_answered(talk: Talk) -> None:
    with talk.asking("/count 500") as events:
        assert talk.api.delete(talk.path).status_code == 204
    assert events[-1].data["status"] == "interrupted"
    assert talk.events().status_code == 404


# asked twice


def test_the_same_key_leads_to_the_same_answer(talk: Talk) -> None:
    first = talk.ask("/echo one", Idempotency_Key="key-1")
    talk.ask("/echo two", Idempotency_Key="key-2")
    assert talk.ask("/echo one", Idempotency_Key="key-1") == first
    again = talk.stream("/echo one", Idempotency_Key="key-1")
    assert (again[-1].data["id"], joined(again)) == (first["id"], "one")
    assert talk.texts() == ["/echo one", "one", "/echo two", "two"]
    refused = talk.send("/echo three", Idempotency_Key="key-1")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "idempotency_key_reused")
    talk.ask("/echo one")
    assert len(talk.messages()) == 6


def test_a_key_is_of_one_session(talk: Talk) -> None:
    other = Talk(talk.api, f"/sessions/{make(talk.api, 'sessions', chat_id=talk.attributes['chat_id'])}")
    assert talk.ask("/echo one", Idempotency_Key="key")["id"] != other.ask("/echo two", Idempotency_Key="key")["id"]


def test_the_same_key_while_it_is_being_answered(talk: Talk) -> None:
    with ThreadPoolExecutor(2) as threads, talk.asking("/count 30", Idempotency_Key="key") as events:
        whole = threads.submit(talk.ask, "/count 30", Idempotency_Key="key")
        streamed = threads.submit(talk.stream, "/count 30", Idempotency_Key="key")
        assert talk.send("/count 31", Idempotency_Key="key").status_code == 422
    assert whole.result()["id"] == events[-1].data["id"] == streamed.result()[-1].data["id"]
    assert whole.result()["attributes"]["text"] == joined(events) == joined(streamed.result())
    assert len(talk.messages()) == 2


# titles


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("/echo  What \n is new?  ", "/echo What is new?"),
        ("/echo " + "word " * 30, "/echo" + " word" * 10 + "…"),
        ("/echo " + "x" * 100, "/echo…"),
        ("😀" * 100, "😀" * 60 + "…"),
        ("x" * 59 + "🇵🇹" * 20, "x" * 59 + "…"),
        ("x" * 58 + "🇵🇹" * 20, "x" * 58 + "🇵🇹…"),
    ],
)
def test_a_title_is_made_of_the_first_question(talk: Talk, text: str, title: str) -> None:
    talk.ask(text)
    assert talk.attributes["name"] == title


def test_a_title_that_was_given_is_kept(talk: Talk) -> None:
    talk.ask("/echo one")
    talk.ask("/echo two")
    assert talk.attributes["name"] == "/echo one"
    talk.change(name="Numbers")
    talk.ask("/echo three")
    assert talk.attributes["name"] == "Numbers"
    assert talk.api.get("/sessions?search=numbers&page_size=1").json()[0]["id"] == talk.path.rpartition("/")[2]


# usage


def test_the_usage_of_a_session_sums_all_branches(bob: Person, session: Session, path: str) -> None:
    first = said(session, "1", "one")
    said(session, "2", "two")
    said(session, "3", "three", after=first)
    answers = Message.objects.filter(role="assistant")
    answers.update(input_tokens=5, output_tokens=2, cached_tokens=1)
    usage = bob.get(f"{path}/usage").json()
    assert (usage["type"], usage["id"]) == ("session-usages", str(session.uuid))
    counted = {
        "answers": 3,
        "titles": 0,
        "input_tokens": 15,
        "output_tokens": 6,
        "cached_tokens": 3,
        "estimated": False,
    }
    assert usage["attributes"] == counted
    answers.filter(pk=first.pk).update(estimated=True, cached_tokens=None)
    usage = bob.get(f"{path}/usage", Accept=JSON_API).json()["data"]
    assert usage["attributes"] == {**counted, "cached_tokens": 2, "estimated": True}


@pytest.mark.parametrize("answers", [0, 1])
def test_usage_is_as_described(bob: Person, session: Session, path: str, answers: int) -> None:
    """Of a session without answers, and of one whose vendor did not say what it had cached."""
    if answers:
        said(session, "1", "one")
        Message.objects.update(input_tokens=5, output_tokens=2)
    fields = SessionUsageSerializer().fields
    for name, value in bob.get(f"{path}/usage").json()["attributes"].items():
        assert value is not None or fields[name].allow_null, name


@pytest.mark.parametrize(
    "accept", ["text/event-stream, */*", f"*/*, {EVENTS}", "application/*;q=0.9, text/event-stream"]
)
def test_a_stream_is_given_to_those_who_name_it(talk: Talk, accept: str) -> None:
    answer = talk.send("/echo Hi", Accept=accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, EVENTS)
    assert joined(events_of(answer.content)) == "Hi"


@pytest.mark.parametrize("to", ["/messages", "/messages/{}/edit", "/messages/{}/regenerate"])
def test_an_answer_can_be_asked_for_in_part(talk: Talk, to: str) -> None:
    asked = talk.messages()[0]["id"] if talk.ask("/echo Hi") else ""
    url = f"{talk.path}{to.format(asked)}?fields[messages]=status"
    body = None if "regenerate" in to else question("/echo Hi")
    answer = talk.api.post(url, json=body, headers={"Accept": JSON_API})
    assert (answer.status_code, answer.json()["data"]["attributes"]) == (201, {"status": "complete"})


# coming back


def test_a_stream_is_resumed_at_every_event(talk: Talk) -> None:
    talk.ask("/echo before")
    events = talk.stream("/echo one two three")
    whole = events_of(talk.events().content)
    assert (joined(whole), [whole[0], whole[-1]]) == (joined(events), [events[0], events[-1]])
    for number, event in enumerate(events[:-1], 1):
        for answer in (talk.events(f"?after={event.id}"), talk.events(Last_Event_ID=str(event.id))):
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, EVENTS)
            rest = events_of(answer.content)
            assert joined(rest) == joined(events[number:])
            kept = [each for each in rest if each.name not in ("delta", "message")]
            assert kept == [each for each in events[number:] if each.name not in ("delta", "message")]
            assert [each.id for each in rest] == sorted({each.id for each in rest})
            assert rest[0].id > event.id
    assert talk.events(f"?after={events[-1].id}").status_code == 204


@pytest.mark.parametrize(
    ("query", "headers", "name"),
    [
        ("?after=5", {}, "after"),
        ("", {"Last-Event-ID": "5"}, "Last-Event-ID"),
        ("?after=5", {"Last-Event-ID": "4"}, "after"),
    ],
)
def test_an_unknown_position_is_named_as_it_came(
    bob: Person, path: str, query: str, headers: dict[str, str], name: str
) -> None:
    refused = bob.get(f"{path}/events{query}", **headers)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["source"]) == (400, {"parameter": name})


def test_the_later_of_two_positions_counts(talk: Talk) -> None:
    events = talk.stream("/echo one two")
    early, late = events[0].id, events[-2].id
    for answer in (
        talk.events(f"?after={early}", Last_Event_ID=str(late)),
        talk.events(f"?after={late}", Last_Event_ID=str(early)),
    ):
        assert [event.name for event in events_of(answer.content)] == ["done"]
    assert len(events_of(talk.events(Last_Event_ID="").content)) > 3  # as browsers send it before the first event


def test_after_the_end_of_one_answer_comes_the_next(talk: Talk) -> None:
    first, second = talk.stream("/echo one"), talk.stream("/echo two")
    next_one = events_of(talk.events(f"?after={first[-1].id}").content)
    assert (next_one[0], next_one[-1]) == (second[0], second[-1])
    assert joined(next_one) == "two"


def test_events_are_a_stream_whatever_is_accepted(talk: Talk) -> None:
    talk.ask("/echo Hi")
    for accept in (JSON, JSON_API, "*/*", "text/html"):
        answer = talk.events(Accept=accept)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, EVENTS)
        assert joined(events_of(answer.content)) == "Hi"


def test_nothing_to_follow(bob: Person, session: Session, path: str) -> None:
    for accept in (EVENTS, JSON, JSON_API):
        nothing = bob.get(f"{path}/events", Accept=accept)
        assert (nothing.status_code, nothing.content) == (204, b"")
    answer = said(session, "Who?", "Me.")
    done = answer.sequence * IDS_PER_ANSWER + DONE
    assert bob.get(f"{path}/events?after={done}").status_code == 204


def test_an_unknown_position_is_refused(bob: Person, session: Session, path: str) -> None:
    answer = said(session, "Who?", "Me.")
    base = answer.sequence * IDS_PER_ANSWER
    foreign = [0, 1, base - 1, base + 5, base + DONE - 3, base + DONE - 1, base + IDS_PER_ANSWER, 3 * base + 1]
    garbage = ["x", "-1", "1.5", "+1", "9" * 20, "%D9%A1", "1,2"]
    for position in [*map(str, foreign), *garbage, ""]:
        refused = bob.get(f"{path}/events?after={position}", Accept=EVENTS)
        assert (refused.status_code, refused["Content-Type"]) == (400, JSON), position
        assert refused.json()["errors"][0]["source"] == {"parameter": "after"}
    for position in [*map(str, foreign), *garbage]:
        assert bob.get(f"{path}/events", Last_Event_ID=position).status_code == 400, position
    assert bob.get(f"{path}/events?after={base}&after={base}").status_code == 400
    assert bob.get(f"{path}/events?since={base}").status_code == 400


# what is not taken


@pytest.mark.parametrize("path", ["", "/{session}", "/{session}/messages", "/{session}/events", "/{session}/stop"])
def test_options_are_not_a_failure(bob: Person, path: str) -> None:
    url = f"/sessions{path.format(session=uuid4())}"
    assert bob.send("OPTIONS", url).status_code == 405
    assert Client().options(f"/api/v1{url}").status_code == 401


@pytest.mark.parametrize(
    ("sent", "content_type", "status"),
    [
        ("junk", JSON, 400),
        ("[]", JSON, 400),
        ("x", "text/plain", 415),
        (json.dumps(question("Another?")), JSON, 400),
        ("{}", JSON, 201),
        (json.dumps({"data": {"type": "messages"}}), JSON, 201),
    ],
)
def test_regenerate_takes_nothing(talk: Talk, sent: str, content_type: str, status: int) -> None:
    answer = talk.ask("/echo once")
    headers = {"Content-Type": content_type}
    again = talk.api.post(f"{talk.path}/messages/{answer['id']}/regenerate", content=sent, headers=headers)
    assert again.status_code == status
    assert [item["attributes"]["text"] for item in talk.messages("?branch=all")] == ["/echo once", "once"] + [
        "once"
    ] * (status == 201)


def test_the_same_key_regenerates_and_edits_once(talk: Talk) -> None:
    answer = talk.ask("/echo one")
    key = {"Idempotency-Key": "again"}
    path = f"{talk.path}/messages/{answer['id']}/regenerate"
    first, second = (talk.api.post(path, headers=key) for _ in range(2))
    assert first.json()["id"] == second.json()["id"] != answer["id"]
    assert [response.headers.get("Idempotency-Replayed") for response in (first, second)] == [None, "true"]
    path = f"{talk.path}/messages/{answer['attributes']['parent_id']}/edit"
    edits = [talk.api.post(path, headers=key, json=question("/echo two")).json()["id"] for _ in range(2)]
    assert edits[0] == edits[1]
    assert talk.api.post(path, headers=key, json=question("/echo three")).status_code == 422
    assert len(talk.messages("?branch=all")) == 5


def test_a_key_is_of_one_path(talk: Talk) -> None:
    """The same text with the same key is another thing to be done where it goes elsewhere."""
    key = {"Idempotency-Key": "same"}
    asked = talk.ask("/echo same", Idempotency_Key="same")
    paths = [f"{talk.path}/messages/{asked['attributes']['parent_id']}/edit", f"{talk.path}/messages"]
    edited = talk.api.post(paths[0], headers=key, json=question("/echo same")).json()
    other = f"{talk.path}/messages/{edited['attributes']['parent_id']}/edit"
    again = talk.api.post(other, headers=key, json=question("/echo same")).json()
    made = [
        talk.api.post(f"{talk.path}/messages/{item['id']}/regenerate", headers=key).json() for item in (asked, again)
    ]
    assert len({item["id"] for item in (asked, edited, again, *made)}) == 5
    assert talk.api.post(paths[1], headers=key, json=question("/echo same")).json()["id"] == asked["id"]


def test_a_name_that_is_cleared_is_made_of_the_first_question_again(talk: Talk) -> None:
    talk.ask("/echo first")
    assert talk.api.patch(talk.path, json={"data": {"attributes": {"name": ""}}}).status_code == 200
    talk.ask("/echo second")
    assert talk.api.get(talk.path).json()["attributes"]["name"] == "/echo first"


def test_an_end_that_is_to_come_is_no_place_to_read_on_from(talk: Talk) -> None:
    with talk.asking("/count 500"):
        for place in (29_999_997, 29_999_999):
            assert talk.api.get(f"{talk.path}/events?after={place}").status_code == 400
        assert talk.api.post(f"{talk.path}/stop").status_code == 202
