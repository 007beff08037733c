"""Answers as vendors, gateways and servers really send them, beyond their documentation; by kind."""

import json
from typing import Any

import pytest

from tests.llms.vendors.asking import ask, call
from tests.llms.vendors.test_recorded_streams import CHUNKS, PARSERS, event, values_of
from tests.vendor_server import VendorServer

DONE = b"data: [DONE]\n\n"
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def chunk(**delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def sse(*documents: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents)


def read(*bodies: bytes, vendor: str = "openai") -> list[list[Any]]:
    """The events, which are the same wherever the body is cut."""
    body = b"".join(bodies)
    values = values_of([body], vendor)
    assert joined(values_of((body[at : at + 1] for at in range(len(body))), vendor)) == joined(values)
    return values


def joined(values: list[list[Any]]) -> list[list[Any]]:
    """The events with neighbouring pieces of text as one."""
    result: list[list[Any]] = []
    for value in values:
        if result and value[0] == result[-1][0] and value[0] in ("Text", "Thinking"):
            result[-1] = [value[0], result[-1][1] + value[1]]
        else:
            result.append(value)
    return result


def text(values: list[list[Any]], kind: str = "Text") -> str:
    return "".join(value[1] for value in values if value[0] == kind)


# reasons


@pytest.mark.parametrize("reason", ["aborted", "Network_Error", "insufficient_system_resource", "cancelled", "failed"])
def test_reasons_that_mean_failure(reason: str) -> None:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    *before, last = read(sse(chunk(content="So far")), sse(end), DONE)
    assert before == [["Text", "So far"]]
    assert last == ["VendorError", "vendor_error", f"The vendor broke off the answer: {reason}."]


@pytest.mark.parametrize("reason", ["NULL", "None", "", "undefined"])
def test_reasons_that_stand_for_none(reason: str) -> None:
    pieces = [{"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": reason}]} for word in ("a", "b")]
    assert read(sse(*pieces))[-1][:2] == ["VendorError", "incomplete"]
    assert read(sse(*pieces, STOP), DONE) == [["Text", "a"], ["Text", "b"], ["Finish", "stop"]]


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("COMPLETE", "stop"),
        ("max_new_tokens", "length"),
        ("context_window_exceeded", "length"),
        ("moderation", "content_filter"),
        ("tool_use", "tool_calls"),
        ("went_fishing", "went_fishing"),
    ],
)
def test_reasons_by_their_meaning(reason: str, meaning: str) -> None:
    end = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": reason}]}
    assert read(sse(end), DONE)[-1] == ["Finish", meaning]


# failures in unusual places

FAILED = [
    (b'error: {"code":413,"message":"Too much was asked"}\n\n', "bad_request"),
    (b"error: Too much was asked\n\n", "vendor_error"),
    (b'event: error\ndata: {"message":"Too much was asked","code":"429"}\n\n', "rate_limited"),
    (b"event: error\ndata: Too much was asked\n\n", "vendor_error"),
    (b'{"error":{"type":"overloaded_error","message":"Too much was asked"}}\n\n', "vendor_error"),
    (
        b'{\n  "error": {\n    "status": "RESOURCE_EXHAUSTED",\n    "message": "Too much was asked"\n  }\n}',
        "rate_limited",
    ),
    (sse({"detail": "Too much was asked"}), "vendor_error"),
    (sse({"detail": [{"msg": "Too much was asked"}], "status_code": 422}), "bad_request"),
    (sse({"code": 1302, "msg": "Too much was asked", "data": None}), "vendor_error"),
    (sse({"errors": [{"message": "Too much was asked", "code": "rate_limit_exceeded"}]}), "rate_limited"),
    (sse({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "Too much was asked"}}), "vendor_error"),
    (sse({"choices": [], "x_groq": {"error": "Too much was asked"}}), "vendor_error"),
    (sse([{"error": {"code": "503", "message": "Too much was asked"}}]), "vendor_error"),
    (sse({"error": "Too much was asked", "code": 403}), "unauthorized"),
    (sse({"error": True, "message": "Too much was asked"}), "vendor_error"),
    (
        sse(
            {
                "choices": [
                    {"index": 0, "delta": {}, "finish_reason": "stop", "error": {"message": "Too much was asked"}}
                ]
            }
        ),
        "vendor_error",
    ),
]


@pytest.mark.parametrize(("failure", "code"), FAILED)
@pytest.mark.parametrize("end", [b"", DONE])
def test_failures_in_unusual_places(failure: bytes, code: str, end: bytes) -> None:
    values = read(sse(chunk(content="Half")), failure, b"\n\n" if end else b"", end)
    assert values[0] == ["Text", "Half"]
    assert values[-1][:2] == ["VendorError", code]
    assert "Too much was asked" in values[-1][2] or code == "unauthorized"
    assert len(values) == 2


@pytest.mark.parametrize(("failure", "code"), FAILED)
def test_failures_with_nothing_before_them(failure: bytes, code: str) -> None:
    [value] = read(failure, b"\n\n", DONE)
    assert value[:2] == ["VendorError", code]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b" \n\xef\xbb\xbf \n"])
@pytest.mark.parametrize("vendor", PARSERS)
def test_a_byte_order_mark_before_json(vendor: str, mark: bytes) -> None:
    [value] = read(mark, b'{"error":{"message":"Out of order","code":503}}', vendor=vendor)
    assert value == ["VendorError", "vendor_error", "The vendor answered 503: Out of order"]


@pytest.mark.parametrize("vendor", ["anthropic", "google_ai", "ollama"])
@pytest.mark.parametrize(
    "document", [{"detail": "No such thing"}, {"errors": ["No such thing"]}, {"msg": "No such thing"}]
)
def test_failures_of_other_formats(vendor: str, document: dict[str, Any]) -> None:
    values = read(CHUNKS[vendor], event(vendor, json.dumps(document).encode()), vendor=vendor)
    assert values == [["Text", "a"], ["VendorError", "vendor_error", "The vendor failed: No such thing"]]


@pytest.mark.parametrize(
    "document",
    [{"code": 0, "msg": "ok"}, {"id": "x", "object": "ping"}, {"choices": [], "base_resp": {"status_code": 0}}],
)
def test_what_is_no_failure(document: dict[str, Any]) -> None:
    assert read(sse(document, chunk(content="a"), STOP), DONE) == [["Text", "a"], ["Finish", "stop"]]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ('event:data: {"error": {"message": "Out of range"}}\n\n', "The vendor answered 400: Out of range"),
        ('event:event: error\ndata: {"detail": "Out of range"}\n\n', "The vendor answered 400: Out of range"),
        ('event:\ufeff{"error": "Out of range"}', "The vendor answered 400: Out of range"),
        ("event:data: Out of range", "The vendor answered 400: Out of range"),
    ],
)
def test_a_refusal_framed_as_an_event(vendor: VendorServer, model: str, words: str) -> None:
    asked = ask(call(vendor.url, model))
    assert asked.error
    assert (asked.code, asked.error.detail) == ("bad_request", words)


# whole messages


def message(content: str, kind: str = "chat.completion", **more: Any) -> dict[str, Any]:
    return {"object": kind, "choices": [{"index": 0, "message": {"role": "assistant", "content": content, **more}}]}


def test_a_whole_message_after_its_pieces_adds_nothing() -> None:
    pieces = (chunk(content="Rain "), chunk(content="falls."))
    assert text(read(sse(*pieces, message("Rain falls."), STOP), DONE)) == "Rain falls."
    parts = [message(word, "chat.completion.chunk") for word in ("Rain ", "falls.")]
    assert text(read(sse(*parts, message("Rain falls."), STOP), DONE)) == "Rain falls."


def test_a_running_message_beside_the_pieces_adds_nothing() -> None:
    running = [
        {"choices": [{"index": 0, "delta": {"content": "Rain "}, "message": {"content": "Rain "}}]},
        {"choices": [{"index": 0, "delta": {}, "message": {"content": "Rain "}}]},
        {"choices": [{"index": 0, "delta": {"content": "falls."}, "message": {"content": "Rain falls."}}]},
    ]
    assert text(read(sse(*running, STOP), DONE)) == "Rain falls."


def test_messages_without_pieces_are_the_answer() -> None:
    assert text(read(sse(message("Rain falls."), STOP), DONE)) == "Rain falls."
    parts = [message(word, "chat.completion.chunk") for word in ("Rain ", "falls.")]
    assert text(read(sse(*parts, STOP), DONE)) == "Rain falls."


def test_a_whole_message_can_bring_the_tools_that_its_pieces_did_not() -> None:
    calls = [{"id": "c", "function": {"name": "now", "arguments": "{}"}}]
    values = read(sse(chunk(content="Rain."), message("Rain.", tool_calls=calls), STOP), DONE)
    assert values[:2] == [["Text", "Rain."], ["ToolCall", 0, "c", "now", "{}"]]


def test_calls_of_the_same_index_are_told_apart_by_their_ids() -> None:
    calls = [{"index": 0, "id": each, "function": {"name": "now", "arguments": f'{{"{each}": 1}}'}} for each in "cd"]
    values = read(sse(*(chunk(tool_calls=[call]) for call in calls), STOP), DONE)
    assert values[:2] == [["ToolCall", 0, "c", "now", '{"c": 1}'], ["ToolCall", 1, "d", "now", '{"d": 1}']]
    pieces = [{"index": 0, "id": "c", "function": {"arguments": piece}} for piece in ("{", "}")]
    values = read(sse(chunk(tool_calls=[calls[0]]), *(chunk(tool_calls=[piece]) for piece in pieces), STOP), DONE)
    assert {value[1] for value in values if value[0] == "ToolCall"} == {0}


# content in other shapes


@pytest.mark.parametrize(
    ("content", "answer", "thinking"),
    [
        (["Rain ", "falls."], "Rain falls.", ""),
        ({"type": "text", "text": "Rain."}, "Rain.", ""),
        ([{"type": "text", "text": None}, {"type": "text", "text": "Rain."}], "Rain.", ""),
        ([{"type": "thinking", "thinking": "Hm"}, "Rain."], "Rain.", "Hm"),
        ([{"type": "thinking", "thinking": ["H", {"type": "text", "text": "m"}]}, "Rain."], "Rain.", "Hm"),
        ([{"type": "reasoning", "text": "Hm"}, {"type": "output_text", "text": "Rain."}], "Rain.", "Hm"),
        ([None, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "new", "text": "Rain."}], "Rain.", ""),
    ],
)
def test_content_in_other_shapes(content: Any, answer: str, thinking: str) -> None:
    values = read(sse(chunk(content=content), STOP), DONE)
    assert (text(values), text(values, "Thinking")) == (answer, thinking)
    assert values[-1] == ["Finish", "stop"]


@pytest.mark.parametrize("reasoning", ["Hm", ["H", "m"], {"text": "Hm"}, [{"type": "x", "text": "Hm"}]])
def test_reasoning_in_other_shapes(reasoning: Any) -> None:
    assert text(read(sse(chunk(reasoning=reasoning), STOP), DONE), "Thinking") == "Hm"


@pytest.mark.parametrize(
    ("answer", "thinking", "said"),
    [
        ("<think>Hm.</think>Rain.", "Hm.", "Rain."),
        (" \n<think>\nHm.\n</think>\n\n  Rain. ", "\nHm.\n", "Rain. "),
        ("<think></think>Rain.", "", "Rain."),
        ("<think>a < b </thin </think>Rain.", "a < b </thin ", "Rain."),
        ("<thinker> Rain.", "", "<thinker> Rain."),
        ("<thin", "", "<thin"),
        ("So: <think>Hm.</think>Rain.", "", "So: <think>Hm.</think>Rain."),
        ("<think>Hm.</think>Rain. <think>No</think>", "Hm.", "Rain. <think>No</think>"),
    ],
)
@pytest.mark.parametrize("vendor", ["openai", "ollama"])
def test_think_tags_at_the_beginning(vendor: str, answer: str, thinking: str, said: str) -> None:
    """However they are cut into pieces."""
    for size in (1, 2, 3, 7, 100):
        pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
        if vendor == "openai":
            values = values_of([sse(*(chunk(content=piece) for piece in pieces), STOP), DONE])
        else:
            lines = [{"message": {"content": piece}, "done": False} for piece in pieces] + [{"done": True}]
            values = values_of([json.dumps(line).encode() + b"\n" for line in lines], "ollama")
        assert (text(values, "Thinking"), text(values)) == (thinking, said)
        assert values[-1] == ["Finish", "stop"]


# counts


def counts(*usages: Any) -> list[Any] | None:
    """What was counted at the end, of usages that come beside and after a text."""
    bodies = [{**chunk(content="a"), "usage": usages[0]}, *({"choices": [], "usage": usage} for usage in usages[1:])]
    found = [value[1:] for value in read(sse(*bodies, STOP), DONE) if value[0] == "Usage"]
    return found[-1] if found else None


@pytest.mark.parametrize(
    ("usages", "counted"),
    [
        ([{"prompt_tokens": 0, "completion_tokens": 0}], None),
        ([{"prompt_tokens": 7, "completion_tokens": 2}, {"prompt_tokens": 0, "completion_tokens": 0}], [7, 2, None]),
        ([{"prompt_tokens": 7, "completion_tokens": 2}, {"prompt_tokens": None}], [7, 2, None]),
        ([{"prompt_tokens": 7}, {"completion_tokens": 2}], [7, 2, None]),
        ([{"prompt_tokens": 7, "completion_tokens": 1}, {"prompt_tokens": 7, "completion_tokens": 5}], [7, 5, None]),
        ([{"prompt_tokens": 7.0, "completion_tokens": "2"}], [7, 2, None]),
        ([{"prompt_tokens": 7.5, "completion_tokens": "two"}], None),
        ([{"input_tokens": 7, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 3}}], [7, 2, 3]),
        ([{"promptTokens": 7, "completionTokens": 2, "cached_tokens": 3}], [7, 2, 3]),
        (
            [
                {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
                {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}},
            ],
            [7, 2, 3],
        ),
    ],
)
def test_counts(usages: list[Any], counted: list[Any] | None) -> None:
    assert counts(*usages) == counted


def test_a_count_in_the_choice() -> None:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 7}}]}
    assert ["Usage", 7, None, None] in read(sse(chunk(content="a"), end), DONE)


def test_zeros_of_others_are_unknown() -> None:
    lines = [{"message": {"content": "a"}}, {"done": True, "prompt_eval_count": 0, "eval_count": 0}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert read(body, vendor="ollama") == [["Text", "a"], ["Finish", "stop"]]
    zeros = {"promptTokenCount": 0, "candidatesTokenCount": 0}
    body = sse(
        {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}], "usageMetadata": zeros}
    )
    assert read(body, vendor="google_ai") == [["Text", "a"], ["Finish", "stop"]]


# bytes


@pytest.mark.parametrize("vendor", PARSERS)
def test_bytes_that_are_no_utf_8_are_replaced(vendor: str) -> None:
    assert (
        text(values_of([CHUNKS[vendor].replace(b'"a"', b'"a\xe2\x82b\xff"'), CHUNKS[vendor]], vendor))
        == "a\ufffdb\ufffda"
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_with_one_line_end_between(end: bytes) -> None:
    body = sse(chunk(content="Rain "), chunk(content="falls."), STOP).replace(b"\n\n", end) + b"data: [DONE]" + end
    assert read(body) == [["Text", "Rain "], ["Text", "falls."], ["Finish", "stop"]]
    assert values_of([body, b"never read"]) == read(body)


def test_events_come_as_soon_as_the_next_one_begins() -> None:
    parser = PARSERS["openai"]("")
    first, second = (sse(chunk(content=word)).strip() + b"\n" for word in ("a", "b"))
    assert parser.feed(first) == []
    assert len(parser.feed(second)) == 1


@pytest.mark.parametrize(
    "other",
    [
        b"event: ping\ndata: pong\n\n",
        b"event: keepalive\ndata:\n\n",
        b'event: status\ndata: {"queue": 3}\n\n',
        b"data: null\n\n",
        b"data:   \n\n",
        b": a comment\n\n",
        b"id: 3\nretry: 10\n\n",
    ],
)
def test_signs_of_life_are_no_answer(other: bytes) -> None:
    body = b"".join((other, sse(chunk(content="a")), other, sse(STOP), other, DONE))
    assert read(body) == [["Text", "a"], ["Finish", "stop"]]


def test_named_events_with_an_answer() -> None:
    body = sse(chunk(content="a"), STOP).replace(b"data:", b"event: completion\ndata:") + DONE
    assert read(body) == [["Text", "a"], ["Finish", "stop"]]


def test_lines_with_leading_spaces() -> None:
    body = (sse(chunk(content="a"), STOP) + DONE).replace(b"data:", b"  \tdata:")
    assert read(b"\n  \n", body) == [["Text", "a"], ["Finish", "stop"]]


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "", "application/octet-stream"])
def test_an_event_stream_by_another_name(vendor: VendorServer, kind: str) -> None:
    asked = ask(call(vendor.url, f"typed:{kind}"))
    assert (asked.text, asked.error) == ("Rain.", None)


def test_a_line_of_several_megabytes() -> None:
    image = chunk(content="", images=[{"image_url": {"url": "data:image/png;base64," + "A" * 3 * 2**20}}])
    values = values_of([sse(chunk(content="Here: "), image, chunk(content="done."), STOP), DONE])
    assert text(values) == "Here: done."
