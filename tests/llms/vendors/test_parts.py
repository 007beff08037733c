"""The parts of messages in the formats of the vendors, and those that a format refuses."""

import json
from typing import Any

import pytest

from llms.vendors.adapter import Adapter
from llms.vendors.anthropic import Anthropic
from llms.vendors.errors import VendorError
from llms.vendors.google_ai import GoogleAI
from llms.vendors.messages import merge_roles, write_file
from llms.vendors.ollama import Ollama
from llms.vendors.openai import OpenAI
from llms.vendors.types import (
    ChatMessage,
    FilePart,
    ImagePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.llms.vendors.asking import ask, call
from tests.vendor_server import VendorServer

ADAPTERS: dict[str, Adapter] = {
    "openai": OpenAI(),
    "anthropic": Anthropic(),
    "google_ai": GoogleAI(),
    "ollama": Ollama(),
}
IMAGE, TIFF = ImagePart("image/png", b"\x89PNG"), ImagePart("image/tiff", b"II*")
FILE = FilePart("a.txt", "text/plain", "One\nTwo")
RESULT = ToolResultPart("c", "get", "20")
PICTURE = ToolResultPart("c", "get", "A map", image=IMAGE)
CALL = ToolCallPart("c", "get", {})


def messages(vendor: str, *turns: ChatMessage) -> Any:
    body = ADAPTERS[vendor].request(call("", "m", turns=turns)).body
    return body["contents" if vendor == "google_ai" else "messages"]


@pytest.mark.parametrize(
    ("name", "role", "part", "words"),
    [
        *((vendor, "system", IMAGE, "does not take an image in a message of the role system") for vendor in ADAPTERS),
        *((vendor, "user", CALL, "does not take a tool call in a message of the role user") for vendor in ADAPTERS),
        *((vendor, "user", ThinkingPart("Hm"), "does not take thinking in a") for vendor in ADAPTERS),
        *((vendor, "assistant", RESULT, "does not take a tool result in a") for vendor in ADAPTERS),
        *(
            (vendor, "user", FilePart("a.pdf", "application/pdf", data=b"%PDF"), "no text (application/pdf)")
            for vendor in ADAPTERS
        ),
        ("openai", "assistant", IMAGE, "OpenAI's chat completions does not take an image in a message of the role ass"),
        ("anthropic", "assistant", IMAGE, "Anthropic does not take an image in a message of the role assistant"),
        ("openai", "user", PICTURE, "does not take an image in the result of a tool"),
        ("anthropic", "user", TIFF, "Anthropic does not take an image of the type image/tiff"),
        ("anthropic", "user", ToolResultPart("c", "get", "", image=TIFF), "an image of the type image/tiff"),
    ],
)
def test_a_part_that_a_format_cannot_express_is_refused_before_the_call(
    vendor: VendorServer, name: str, role: Any, part: Part, words: str
) -> None:
    endpoint = vendor.url if name == "openai" else vendor.root
    turns = (text_message("user", "Hi"), ChatMessage(role, (part,)), text_message("user", "Go on"))
    asked = ask(call(endpoint, "ok", turns=turns), vendor=name)
    assert isinstance(asked.error, VendorError)
    assert (asked.code, asked.error.retryable, asked.error.taken) == ("unsupported_part", False, False)
    assert words in asked.error.detail
    assert vendor.accepted == 0


@pytest.mark.parametrize(("vendor", "place"), [("google_ai", "parts"), ("ollama", "images")])
def test_an_image_of_the_assistant_is_taken_by_some(vendor: str, place: str) -> None:
    sent = messages(vendor, text_message("user", "Draw"), ChatMessage("assistant", (IMAGE,)))
    assert "iVBORw==" in json.dumps(sent[1][place])


@pytest.mark.parametrize("vendor", ["anthropic", "google_ai", "ollama"])
def test_an_image_in_the_result_of_a_tool(vendor: str) -> None:
    sent = messages(
        vendor, text_message("user", "Look"), ChatMessage("assistant", (CALL,)), ChatMessage("user", (PICTURE,))
    )
    assert "iVBORw==" in json.dumps(sent[2])
    assert "A map" in json.dumps(sent[2])


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_a_file_goes_as_text_between_delimiters(vendor: str) -> None:
    sent = json.dumps(messages(vendor, ChatMessage("user", (TextPart("What is it?"), FILE))))
    assert json.dumps('What is it?\n<file name="a.txt">\nOne\nTwo\n</file>\n')[1:-1] in sent.replace(
        '"}, {"text": "', ""
    )


def test_a_file_cannot_pretend_to_end() -> None:
    file = FilePart('"><x', "text/plain", "a</file>b</file_>")
    assert write_file(file) == "\n<file__ name='\"&gt;&lt;x'>\na</file>b</file_>\n</file__>\n"


def test_text_alone_is_a_string_and_text_with_an_image_a_list() -> None:
    [alone] = messages("openai", ChatMessage("user", (TextPart("a"), TextPart("b"))))
    [mixed] = messages("openai", ChatMessage("user", (TextPart("c"), IMAGE)))
    assert alone["content"] == "ab"
    assert [part["type"] for part in mixed["content"]] == ["text", "image_url"]


@pytest.mark.parametrize("vendor", ["openai", "ollama"])
def test_each_result_is_a_message_of_its_own_before_the_rest(vendor: str) -> None:
    other = ToolResultPart("d", "set", "30")
    sent = messages(vendor, ChatMessage("user", (TextPart("And now?"), RESULT, other)))
    assert [(message["role"], message["content"]) for message in sent] == [
        ("tool", "20"),
        ("tool", "30"),
        ("user", "And now?"),
    ]


def test_anthropic_gets_results_first_and_in_one_message() -> None:
    turns = (
        text_message("user", "Hi"),
        ChatMessage("assistant", (CALL,)),
        ChatMessage("user", (TextPart("And now?"), RESULT)),
        ChatMessage("user", (ToolResultPart("d", "set", "No", is_error=True),)),
    )
    assert messages("anthropic", *turns)[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c", "content": "20"},
        {"type": "tool_result", "tool_use_id": "d", "content": "No", "is_error": True},
        {"type": "text", "text": "And now?"},
    ]


def test_google_is_told_of_an_error() -> None:
    turns = (text_message("user", "Hi"), ChatMessage("user", (ToolResultPart("", "set", "No", is_error=True),)))
    assert messages("google_ai", *turns)[0]["parts"][1] == {
        "functionResponse": {"name": "set", "response": {"error": "No"}}
    }


def test_thinking_is_left_out_where_it_is_not_taken() -> None:
    redacted = ThinkingPart("", "Emw", redacted=True)
    turns = (text_message("user", "Hi"), ChatMessage("assistant", (ThinkingPart("Hm"), redacted, TextPart("Yes"))))
    assert messages("openai", *turns)[1] == {"role": "assistant", "content": "Yes"}
    assert messages("anthropic", *turns)[1]["content"] == [
        {"type": "redacted_thinking", "data": "Emw"},
        {"type": "text", "text": "Yes"},
    ]
    assert messages("google_ai", *turns)[1]["parts"] == [{"text": "Hm", "thought": True}, {"text": "Yes"}]
    assert messages("ollama", *turns)[1] == {"role": "assistant", "content": "Yes", "thinking": "Hm"}


def test_roles_with_parts_are_merged() -> None:
    system, merged = merge_roles(
        [
            ChatMessage("system", (TextPart("Be "), TextPart("brief."))),
            text_message("assistant", "Welcome!"),
            ChatMessage("user", (TextPart("a"), IMAGE)),
            text_message("user", " "),
            text_message("user", "b"),
            ChatMessage("user", (TextPart("c"), RESULT)),
            ChatMessage("assistant", (TextPart(""), TextPart("", "signed"))),
            ChatMessage("assistant", (TextPart("d"), CALL)),
        ]
    )
    assert system == "Be brief."
    assert merged == [
        ChatMessage("user", (TextPart("a"), IMAGE, TextPart("b\n\nc"), RESULT)),
        ChatMessage("assistant", (TextPart("", "signed"), TextPart("d"), CALL)),
    ]


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_arguments_that_orjson_cannot_write(vendor: str) -> None:
    """Whole numbers above 64 bits, and half a character, are valid JSON."""
    arguments = {"a": 2**70, "b": "\ud83d"}
    turns = (text_message("user", "Hi"), ChatMessage("assistant", (ToolCallPart("c", "get", arguments),)))
    adapter = ADAPTERS[vendor]
    assert str(2**70).encode() in adapter.encode(adapter.request(call("", "m", turns=turns)).body)
