"""However a vendor behaves, its answer ends in time, with what had arrived, and says why; the key is in none of it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from llms.vendors.types import SILENT_END
from tests.talking import Event, Member, Studio, ask, opened, question, text_of
from tests.vendor_server import ANSWER, HALF, VendorServer, unused_port

KEY = "sk-canary-0123456789-7777"
FIRST_TOKEN_TIMEOUT, SILENCE_TIMEOUT, TOKEN_TIMEOUT = 4, 6, 1  # seconds
SLACK = 5  # seconds that a busy machine takes
AT_ONCE = 8  # vendors asked: with all of them the machine, and not the vendor, is what times out
REFUSED = "refuse"  # at its port nobody listens

WHOLE = (ANSWER, "complete", None, False)
ENDS = {  # of a behaviour of the vendor: text, status, code of the error, whether a retry can help
    "ok": WHOLE,
    "whole": WHOLE,
    "429-once": WHOLE,
    "500-once": WHOLE,
    "finish-then-open": WHOLE,
    "done-then-open": WHOLE,
    REFUSED: ("", "failed", "unreachable", True),
    "hang-up": ("", "failed", "unreachable", True),
    "401": ("", "failed", "unauthorized", False),
    "403": ("", "failed", "unauthorized", False),
    "404": ("", "failed", "bad_request", False),
    "429": ("", "failed", "rate_limited", True),
    "429:60": ("", "failed", "rate_limited", True),
    "500": ("", "failed", "vendor_error", True),
    "redirect": ("", "failed", "redirected", False),
    "not-http": ("", "failed", "invalid_response", True),
    "web-page": ("", "failed", "invalid_response", True),
    "hang": ("", "failed", "timeout", True),
    "keepalive-only": ("", "failed", "timeout", True),
    "stall": (HALF, "failed", "timeout", True),
    "stall-in-thought": ("", "failed", "timeout", True),
    "close": (HALF, "failed", "incomplete", True),
    "reset": (HALF, "failed", "incomplete", True),
    "broken-framing": (HALF, "failed", "incomplete", True),
    "end-early": (HALF, "failed", "incomplete", True),
    "garbage": (HALF, "failed", "invalid_response", True),
    "long-line": (HALF, "failed", "invalid_response", True),
    "error-in-stream": (HALF, "failed", "vendor_error", True),
}
NOT_TAKEN = {REFUSED, "hang-up", "401", "403", "404", "429", "429:60", "500", "redirect", "not-http"}  # cost nothing


@dataclass(frozen=True)
class World:
    studio: Studio
    vendor: VendorServer
    group: int
    bob: Member

    def session(self, model: str, **chat: Any) -> str:
        """One of bob's, in a chat whose LLM is that model of the vendor."""
        endpoint = f"http://127.0.0.1:{unused_port()}/v1" if model == REFUSED else self.vendor.url
        llm = {"vendor": "openai", "api_endpoint": endpoint, "api_key": KEY, "default_model": model}
        return self.studio.session(self.studio.chat(self.group, llm=llm, **chat), self.bob.key)

    def ask(self, session: str, text: str) -> Any:
        """The attributes of the answer, as JSON."""
        path = f"/sessions/{session}/messages"
        response = self.studio.send("POST", path, question(text), key=self.bob.key, Accept="application/json")
        assert response.status_code == 201, response.text
        return response.json()["attributes"]

    def stream(self, session: str, text: str) -> list[Event]:
        return list(ask(self.studio.urls[0], self.bob.key, session, text))

    def sent(self, model: str) -> list[dict[str, Any]]:
        """The bodies that the vendor got for it."""
        return [request.body for request in self.vendor.requests if request.body["model"] == model]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    timeouts = {
        "LLM_FIRST_TOKEN_TIMEOUT": str(FIRST_TOKEN_TIMEOUT),
        "LLM_SILENCE_TIMEOUT": str(SILENCE_TIMEOUT),
        "LLM_TOKEN_TIMEOUT": str(TOKEN_TIMEOUT),
    }
    with VendorServer() as vendor, opened(tmp_path_factory.mktemp("ends"), servers=1, **timeouts) as studio:
        group = studio.group()
        yield World(studio, vendor, group, studio.bob(group))


@dataclass(frozen=True)
class Seen:
    """What came of a question that was asked twice: for the whole answer, and for its events."""

    whole: Any
    streamed: list[Event]
    stored: Any
    seconds: float


@pytest.fixture(scope="module")
def seen(world: World) -> dict[str, Seen]:
    def see(model: str) -> Seen:
        session, other = world.session(model), world.session(model)
        begun = time.monotonic()
        streamed = threads.submit(world.stream, other, "What do you see?")
        whole, events = world.ask(session, "What do you see?"), streamed.result()
        seconds = time.monotonic() - begun
        return Seen(whole, events, world.studio.answer(other, key=world.bob.key), seconds)

    with ThreadPoolExecutor(AT_ONCE) as threads, ThreadPoolExecutor(AT_ONCE) as asking:
        return dict(zip(ENDS, asking.map(see, ENDS), strict=True))


def test_an_answer_ends_as_its_vendor_does(seen: dict[str, Seen]) -> None:
    for answers in ({model: it.whole for model, it in seen.items()}, {model: it.stored for model, it in seen.items()}):
        assert {model: end_of(answer) for model, answer in answers.items()} == ENDS
        for answer in answers.values():
            assert answer["finish_reason"] == ("stop" if answer["status"] == "complete" else None)


def end_of(answer: Any) -> tuple[str, str, str | None, bool]:
    error = answer["error"] or {"code": None, "detail": "none", "retryable": False}
    assert error["detail"]
    return answer["text"], answer["status"], error["code"], error["retryable"]


def test_its_events_say_the_same(seen: dict[str, Seen]) -> None:
    for model, it in seen.items():
        done = {
            "id": it.streamed[1].data["id"],
            "status": it.stored["status"],
            "finish_reason": it.stored["finish_reason"],
        }
        last = [("usage", it.stored["usage"]), ("error", it.stored["error"]), ("done", done)]
        grown = [event for event in it.streamed[2:] if event.name in ("delta", "thinking")]
        assert [(event.name, event.data) for event in it.streamed[2 + len(grown) :]] == [
            each for each in last if each[1]
        ]
        assert text_of(grown) == it.stored["text"], model


def test_an_answer_ends_in_time(seen: dict[str, Seen]) -> None:
    longest = {"finish-then-open": SILENT_END, "keepalive-only": SILENCE_TIMEOUT}
    late = [model for model, it in seen.items() if it.seconds > longest.get(model, FIRST_TOKEN_TIMEOUT) + SLACK]
    assert late == []


@pytest.mark.parametrize(
    ("model", "seconds"),
    [("hang", FIRST_TOKEN_TIMEOUT), ("stall", TOKEN_TIMEOUT), ("stall-in-thought", TOKEN_TIMEOUT)],
)
def test_the_first_word_or_thought_may_take_longest(seen: dict[str, Seen], model: str, seconds: int) -> None:
    assert seen[model].stored["error"]["detail"] == f"The vendor said nothing for {seconds} seconds."


def test_a_vendor_that_sends_only_comments_has_longer(seen: dict[str, Seen]) -> None:
    detail = seen["keepalive-only"].stored["error"]["detail"]
    assert detail == f"The vendor sent only signs of life for {SILENCE_TIMEOUT} seconds."
    assert seen["keepalive-only"].seconds >= SILENCE_TIMEOUT


def test_what_no_vendor_counted_is_estimated(seen: dict[str, Seen]) -> None:
    for model in [model for model, end in ENDS.items() if end[1] == "failed"]:
        usage, parts = seen[model].stored["usage"], seen[model].stored["parts"]  # text, and what was thought
        assert usage["estimated"]
        assert bool(usage["input_tokens"]) == (model not in NOT_TAKEN), model
        assert bool(usage["output_tokens"]) == bool(parts)
        assert usage["latency_ms"] > 0


def test_what_the_vendor_counted_is_what_is_stored(seen: dict[str, Seen]) -> None:
    for model, (counted, said) in {"ok": (4, 9), "whole": (3, 9), "finish-then-open": (4, 9)}.items():
        for usage in (seen[model].whole["usage"], seen[model].stored["usage"]):
            assert (usage["input_tokens"], usage["output_tokens"], usage["estimated"]) == (counted, said, False)


def test_the_key_reaches_the_vendor_and_nobody_else(world: World, seen: dict[str, Seen]) -> None:
    assert {request.headers["authorization"] for request in world.vendor.requests} == {f"Bearer {KEY}"}
    assert not [request.target for request in world.vendor.requests if "canary" in request.target]
    assert "canary" not in repr(seen).lower()
    assert "canary" not in world.studio.log.lower()
    stored = b"".join(path.read_bytes() for path in world.studio.folder.glob("live.sqlite3*"))
    assert b"What do you see?" in stored
    assert b"canary" not in stored.lower()


def test_settings_reach_the_vendor_as_they_are(world: World) -> None:
    settings = {"temperature": 0, "max_tokens": 7, "seed": 0, "stop_words": ["END", "\n"], "top_k": 0}
    world.ask(world.session("ok:settings", settings=settings), "What do you see?")

    assert world.sent("ok:settings") == [
        {
            "model": "ok:settings",
            "messages": [{"role": "user", "content": "What do you see?"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": 7,
            "seed": 0,
            "stop": ["END", "\n"],
            "top_k": 0,
        }
    ]


def test_nothing_is_sent_of_settings_that_are_not_set(world: World) -> None:
    world.ask(world.session("ok:unset"), "What do you see?")
    assert world.sent("ok:unset")[0].keys() == {"model", "messages", "stream", "stream_options"}


def test_the_settings_name_the_model_and_the_prompt_that_the_chat_does_not(world: World) -> None:
    settings = {"model_name": "ok:named", "system_prompt": "Be brief."}
    session = world.session("ok", settings=settings)
    assert world.ask(session, "What do you see?")["model"] == "ok:named"
    assert world.sent("ok:named")[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_vendor_is_told_what_was_said_before_and_the_prompt_of_the_chat(world: World) -> None:
    session = world.session("echo:told", system_prompt="Be long.", settings={"system_prompt": "Be brief."})
    for text in ("One\\n", "Two\r\n"):
        world.ask(session, text)
    world.stream(session, "Three")

    assert [(message["role"], message["content"]) for message in world.sent("echo:told")[-1]["messages"]] == [
        ("system", "Be long."),
        ("user", "One\\n"),
        ("assistant", "One\\n"),
        ("user", "Two\r\n"),
        ("assistant", "Two\r\n"),
        ("user", "Three"),
    ]


def test_the_hundred_and_first_answer_sees_the_hundredth(world: World) -> None:
    session = world.session("echo:hundred")
    for number in range(1, 102):
        assert world.ask(session, f"Number {number}")["text"] == f"Number {number}"

    told = [message["content"] for message in world.sent("echo:hundred")[-1]["messages"]]
    assert told == [f"Number {number}" for number in range(1, 102) for _ in "qa"][:-1]
