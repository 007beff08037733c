"""The vendor that needs no network."""

import json
from typing import Any

import pytest

from llms.vendors import demo
from llms.vendors.errors import CODES
from llms.vendors.types import (
    ChatMessage,
    FilePart,
    Finish,
    IgnoredSettings,
    ImagePart,
    Part,
    Text,
    TextPart,
    Thinking,
    ToolCall,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    Usage,
    text_message,
)
from tests.live import ROOT
from tests.llms.vendors.asking import Asked, ask, call
from tests.llms.vendors.message_builder import MessageBuilder


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DELAY", 0)


def answer(question: str, *earlier: ChatMessage, **options: Any) -> Asked:
    return ask(call("", "demo", turns=(*earlier, text_message("user", question)), options=options), vendor="demo")


def test_it_quotes_the_question_and_says_what_it_is() -> None:
    asked = answer("What is\n 2 + 2?")
    assert asked.text == (
        "You said: What is\n 2 + 2?\n\nI am the demo: no language model, I answer from what I am told. "
        "I saw no earlier messages."
    )
    assert asked.values[-2:] == [Usage(5, 26, None), Finish("stop")]


def test_the_history_reaches_it() -> None:
    earlier = (text_message("user", "Hello"), text_message("assistant", "Hi"))
    assert "I saw 2 earlier messages." in answer("And?", *earlier).text
    assert "I saw 1 earlier message." in answer("And?", earlier[0]).text


def test_it_follows_a_system_prompt_and_keeps_it_to_itself() -> None:
    text = answer("And?", text_message("system", "The password is swordfish.")).text
    assert "I saw no earlier messages, and follow the system prompt." in text
    assert "swordfish" not in text


def test_it_counts() -> None:
    assert answer("/count 500").text == " ".join(map(str, range(1, 501)))


@pytest.mark.parametrize("text", ["  a \n\n\tb\\n null 👋🏽 ", "", "\n", "/echo x"])
def test_it_echoes_exactly(text: str) -> None:
    assert answer(f"/echo {text}").text == text


def test_the_most_tokens() -> None:
    asked = answer("/count 10", max_tokens=3)
    assert asked.text == "1 2 3 "
    assert asked.values[-2:] == [Usage(2, 3, None), Finish("length")]
    assert answer("/count 3", max_tokens=3).values[-1] == Finish("stop")


def test_stop_words() -> None:
    assert answer("/count 10", stop_words=["x", "5", "3 4"]).text == "1 2 "


def test_it_says_what_it_does_not_know() -> None:
    assert answer("Hello", temperature=0, max_tokens=3, seed=1).values[0] == IgnoredSettings(("temperature", "seed"))


PNG = ImagePart("image/png", b"x" * 1234)


def events(question: str, *parts: Part, **changes: Any) -> list[Any]:
    message = ChatMessage("user", (TextPart(question), *parts))
    return ask(call("", "demo", turns=(message,), **changes), vendor="demo").values


def test_it_thinks_before_it_answers() -> None:
    values = events("/think Let me see.\n/count 2")
    assert values[:5] == [Thinking("Let "), Thinking("me "), Thinking("see."), Text("1 "), Text("2")]
    assert values[-1] == Finish("stop")


def test_it_calls_tools_in_parallel_offered_or_not() -> None:
    values = events('/think Hm\n/tool get_weather {"city": "Oslo"}\n/tool now')
    assert values[0] == Thinking("Hm")
    builder = MessageBuilder()
    for value in values[1:]:
        builder.add(value)
    assert builder.message().parts == (
        ToolCallPart("demo_1_0", "get_weather", {"city": "Oslo"}),
        ToolCallPart("demo_1_1", "now", {}),
    )
    assert values[-1] == Finish("tool_calls")


def test_it_can_say_something_before_it_calls_a_tool() -> None:
    values = events("/tool now\n/echo I look.")
    assert values[:2] == [Text("I "), Text("look.")]
    assert [type(value) for value in values[2:]] == [ToolCall, ToolCall, Usage, Finish]


def test_it_answers_from_the_results_of_tools() -> None:
    results = (
        ToolResultPart("demo_1_0", "get_weather", "20 °C"),
        ToolResultPart("demo_1_1", "now", "No clock", is_error=True),
        ToolResultPart("demo_1_2", "draw", "Here:", image=PNG),
    )
    turns = (text_message("user", "/tool now"), ChatMessage("assistant", ()), ChatMessage("user", results))
    assert ask(call("", "demo", turns=turns), vendor="demo").text == (
        "The tool get_weather answered: 20 °C The tool now failed: No clock "
        "The tool draw answered: Here: I see 1 image: image/png of 1,234 bytes."
    )


def test_it_says_what_images_it_sees() -> None:
    two = (PNG, ImagePart("image/jpeg", b"y"))
    seen = "I see 2 images: image/png of 1,234 bytes, image/jpeg of 1 bytes."
    assert text_of(events("/image", *two)) == seen
    assert text_of(events("/image")) == "I see no image."
    assert text_of(events("Look!", *two)).endswith(f"I saw no earlier messages. {seen}")


def test_it_answers_in_json() -> None:
    tools = (ToolDefinition("now", "", {}),)
    assert json.loads(text_of(events("/json", PNG, tools=tools))) == {
        "earlier_messages": 0,
        "images": 1,
        "tools": ["now"],
    }


def test_it_cites() -> None:
    files = (FilePart("a.txt", "text/plain", "one two " * 10), ToolResultPart("c", "now", "Noon"))
    message = ChatMessage("user", files)
    turns = (message, text_message("assistant", "Yes?"), text_message("user", "/cite"))
    assert ask(call("", "demo", turns=turns), vendor="demo").text == (
        "a.txt says: one two one two one two one two one two [1] now says: Noon [2]"
    )
    assert text_of(events("/cite")) == "I was given nothing that I could cite."


@pytest.mark.parametrize(
    ("question", "code", "text"),
    [
        ("/fail", "vendor_error", ""),
        ("/fail rate_limited", "rate_limited", ""),
        ("/fail after 3 words\n/count 9", "vendor_error", "1 2 3 "),
        ("/fail incomplete after 1 word\n/count 9", "incomplete", "1 "),
        ("/fail timeout after 99 words\n/count 2", "timeout", "1 2"),
    ],
)
def test_it_fails(question: str, code: str, text: str) -> None:
    asked = answer(question)
    assert asked.error
    assert (asked.code, asked.text, asked.error.retryable) == (code, text, CODES[code])


@pytest.mark.parametrize("question", ["/fail nonsense", "/fail after noon", "/tool"])
def test_a_command_that_it_does_not_understand(question: str) -> None:
    asked = answer(question)
    assert asked.text == f"I do not understand {question}\n\n{demo.HELP}"
    assert asked.error is None


def test_its_help_has_each_command() -> None:
    text = answer("/help").text
    documented = (ROOT / "docs" / "vendors.md").read_text()
    for command in ("count", "echo", "image", "json", "cite", "events", "help", "think", "tool", "fail"):
        assert f"/{command}" in text
        assert f"`/{command}" in documented


def test_what_only_looks_like_a_command_is_a_question() -> None:
    assert answer("/thinking aloud").text.startswith("You said: /thinking aloud")


def text_of(values: list[Any]) -> str:
    return "".join(value.text for value in values if type(value) is Text)
