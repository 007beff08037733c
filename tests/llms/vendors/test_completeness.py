"""When an answer is complete: at its end, a finish reason or the end mark came last. Nothing that follows is lost."""

import json
from typing import Any

import pytest

from llms.vendors import http
from llms.vendors.types import Finish, Usage
from tests.llms.vendors.asking import ask, call
from tests.llms.vendors.test_recorded_streams import PARSERS, event, values_of
from tests.vendor_server import BREAK, VendorServer

DONE = b"data: [DONE]\n\n"
COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
EMPTY = b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}\n\n'
CALL = {"index": 0, "id": "c", "function": {"name": "now", "arguments": "{}"}}
PATIENCE = 1.0  # seconds of silence that end an answer here


def piece(reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def said(vendor: str, text: str, reason: str | None = None) -> bytes:
    """A piece of the answer in the vendor's format, with a finish reason beside it; at Anthropic after it."""
    if vendor == "openai":
        return piece(reason, content=text)
    if vendor == "google_ai":
        candidate = {"content": {"parts": [{"text": text}]}, **({"finishReason": reason} if reason else {})}
        return event(vendor, json.dumps({"candidates": [candidate]}).encode())
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    end = {"type": "message_delta", "delta": {"stop_reason": reason}}
    return b"".join(event(vendor, json.dumps(each).encode()) for each in ([delta, end] if reason else [delta]))


def end_of(body: bytes, vendor: str = "openai") -> tuple[str, str]:
    """The text of a body, and how it ends: its reason, or the code of its error; the same wherever it is cut."""
    ends = []
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        values = values_of(pieces, vendor)
        assert [value[0] for value in values[:-1]].count("Finish") == 0
        ends.append(("".join(value[1] for value in values if value[0] == "Text"), values[-1][1]))
    assert ends[0] == ends[1]
    return ends[0]


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google_ai"])
def test_a_reason_that_came_last_is_the_end_of_a_body(vendor: str) -> None:
    assert end_of(said(vendor, "Rain") + said(vendor, " falls.", "length"), vendor) == ("Rain falls.", "length")


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google_ai"])
def test_a_reason_before_the_last_text_is_none(vendor: str) -> None:
    assert end_of(said(vendor, "Rain", "stop") + said(vendor, " falls."), vendor) == ("Rain falls.", "incomplete")


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google_ai"])
def test_reasons_may_stand_beside_each_piece(vendor: str) -> None:
    body = b"".join(said(vendor, word, "stop") for word in ("Rain", " falls."))
    assert end_of(body, vendor) == ("Rain falls.", "stop")


@pytest.mark.parametrize("after", [COUNTS, EMPTY, b": hm\n\n", b"data: null\n\n", COUNTS + EMPTY, b"event: ping\n\n"])
def test_counts_and_empty_pieces_do_not_undo_a_reason(after: bytes) -> None:
    assert end_of(piece("length", content="Rain") + after) == ("Rain", "length")


@pytest.mark.parametrize(
    "content",
    [
        {"content": "Rain"},
        {"reasoning_content": "Hm"},
        {"tool_calls": [CALL]},
    ],
)
def test_any_content_undoes_a_reason(content: Any) -> None:
    assert end_of(piece("stop", content="") + piece(**content))[1] == "incomplete"


@pytest.mark.parametrize("before", [b"", piece("stop", content="Wind. "), piece("stop")])
def test_the_last_reason_counts_at_the_end_mark(before: bytes) -> None:
    text = "Wind. Rain" if b"Wind" in before else "Rain"
    assert end_of(before + piece(content="Rain") + piece("length") + COUNTS + DONE) == (text, "length")
    assert end_of(before + piece(content="Rain") + DONE) == (text, "stop")


@pytest.mark.parametrize("vendor", PARSERS)
def test_an_error_after_a_reason_fails_the_answer(vendor: str) -> None:
    whole = {"ollama": b'{"message":{"content":"Rain"},"done":false}\n'}.get(vendor) or said(vendor, "Rain", "stop")
    error = event(vendor, b'{"error":{"message":"Out of order"}}')
    assert end_of(whole + error, vendor) == ("Rain", "vendor_error")


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google_ai"])
def test_half_an_event_after_a_reason_is_a_body_that_breaks(vendor: str) -> None:
    assert end_of(said(vendor, "Rain", "stop") + said(vendor, " falls.")[:-12], vendor) == ("Rain", "incomplete")


# over a connection


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SILENT_END", PATIENCE)


WHOLE = {  # what comes before a long silence, and the text that is complete after it
    "after text": ([piece(content="Rain"), piece("stop")], "Rain"),
    "beside text": ([piece("stop", content="Rain")], "Rain"),
    "with counts": ([piece("stop", content="Rain"), COUNTS], "Rain"),
    "after a tool call": ([piece(tool_calls=[CALL]), piece("stop")], ""),
}


@pytest.mark.parametrize(("steps", "text"), WHOLE.values(), ids=WHOLE)
def test_silence_after_a_reason_is_an_end(vendor: VendorServer, steps: list[bytes | float], text: str) -> None:
    vendor.scripts["it"] = [*steps, 60.0]
    asked = ask(call(vendor.url, "scripted:it"), patience=30)
    assert (asked.text, asked.error, asked.values[-1]) == (text, None, Finish("stop"))
    vendor.wait_until(lambda: vendor.open == 0)


GOING_ON = {  # how an answer goes on after a pause that is longer than PATIENCE
    "after a reason before all text": [piece("stop", content=""), 2.0, piece(content="Rain"), piece("length"), DONE],
    "after a reason beside a thought": [
        piece("stop", reasoning_content="Hm"),
        2.0,
        piece("length", content="Rain"),
        DONE,
    ],
    "once text has followed a reason": [
        piece("stop", content="Ra"),
        piece("stop", content="i"),
        2.0,
        piece("length", content="n"),
    ],
    "with comments in the pause": [
        piece("length", content="Ra"),
        *[0.25, b": hm\n\n"] * 8,
        piece("length", content="in"),
        DONE,
    ],
}


@pytest.mark.parametrize("steps", GOING_ON.values(), ids=GOING_ON)
def test_a_pause_is_no_end(vendor: VendorServer, steps: list[bytes | float]) -> None:
    vendor.scripts["it"] = steps
    asked = ask(call(vendor.url, "scripted:it"), patience=30)
    assert (asked.text, asked.error, asked.values[-1]) == ("Rain", None, Finish("length"))


def test_counts_after_a_pause_are_kept(vendor: VendorServer) -> None:
    vendor.scripts["it"] = [piece("stop", content="Rain"), *[0.25, EMPTY] * 6, COUNTS, 60.0]
    asked = ask(call(vendor.url, "scripted:it"), patience=30)
    assert asked.error is None
    assert Usage(3, 2, None) in asked.values


def test_only_openais_format_ends_in_silence(vendor: VendorServer) -> None:
    """Others always end the body, or mark the end."""
    for name in ("google_ai", "anthropic"):
        vendor.scripts["it"] = [said(name, "Rain", "STOP" if name == "google_ai" else "end_turn"), 60.0]
        with pytest.raises(TimeoutError):
            ask(call(vendor.root, "scripted:it"), vendor=name, patience=3 * PATIENCE)


def test_a_connection_that_breaks_after_a_reason_fails_the_answer(vendor: VendorServer) -> None:
    vendor.scripts["it"] = [said("google_ai", "Rain", "STOP"), b'data: {"candidates": [']
    asked = ask(call(vendor.root, "scripted:it"), vendor="google_ai")
    assert (asked.text, asked.code) == ("Rain", "incomplete")
    vendor.scripts["it"] = [said("google_ai", "Rain", "STOP"), 0.1, BREAK]
    asked = ask(call(vendor.root, "scripted:it"), vendor="google_ai")
    assert (asked.text, asked.code) == ("Rain", "incomplete")
