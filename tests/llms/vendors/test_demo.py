"""The vendor that needs no network."""

from typing import Any

import pytest

from llms.vendors import demo
from llms.vendors.types import ChatMessage, Finish, IgnoredSettings, Usage, text_message
from tests.llms.vendors.asking import Asked, ask, call


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
