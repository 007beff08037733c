"""What vendors stream, as their documentation shows it, wherever its bytes are cut."""

import json
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from llms.vendors import parser, sse
from llms.vendors.anthropic import Anthropic, MessageParser
from llms.vendors.errors import VendorError
from llms.vendors.google_ai import GeminiParser
from llms.vendors.ollama import ChatParser
from llms.vendors.openai import CompletionParser
from llms.vendors.parser import AnswerParser
from llms.vendors.sse import SSEDecoder

PARSERS: dict[str, type[AnswerParser]] = {
    "openai": CompletionParser,
    "anthropic": MessageParser,
    "google_ai": GeminiParser,
    "ollama": ChatParser,
}
ROOT = Path(__file__).parent / "recorded"
RECORDED = sorted((path for path in ROOT.rglob("*.*") if path.suffix != ".json"), key=str)
KEY = "sk-canary-0123456789-7777"
CHUNKS = {  # each says "a", and that more is to come
    "openai": b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    "anthropic": b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n',
    "google_ai": b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n',
    "ollama": b'{"message":{"content":"a"},"done":false}\n',
}


def values_of(pieces: Iterable[bytes], vendor: str = "openai", secret: str = "") -> list[list[Any]]:
    """What an adapter would yield, and the error that would end it."""
    reader = PARSERS[vendor](secret)
    values: list[Any] = []
    for piece in pieces:
        if not reader.done:
            values += reader.feed(piece)
    values += reader.close()
    if reader.error:
        values.append(reader.error)
    return [*map(as_list, values)]


def as_list(value: Any) -> list[Any]:
    if isinstance(value, VendorError):
        return ["VendorError", value.code, value.detail]
    return [type(value).__name__, *(getattr(value, name) for name in value.__slots__)]


def event(vendor: str, data: bytes) -> bytes:
    """One document of a stream."""
    return data + b"\n" if vendor == "ollama" else b"data: " + data + b"\n\n"


DEEP = b"[" * 1_000 + b"]" * 1_000
HOSTILE = [
    ("anthropic", b'{"type":"content_block_delta","index":1e999,"delta":{"type":"text_delta","text":"a"}}'),
    ("anthropic", b'{"type":"content_block_delta","index":Infinity,"delta":{"type":"text_delta","text":"a"}}'),
    ("openai", b'{"choices":[{"delta":{"tool_calls":[{"index":Infinity}]}}]}'),
    ("google_ai", DEEP),
]
LISTS = [DEEP, b"5"]
if sys.version_info < (3, 12):  # Python 3.12 writes what orjson reads, however deep: there this is only an odd call
    HOSTILE += [
        ("openai", b'{"choices":[{"delta":{"tool_calls":[{"id":' + DEEP + b"}]}}]}"),
        ("google_ai", b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"a":' + DEEP + b"}}}]}}]}"),
        ("ollama", b'{"message":{"tool_calls":[{"function":{"arguments":{"a":' + DEEP + b"}}}]}}"),
    ]
    LISTS += [b'{"data":[],"has_more":true,"last_id":' + DEEP + b"}"]


@pytest.mark.parametrize(("vendor", "document"), HOSTILE)
def test_what_breaks_those_who_read_it_is_no_answer(vendor: str, document: bytes) -> None:
    *before, last = values_of([CHUNKS[vendor] + event(vendor, document)], vendor)
    assert before == [["Text", "a"]]
    assert last[:2] == ["VendorError", "invalid_response"]


@pytest.mark.parametrize("document", LISTS)
def test_what_breaks_those_who_read_it_is_no_list(document: bytes) -> None:
    with pytest.raises(VendorError, match="no list of models"):
        Anthropic().parse_page(document)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recorded_stream(recorded: Path) -> None:
    body, expected = recorded.read_bytes(), json.loads(recorded.with_suffix(".json").read_text())
    vendor = recorded.parent.name
    assert values_of([body], vendor) == expected
    assert values_of((body[at : at + 1] for at in range(len(body))), vendor) == expected
    for cut in range(1, len(body)):
        assert values_of([body[:cut], body[cut:]], vendor) == expected, f"cut at {cut}"


@pytest.mark.parametrize("vendor", PARSERS)
def test_each_vendor_is_recorded(vendor: str) -> None:
    """So that none of the stories is forgotten; each kind of value, and each way in which an answer ends."""
    told = [json.loads(path.with_suffix(".json").read_text()) for path in RECORDED if path.parent.name == vendor]
    signature = {"Signature"} if vendor in ("anthropic", "google_ai") else set()
    assert {"Text", "Thinking", "ToolCall", "Usage", "Finish", "VendorError"} | signature == {
        name for one in told for name, *_ in one
    }
    assert {"stop", "length", "tool_calls"} <= {value[1] for one in told for value in one if value[0] == "Finish"}
    assert {"vendor_error", "incomplete"} <= {value[1] for one in told for value in one if value[0] == "VendorError"}


SCRAPS: list[Any] = [None, True, 0, -1, 1.5, 2**70, "", "x", "\0", [], [None], [[]], {}, {"index": "x"}, {"x": [1]}]
PLACES = {
    "openai": [
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
    "anthropic": [
        "%s",
        '{"type":%s,"error":%s}',
        '{"type":"error","error":%s}',
        '{"type":"error","error":{"type":%s,"message":%s}}',
        '{"type":"message_start","message":%s}',
        '{"type":"message_start","message":{"content":%s,"usage":%s}}',
        '{"type":"message_start","message":{"usage":{"input_tokens":%s,"cache_read_input_tokens":%s}}}',
        '{"type":"content_block_start","index":%s,"content_block":%s}',
        '{"type":"content_block_start","content_block":{"type":"text","text":%s}}',
        '{"type":"content_block_start","content_block":{"type":"thinking","thinking":%s}}',
        '{"type":"content_block_start","index":%s,"content_block":{"type":"tool_use","id":%s,"input":%s}}',
        '{"type":"content_block_delta","index":%s,"delta":%s}',
        '{"type":"content_block_delta","delta":{"type":"text_delta","text":%s}}',
        '{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":%s}}',
        '{"type":"content_block_delta","index":%s,"delta":{"type":"input_json_delta","partial_json":%s}}',
        '{"type":"message_delta","delta":%s,"usage":%s}',
        '{"type":"message_delta","delta":{"stop_reason":%s},"usage":{"output_tokens":%s}}',
        '{"type":"message","content":[{"type":"tool_use","input":%s}],"stop_reason":%s}',
    ],
    "google_ai": [
        "%s",
        "[%s]",
        '{"error":%s}',
        '{"error":{"code":%s,"message":%s}}',
        '{"candidates":%s,"promptFeedback":%s}',
        '{"candidates":[%s]}',
        '{"candidates":[{"index":%s,"content":%s,"finishReason":%s}]}',
        '{"candidates":[{"content":{"parts":%s}}]}',
        '{"candidates":[{"content":{"parts":[%s]}}]}',
        '{"candidates":[{"content":{"parts":[{"text":%s,"thought":%s}]}}]}',
        '{"candidates":[{"content":{"parts":[{"functionCall":%s}]}}]}',
        '{"candidates":[{"content":{"parts":[{"functionCall":{"name":%s,"args":%s}}]}}]}',
        '{"promptFeedback":{"blockReason":%s},"usageMetadata":%s}',
        '{"usageMetadata":{"promptTokenCount":%s,"candidatesTokenCount":%s,"thoughtsTokenCount":%s}}',
    ],
    "ollama": [
        "%s",
        '{"error":%s}',
        '{"message":%s,"done":%s}',
        '{"message":{"content":%s,"thinking":%s}}',
        '{"message":{"tool_calls":%s}}',
        '{"message":{"tool_calls":[{"id":%s,"function":%s}]}}',
        '{"message":{"tool_calls":[{"function":{"name":%s,"arguments":%s}}]}}',
        '{"done":true,"done_reason":%s,"prompt_eval_count":%s,"eval_count":%s}',
    ],
}


@pytest.mark.parametrize(("vendor", "place"), [(vendor, place) for vendor in PLACES for place in PLACES[vendor]])
def test_no_scrap_of_json_breaks_anything_else(vendor: str, place: str) -> None:
    for scrap in SCRAPS:
        document = (place.replace("%s", json.dumps(scrap))).encode()
        for body in (document, event(vendor, document) + b"data: [DONE]\n\n"):
            for name, *fields in values_of([body], vendor):
                if name in ("Text", "Thinking"):
                    assert fields[0]
                    assert "\0" not in fields[0]
                if name == "Usage":
                    assert all(field is None or 0 <= field < 2**31 for field in fields)


HOSTILE = [b"[" * 100_000, b'{"choices":' * 50_000, b'{"a":1e999999}', b"1" * 5000, b"\xff\xfe"]


@pytest.mark.parametrize(("vendor", "body"), [*product(PARSERS, HOSTILE)])
def test_hostile_json(vendor: str, body: bytes) -> None:
    values = values_of([CHUNKS[vendor], event(vendor, body)], vendor)
    assert values[0] == ["Text", "a"]
    assert values[-1][0] == "VendorError"


LONGEST = 2**20


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower limits, because the real ones take long to reach."""
    monkeypatch.setattr(sse, "LONGEST", LONGEST)
    monkeypatch.setattr(parser, "LONGEST_BODY", LONGEST)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("vendor", PARSERS)
@pytest.mark.parametrize("size", [16, 4096, 10**9])
def test_a_line_has_a_limit_however_it_comes(vendor: str, size: int) -> None:
    body = CHUNKS[vendor] + event(vendor, b"x" * (LONGEST + 1))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    values = values_of(pieces, vendor)
    assert values[0] == ["Text", "a"]
    assert values[1][1] == "invalid_response"


@pytest.mark.usefixtures("small_limits")
def test_many_lines_of_one_event_have_the_same_limit() -> None:
    assert values_of([CHUNKS["openai"], b"data: xxxxxxxxx\n" * (LONGEST // 9 + 10)])[-1][1] == "invalid_response"


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("vendor", sorted(PARSERS.keys() - {"ollama"}))
def test_an_answer_at_once_has_a_limit(vendor: str) -> None:
    assert values_of([b"{", b" " * LONGEST], vendor)[-1][1] == "invalid_response"


def test_comments_have_no_limit_together() -> None:
    assert list(SSEDecoder().feed(b": keepalive\n" * 200_000)) == []


@pytest.mark.parametrize("vendor", PARSERS)
@pytest.mark.parametrize(
    "error",
    [
        {"message": f"Wrong key {KEY}!"},
        {"type": "invalid_request_error", "message": f"Wrong key {KEY}!"},
        {"code": 400, "message": f"Wrong key {KEY}!", "status": "INVALID_ARGUMENT"},
        "sk-canary*****7777",
        {"code": 401},
    ],
)
def test_an_error_in_the_stream_does_not_show_the_key(vendor: str, error: Any) -> None:
    values = values_of([event(vendor, json.dumps({"error": error}).encode())], vendor, KEY)
    assert values[-1][0] == "VendorError"
    assert "canary" not in str(values)
