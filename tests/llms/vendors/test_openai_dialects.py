"""What OpenAI-compatible vendors stream, as their documentation shows it, wherever its bytes are cut."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from llms.vendors.base import VendorError
from llms.vendors.openai import LONGEST_BODY, Parser
from llms.vendors.sse import LONGEST, Events

RECORDED = sorted((Path(__file__).parent / "recorded" / "openai").glob("*.sse"))
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


def values_of(pieces: Iterable[bytes], secret: str = "") -> list[list[Any]]:
    """What an adapter would yield, and the error that would end it."""
    parser = Parser(secret)
    values: list[Any] = []
    for piece in pieces:
        if not parser.done:
            values += parser.feed(piece)
    values += parser.close()
    if parser.error:
        values.append(parser.error)
    return [*map(as_list, values)]


def as_list(value: Any) -> list[Any]:
    if isinstance(value, VendorError):
        return ["VendorError", value.code, value.detail]
    return [type(value).__name__, *(getattr(value, name) for name in value.__slots__)]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_stream(recorded: Path) -> None:
    body, expected = recorded.read_bytes(), json.loads(recorded.with_suffix(".json").read_text())
    assert values_of([body]) == expected
    assert values_of(body[at : at + 1] for at in range(len(body))) == expected
    for cut in range(1, len(body)):
        assert values_of([body[:cut], body[cut:]]) == expected, f"cut at {cut}"


SCRAPS: list[Any] = [None, True, 0, -1, 1.5, 2**70, "", "x", "\0", [], [None], [[]], {}, {"index": "x"}, {"x": [1]}]


@pytest.mark.parametrize(
    "place",
    [
        "%s",
        '{"choices":%s}',
        '{"choices":[%s]}',
        '{"error":%s}',
        '{"error":{"code":%s,"message":"m"}}',
        '{"error":{"message":%s}}',
        '{"choices":[],"usage":%s}',
        '{"choices":[],"x_groq":%s}',
        '{"usage":{"prompt_tokens":%s,"completion_tokens":%s,"prompt_tokens_details":%s}}',
        '{"choices":[{"index":%s,"delta":%s,"finish_reason":%s}]}',
        '{"choices":[{"delta":{"content":%s}}]}',
        '{"choices":[{"delta":{"content":[%s]}}]}',
        '{"choices":[{"delta":{"content":[{"type":"text","text":%s}]}}]}',
        '{"choices":[{"delta":{"content":[{"type":"thinking","thinking":%s}]}}]}',
        '{"choices":[{"delta":{"refusal":%s}}]}',
        '{"choices":[{"delta":{"reasoning":%s}}]}',
        '{"choices":[{"delta":{"tool_calls":%s}}]}',
        '{"choices":[{"delta":{"tool_calls":[{"index":%s,"id":%s,"function":%s}]}}]}',
        '{"choices":[{"delta":{"tool_calls":[{"function":{"name":%s,"arguments":%s}}]}}]}',
        '{"choices":[{"message":%s}]}',
    ],
)
def test_no_scrap_of_json_breaks_anything_else(place: str) -> None:
    for scrap in SCRAPS:
        document = (place.replace("%s", json.dumps(scrap))).encode()
        for body in (document, b"data: " + document + b"\n\ndata: [DONE]\n\n"):
            for name, *fields in values_of([body]):
                if name in ("Text", "Reasoning"):
                    assert fields[0]
                    assert "\0" not in fields[0]
                if name == "Usage":
                    assert all(field is None or 0 <= field < 2**31 for field in fields)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"choices":' * 50_000, b'{"a":1e999999}', b"1" * 5000, b"\xff\xfe"])
def test_hostile_json(body: bytes) -> None:
    assert values_of([CHUNK, b"data: " + body + b"\n\n"])[0] == ["Text", "a"]
    assert values_of([CHUNK, b"data: " + body + b"\n\n"])[-1][:1] == ["VendorError"]


@pytest.mark.parametrize("size", [16, 4096, 10**9])
def test_a_line_has_a_limit_however_it_comes(size: int) -> None:
    body = CHUNK + b"data: " + b"x" * (LONGEST + 1) + b"\n\n"
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    values = values_of(pieces)
    assert values[0] == ["Text", "a"]
    assert values[1][1] == "invalid_response"


def test_many_lines_of_one_event_have_the_same_limit() -> None:
    assert values_of([CHUNK, b"data: xxxxxxxxx\n" * (LONGEST // 9 + 10)])[-1][1] == "invalid_response"


def test_an_answer_at_once_has_a_limit() -> None:
    assert values_of([b"{", b" " * LONGEST_BODY])[-1][1] == "invalid_response"


def test_comments_have_no_limit_together() -> None:
    assert list(Events().feed(b": keepalive\n" * 200_000)) == []


@pytest.mark.parametrize(
    "error", [{"message": "Wrong key sk-canary-0123456789-7777!"}, "sk-canary*****7777", {"code": 401}]
)
def test_an_error_in_the_stream_does_not_show_the_key(error: Any) -> None:
    body = b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    assert "canary" not in str(values_of([body], "sk-canary-0123456789-7777"))
