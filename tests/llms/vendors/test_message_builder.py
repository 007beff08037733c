"""What a vendor streamed becomes a message, and is sent back as it came."""

import json
from typing import Any

import pytest

from llms.vendors.anthropic import Anthropic
from llms.vendors.google_ai import GoogleAI
from llms.vendors.ollama import Ollama
from llms.vendors.openai import OpenAI
from llms.vendors.types import (
    ChatMessage,
    Finish,
    Signature,
    StreamEvent,
    Text,
    TextPart,
    Thinking,
    ThinkingPart,
    ToolCall,
    ToolCallPart,
    Usage,
    text_message,
)
from tests.llms.vendors.asking import call
from tests.llms.vendors.message_builder import MessageBuilder
from tests.llms.vendors.test_recorded_streams import PARSERS, ROOT


def build(*events: StreamEvent) -> ChatMessage:
    builder = MessageBuilder()
    for event in events:
        builder.add(event)
    return builder.message()


def read(vendor: str, name: str) -> ChatMessage:
    parser = PARSERS[vendor]("")
    [path] = (path for path in (ROOT / vendor).glob(f"{name}.*") if path.suffix != ".json")
    return build(*parser.feed(path.read_bytes()), *parser.close())


def turns(message: ChatMessage) -> tuple[ChatMessage, ...]:
    return (text_message("user", "Hi"), message, text_message("user", "Go on"))


def test_text_and_thinking_in_the_order_in_which_they_came() -> None:
    events = (
        Thinking("I "),
        Usage(1, None, None),
        Thinking("see."),
        Text("It "),
        Text("is."),
        Thinking("Or?"),
        Text("4"),
    )
    assert build(*events, Finish("stop")).parts == (
        ThinkingPart("I see."),
        TextPart("It is."),
        ThinkingPart("Or?"),
        TextPart("4"),
    )


def test_the_pieces_of_parallel_calls() -> None:
    events = (
        Text("I look."),
        ToolCall(0, "c_1", "now", ""),
        ToolCall(1, "c_2", "get", '{"a"'),
        ToolCall(0, "", "", "{}"),
        ToolCall(1, "", "", ":[1,null]}"),
    )
    assert build(*events).parts == (
        TextPart("I look."),
        ToolCallPart("c_1", "now", {}),
        ToolCallPart("c_2", "get", {"a": [1, None]}),
    )


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "x", "[" * 100_000])
def test_arguments_that_are_no_object_are_kept_as_they_came(arguments: str) -> None:
    [part] = build(ToolCall(0, "c", "get", arguments)).parts
    assert part == ToolCallPart("c", "get", {}, unparsed=arguments)


def test_no_arguments() -> None:
    assert build(ToolCall(0, "c", "now", "")).parts == (ToolCallPart("c", "now", {}),)


def test_text_after_a_signature_is_a_part_of_its_own() -> None:
    events = (Text("a"), Signature("text", "x"), Text("b"), Signature("thinking", "y"), Thinking("c"))
    assert build(*events).parts == (TextPart("a", "x"), TextPart("b"), ThinkingPart("", "y"), ThinkingPart("c"))


def test_no_events() -> None:
    assert build(Finish("stop")).parts == ()


def test_anthropics_thinking_is_sent_back_byte_for_byte() -> None:
    body = Anthropic().request(call("", "m", turns=turns(read("anthropic", "thinking")))).body
    assert body["messages"][1]["content"] == [  # type: ignore[index]
        {
            "type": "thinking",
            "thinking": "I need the GCD.\n147 = 3 × 49",
            "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h",
        },
        {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"},
        {"type": "text", "text": "It is 21."},
    ]


def test_anthropics_thinking_that_is_not_shown() -> None:
    thinking, *_ = read("anthropic", "thinking_omitted").parts
    assert thinking == ThinkingPart("", "EosnCkYICxIM")
    body = Anthropic().request(call("", "m", turns=turns(ChatMessage("assistant", (thinking, TextPart("4")))))).body
    sent: Any = body["messages"]
    assert sent[1]["content"][0] == {"type": "thinking", "thinking": "", "signature": "EosnCkYICxIM"}


def test_anthropics_calls() -> None:
    message = read("anthropic", "tool_use")
    body: Any = Anthropic().request(call("", "m", turns=turns(message))).body
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    assert calls
    assert [block for block in body["messages"][1]["content"] if block["type"] == "tool_use"] == [
        {"type": "tool_use", "id": one.id, "name": one.name, "input": one.arguments} for one in calls
    ]


def test_googles_signatures_are_sent_back_in_their_parts() -> None:
    body: Any = GoogleAI().request(call("", "m", turns=turns(read("google_ai", "function_calls")))).body
    assert body["contents"][1]["parts"] == [
        {"text": "I look."},
        {
            "functionCall": {"id": "fc_1", "args": {"city": "Zürich"}, "name": "get_weather"},
            "thoughtSignature": "EjQKMgEM",
        },
        {"functionCall": {"args": {}, "name": "now"}},
    ]
    body = GoogleAI().request(call("", "m", turns=turns(read("google_ai", "thinking")))).body
    assert body["contents"][1]["parts"] == [
        {"text": "**Adding**\n\nI add.", "thought": True},
        {"text": "It is 4.", "thoughtSignature": "EqYBCqMB"},
    ]


def test_openais_calls() -> None:
    message = read("openai", "openai_tool_calls")
    body: Any = OpenAI().request(call("", "m", turns=turns(message))).body
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    sent = body["messages"][1]["tool_calls"]
    assert len(calls) > 1
    assert [(one["id"], one["function"]["name"], json.loads(one["function"]["arguments"])) for one in sent] == [
        (one.id, one.name, one.arguments) for one in calls
    ]


def test_openais_arguments_that_are_no_json_are_sent_back_as_they_came() -> None:
    message = ChatMessage("assistant", (ToolCallPart("c", "get", {}, unparsed='{"a":'),))
    body: Any = OpenAI().request(call("", "m", turns=turns(message))).body
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a":'
    assert body["messages"][1]["content"] is None


def test_ollamas_thinking_and_calls() -> None:
    message = read("ollama", "tool_calls")
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    message = ChatMessage("assistant", (ThinkingPart("Hm"), *message.parts))
    body: Any = Ollama().request(call("", "m", turns=turns(message))).body
    assert body["messages"][1] == {
        "role": "assistant",
        "content": message.text,
        "thinking": "Hm",
        "tool_calls": [{"function": {"name": one.name, "arguments": one.arguments}} for one in calls],
    }
