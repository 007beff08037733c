"""Every vendor through the whole of the server: asked, streamed, stopped, counted and failing, and what it was sent."""

import json
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest

from tests.talking import ask, question, text_of
from tests.vendor_server import ANSWER, HALF, RECORDED, VendorServer

KEY = "sk-canary-0123456789-7777"
PROMPT = "Be brief."
QUESTION, LONG_QUESTION = f"/echo {ANSWER}", "/count 1000"  # only the demo does as it is told
SETTINGS = {"temperature": 0, "max_tokens": 50, "stop_words": ["END"]}
SAID = [{"role": "system", "content": PROMPT}, {"role": "user", "content": QUESTION}]
FAILURES = {  # of a model: text, code, whether a retry can help
    "401": ("", "unauthorized", False),
    "429:60": ("", "rate_limited", True),
    "error-in-stream": (HALF, "vendor_error", True),
}


@dataclass(frozen=True)
class Case:
    """A vendor, what a question to its model `ok` is on the wire, and what it counted in a recorded answer."""

    vendor: str
    counted: tuple[int, int, int | None]
    recorded: str = ""
    base: str = ""  # of the path
    target: str = ""
    header: tuple[str, str] = ("", "")
    body: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


CASES = [
    Case(
        vendor="openai",
        recorded="openai",
        counted=(19, 3, 16),
        base="/v1",
        target="/v1/chat/completions",
        header=("authorization", f"Bearer {KEY}"),
        body={
            "model": "ok",
            "messages": SAID,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": 50,
            "stop": ["END"],
        },
    ),
    Case(
        vendor="anthropic",
        recorded="cache",
        counted=(2098, 4, 1800),
        target="/v1/messages",
        header=("x-api-key", KEY),
        body={
            "model": "ok",
            "system": PROMPT,
            "messages": SAID[1:],
            "stream": True,
            "temperature": 0,
            "max_tokens": 50,
            "stop_sequences": ["END"],
        },
    ),
    Case(
        vendor="google_ai",
        recorded="cache",
        counted=(5000, 42, 4200),
        target="/v1beta/models/ok:streamGenerateContent?alt=sse",
        header=("x-goog-api-key", KEY),
        body={
            "systemInstruction": {"parts": [{"text": PROMPT}], "role": "user"},
            "contents": [{"role": "user", "parts": [{"text": QUESTION}]}],
            "generationConfig": {"temperature": 0, "maxOutputTokens": 50, "stopSequences": ["END"]},
        },
    ),
    Case(
        vendor="ollama",
        recorded="text",
        counted=(26, 298, None),
        target="/api/chat",
        header=("authorization", f"Bearer {KEY}"),
        body={
            "model": "ok",
            "messages": SAID,
            "stream": True,
            "options": {"temperature": 0, "num_predict": 50, "stop": ["END"]},
        },
    ),
    Case(vendor="demo", counted=(12, 9, None), ignored=("temperature",)),
]


@pytest.mark.parametrize("studio", ["sqlite"], indirect=True)  # the database has no part in it
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.vendor)
def test_a_vendor_answers_stops_fails_and_is_counted(studio: Any, vendor: VendorServer, case: Case) -> None:
    group = studio.group()
    bob = studio.bob(group)
    is_remote = bool(case.target)

    def session(model: str) -> str:
        place = {"api_endpoint": f"{vendor.root}{case.base}", "api_key": KEY} if is_remote else {}
        llm = {"vendor": case.vendor, "default_model": model, **place}
        chat = studio.chat(group, llm=llm, settings=SETTINGS, system_prompt=PROMPT)
        return str(studio.session(chat, bob.key))

    def whole(model: str) -> Any:
        response = studio.send("POST", f"/sessions/{session(model)}/messages", question(QUESTION), key=bob.key)
        assert response.status_code == 201, response.text
        shown.append(response.text)
        return response.json()["attributes"]

    shown: list[str] = []  # all that bob was

    # streamed, and what the vendor was asked
    events = list(ask(studio.urls[0], bob.key, session("ok"), QUESTION))
    shown.append(repr(events))
    names = [event.name for event in events]
    assert names == ["message", "message", *["delta"] * (len(names) - 4), "usage", "done"]
    assert text_of(events) == ANSWER
    assert (events[-1].data["status"], events[-1].data["finish_reason"]) == ("complete", "stop")
    if is_remote:
        [received] = vendor.requests
        assert (received.method, received.target, received.body) == ("POST", case.target, case.body)
        name, value = case.header
        assert received.headers[name] == value
        assert str(received).count(KEY) == 1

    # at once, and what the vendor counted
    answer = whole(f"recorded:{case.recorded}")
    assert (answer["text"], answer["status"], answer["finish_reason"]) == (told(case), "complete", "stop")
    usage = answer["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["cached_tokens"]) == case.counted
    assert not usage["estimated"]
    assert answer["ignored_settings"] == [*case.ignored]

    # stopped
    stopped = session("slow")
    with closing(ask(studio.urls[0], bob.key, stopped, LONG_QUESTION)) as asked:
        events = list(islice(asked, 5))
        assert studio.send("POST", f"/sessions/{stopped}/stop", key=bob.key).status_code == 202
        events += asked
    assert events[-1].data["status"] == studio.answer(stopped, key=bob.key)["status"] == "stopped"
    words = text_of(events).split()
    assert words == [str(number) for number in range(1, len(words) + 1)]
    assert 3 <= len(words) < SETTINGS["max_tokens"]  # type: ignore[operator]
    if is_remote:
        vendor.wait_until(lambda: len(vendor.cut_at) == 1, timeout=120)

        # failing
        failed = {model: whole(model) for model in FAILURES}
        ends = {model: (it["text"], it["error"]["code"], it["error"]["retryable"]) for model, it in failed.items()}
        assert ends == FAILURES
        assert {it["status"] for it in failed.values()} == {"failed"}
        assert len(vendor.requests) == 3 + len(FAILURES)
    else:
        assert not vendor.requests
    assert "canary" not in "".join(shown) + studio.log


def told(case: Case) -> str:
    """The text of the recorded answer."""
    if not case.recorded:
        return ANSWER
    values = json.loads((RECORDED / case.vendor / f"{case.recorded}.json").read_text())
    return "".join(value[1] for value in values if value[0] == "Text")
