"""Roles alternate, as many models demand, and models that refuse a system prompt find it in the first question."""

from typing import Any

import pytest

from llms.vendors.types import ChatMessage, ImagePart, TextPart, text_message
from tests.llms.vendors.asking import call
from tests.llms.vendors.test_parts import ADAPTERS

IMAGE = ImagePart("image/png", b"\x89PNG")


def sent(vendor: str, *turns: ChatMessage, model: str = "m") -> list[tuple[str, str]]:
    """The roles and texts of the messages, with the system prompt first, in OpenAI's words."""
    body: Any = ADAPTERS[vendor].request(call("", model, turns=turns)).body
    if vendor == "google_ai":
        system = [("system", part["text"]) for part in body.get("systemInstruction", {}).get("parts", [])]
        texts = [(each["role"], "".join(part.get("text", "") for part in each["parts"])) for each in body["contents"]]
        return [*system, *((role.replace("model", "assistant"), text) for role, text in texts)]
    system = [("system", body["system"])] if "system" in body else []
    return [*system, *((each["role"], each["content"]) for each in body["messages"])]


def turns(text: str) -> list[ChatMessage]:
    """Of "s1 u1 a1" a system prompt, a question and an answer; "_" is a blank."""
    roles: dict[str, Any] = {"s": "system", "u": "user", "a": "assistant"}
    return [text_message(roles[word[0]], word.replace("_", " ")) for word in text.split()]


@pytest.mark.parametrize("vendor", ADAPTERS)
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("u1 a1 u2", ["u1", "a1", "u2"]),
        ("u1 u2", ["u1\n\nu2"]),  # the first answer failed before its first word
        ("s1 u1 u2 u3 a3 u4 u5", ["s1", "u1\n\nu2\n\nu3", "a3", "u4\n\nu5"]),
        ("u1 a1 a2 u2", ["u1", "a1\n\na2", "u2"]),
        ("s1 a1 u1", ["s1", "u1"]),
        ("s1 u1 s2", ["s1\n\ns2", "u1"]),
    ],
)
def test_they_alternate(vendor: str, said: str, expected: list[str]) -> None:
    found = sent(vendor, *turns(said))
    assert [text for _, text in found] == expected
    roles = [role for role, _ in found if role != "system"]
    assert roles == ["user", "assistant", "user", "assistant"][: len(roles)]


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_blank_texts_are_left_out_but_for_the_question(vendor: str) -> None:
    blank = text_message("assistant", " \n")
    question = text_message("user", " ")
    assert sent(vendor, *turns("u1"), blank, *turns("u2")) == [("user", "u1\n\nu2")]
    assert sent(vendor, *turns("u1 a1"), question) == [("user", "u1"), ("assistant", "a1"), ("user", " ")]


@pytest.mark.parametrize("vendor", ADAPTERS)
@pytest.mark.parametrize(
    "model",
    [
        "gemma-3-27b-it",
        "gemma-3n-e4b-it",
        "google/gemma-2-9b-it",
        "google/gemma-7b-it:free",
        "gemma3:4b",
        "gemma:2b",
        "o1-mini",
        "openai/o1-mini-2024-09-12",
        "o1-preview",
        "gemini-2.0-flash-preview-image-generation",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
    ],
)
def test_models_that_refuse_a_system_prompt(vendor: str, model: str) -> None:
    assert sent(vendor, *turns("s1 u1 a1 u2"), model=model) == [
        ("user", "s1\n\nu1"),
        ("assistant", "a1"),
        ("user", "u2"),
    ]
    assert sent(vendor, *turns("u1"), model=model) == [("user", "u1")]


@pytest.mark.parametrize("vendor", ADAPTERS)
@pytest.mark.parametrize(
    "model",
    ["o1", "o1-2024-12-17", "o1-pro", "gpt-4o-mini", "gemma-4-31b-it", "gemma4:31b", "my-gemma-3", "gemini-pro"],
)
def test_other_models_take_it(vendor: str, model: str) -> None:
    assert sent(vendor, *turns("s1 u1"), model=model) == [("system", "s1"), ("user", "u1")]


def test_a_question_with_an_image_begins_with_the_system_prompt_too() -> None:
    question = ChatMessage("user", (IMAGE, TextPart("What is it?")))
    body: Any = ADAPTERS["google_ai"].request(call("", "gemma-3-4b-it", turns=(*turns("s1"), question))).body
    assert [part.get("text", "image") for part in body["contents"][0]["parts"]] == ["s1", "image", "What is it?"]
