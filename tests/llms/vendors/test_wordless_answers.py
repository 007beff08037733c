"""Answers without a word: what the model thought may be the answer; nothing at all is a failure, with the reason."""

import json
from typing import Any

import pytest

from tests.llms.vendors.test_completeness import COUNTS, DONE, EMPTY, piece
from tests.llms.vendors.test_recorded_streams import PARSERS, event, values_of

WORDLESS = "The vendor ended the answer before its first word"
THOUGHT = piece(reasoning_content="Rain ") + piece(reasoning_content="falls.")
CALL = {"index": 0, "id": "c", "function": {"name": "now", "arguments": "{}"}}
ENDS = {  # a document without a word that ends the answer
    "openai": {"choices": [{"index": 0, "delta": {}, "finish_reason": "%s"}]},
    "anthropic": {"type": "message_delta", "delta": {"stop_reason": "%s"}},
    "google_ai": {"candidates": [{"finishReason": "%s"}]},
    "ollama": {"message": {"content": ""}, "done": True, "done_reason": "%s"},
}


def joined(values: list[list[Any]], kind: str) -> str:
    return "".join(value[1] for value in values if value[0] == kind)


def ended(vendor: str, reason: str) -> bytes:
    return event(vendor, json.dumps(ENDS[vendor]).replace("%s", reason).encode())


@pytest.mark.parametrize("before", [b"", EMPTY, COUNTS, piece(content=" \n"), piece(reasoning_content="\n")])
def test_the_end_mark_alone_is_a_failure(before: bytes) -> None:
    assert values_of([before + DONE])[-1] == ["VendorError", "incomplete", f"{WORDLESS}."]


@pytest.mark.parametrize("vendor", PARSERS)
@pytest.mark.parametrize("reason", ["STOP", "content_filter", "some_reason"])
def test_a_reason_without_a_word_is_a_failure_that_names_it(vendor: str, reason: str) -> None:
    assert values_of([ended(vendor, reason)], vendor) == [["VendorError", "incomplete", f"{WORDLESS}: {reason}."]]


@pytest.mark.parametrize("vendor", PARSERS)
def test_a_model_may_have_used_up_its_tokens_unseen(vendor: str) -> None:
    assert values_of([ended(vendor, "max_tokens")], vendor) == [["Finish", "length"]]


def test_a_blocked_question_is_a_failure_that_says_so() -> None:
    blocked = event("google_ai", b'{"promptFeedback":{"blockReason":"BLOCKLIST"}}')
    [value] = values_of([blocked], "google_ai")
    assert value == ["VendorError", "incomplete", "The vendor blocked the question: BLOCKLIST."]
    text = event("google_ai", b'{"candidates":[{"content":{"parts":[{"text":"Rain"}]}}]}')
    assert values_of([text, blocked], "google_ai") == [["Text", "Rain"], ["Finish", "content_filter"]]


@pytest.mark.parametrize("end", [piece("stop") + DONE, piece("stop"), DONE, piece("eos", content="")])
def test_all_text_in_thinking_is_the_answer(end: bytes) -> None:
    values = values_of([THOUGHT + end])
    assert joined(values, "Thinking") == joined(values, "Text") == "Rain falls."
    assert values[-1] == ["Finish", "stop"]


@pytest.mark.parametrize("answer", ["<think>Rain falls.", "<think>Rain falls.</think>\n\n"])
def test_all_text_in_think_tags_is_the_answer(answer: str) -> None:
    for size in (1, 3, 100):
        pieces = [piece(content=answer[at : at + size]) for at in range(0, len(answer), size)]
        assert joined(values_of([*pieces, DONE]), "Text").strip() == "Rain falls."


@pytest.mark.parametrize(
    "end", [piece("length") + DONE, piece("content_filter"), piece(tool_calls=[CALL]) + piece("tool_calls")]
)
def test_thinking_that_was_cut_short_is_no_answer(end: bytes) -> None:
    values = values_of([THOUGHT + end])
    assert (joined(values, "Thinking"), joined(values, "Text")) == ("Rain falls.", "")
    assert values[-1][0] == "Finish"


def test_thinking_that_failed_is_no_answer() -> None:
    assert joined(values_of([THOUGHT]), "Text") == ""
    assert values_of([THOUGHT])[-1][:2] == ["VendorError", "incomplete"]


def test_thinking_before_words_is_not_repeated() -> None:
    values = values_of([THOUGHT, piece(content=" \n"), piece(content="Take a coat."), piece("stop"), DONE])
    assert joined(values, "Text") == " \nTake a coat."


def test_a_tool_call_needs_no_words() -> None:
    assert values_of([piece(tool_calls=[CALL]) + piece("stop")])[-1] == ["Finish", "stop"]
