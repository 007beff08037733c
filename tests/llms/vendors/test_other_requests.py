"""What Anthropic, Google AI and Ollama are sent: all that is set and that they know, and nothing else."""

from typing import Any

import pytest

from llms.vendors.adapter import Adapter, WireRequest
from llms.vendors.anthropic import MAX_TOKENS, Anthropic
from llms.vendors.google_ai import GoogleAI
from llms.vendors.ollama import Ollama
from llms.vendors.types import IgnoredSettings, text_message
from tests.llms.vendors.asking import KEY, ask, call
from tests.llms.vendors.test_openai_requests import EVERYTHING
from tests.vendor_server import ANSWER, VendorServer

VENDORS: dict[str, Adapter] = {"anthropic": Anthropic(), "google_ai": GoogleAI(), "ollama": Ollama()}
TALK = (
    text_message("system", "Be brief."),
    text_message("assistant", "Welcome!"),
    text_message("user", 'a\r\n\t"b"\\n'),
    text_message("user", "👋🏽 \u2028 null"),
    text_message("assistant", ""),
    text_message("assistant", "Yes?"),
    text_message("user", " Go on "),
)
MERGED = ['a\r\n\t"b"\\n\n\n👋🏽 \u2028 null', "Yes?", " Go on "]


def request(vendor: str, endpoint: str = "", model: str = "m", **changes: Any) -> WireRequest:
    return VENDORS[vendor].request(call(endpoint, model, **changes))


@pytest.mark.parametrize(
    ("vendor", "body"),
    [
        (
            "anthropic",
            {
                "model": "m",
                "messages": [{"role": "user", "content": "Hello there"}],
                "max_tokens": MAX_TOKENS,
                "stream": True,
            },
        ),
        ("google_ai", {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}),
        ("ollama", {"model": "m", "messages": [{"role": "user", "content": "Hello there"}], "stream": True}),
    ],
)
def test_only_what_is_set(vendor: str, body: dict[str, Any]) -> None:
    assert request(vendor).body == body
    assert request(vendor).ignored == ()


@pytest.mark.parametrize(
    ("name", "place", "known", "ignored"),
    [
        (
            "anthropic",
            None,
            {"temperature": 0.0, "max_tokens": 100, "top_p": 0, "top_k": 0, "stop_sequences": ["END", "\n"]},
            ("min_length", "repetition_penalty", "seed"),
        ),
        (
            "google_ai",
            "generationConfig",
            {
                "temperature": 0.0,
                "maxOutputTokens": 100,
                "topP": 0,
                "topK": 0,
                "seed": 0,
                "stopSequences": ["END", "\n"],
            },
            ("min_length", "repetition_penalty"),
        ),
        (
            "ollama",
            "options",
            {
                "temperature": 0.0,
                "num_predict": 100,
                "top_p": 0,
                "top_k": 0,
                "repeat_penalty": 0.0,
                "seed": 0,
                "stop": ["END", "\n"],
            },
            ("min_length",),
        ),
    ],
)
def test_zero_is_a_value(name: str, place: str | None, known: Any, ignored: Any, vendor: VendorServer) -> None:
    asked = ask(call(vendor.root, "ok", options=EVERYTHING), vendor=name)
    body = vendor.requests[0].body
    told = body[place] if place else {key: body[key] for key in body if key not in ("model", "messages", "stream")}
    assert told == known
    assert asked.values[0] == IgnoredSettings(ignored)
    assert asked.text == ANSWER


def test_the_roles_take_turns_at_anthropic() -> None:
    body = request("anthropic", turns=TALK).body
    assert body["system"] == "Be brief."
    assert [message["content"] for message in body["messages"]] == MERGED
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


def test_the_roles_take_turns_at_google_ai() -> None:
    body = request("google_ai", turns=TALK).body
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}], "role": "user"}
    assert [content["parts"] for content in body["contents"]] == [[{"text": text}] for text in MERGED]
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]


def test_several_system_prompts_are_one() -> None:
    turns = (text_message("system", "Be brief."), text_message("user", "Hi"), text_message("system", "Be kind."))
    assert request("anthropic", turns=turns).body["system"] == "Be brief.\n\nBe kind."


@pytest.mark.parametrize(
    ("name", "endpoint", "model", "url"),
    [
        ("anthropic", "", "m", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://llm.example.com", "m", "https://llm.example.com/v1/messages"),
        ("anthropic", "https://llm.example.com/v1/", "m", "https://llm.example.com/v1/messages"),
        ("anthropic", "https://llm.example.com/anthropic/", "m", "https://llm.example.com/anthropic/v1/messages"),
        ("anthropic", "https://llm.example.com/v1/messages", "m", "https://llm.example.com/v1/messages"),
        ("anthropic", "https://llm.example.com/a/v1/messages/", "m", "https://llm.example.com/a/v1/messages"),
        ("anthropic", "https://llm.example.com/v1/chat/completions", "m", "https://llm.example.com/v1/messages"),
        ("anthropic", "https://llm.example.com/messages", "m", "https://llm.example.com/messages/v1/messages"),
        ("google_ai", "", "m", "https://generativelanguage.googleapis.com/v1beta/models/m"),
        ("google_ai", "https://llm.example.com//", "models/m", "https://llm.example.com/v1beta/models/m"),
        ("google_ai", "https://llm.example.com/v1beta", "m", "https://llm.example.com/v1beta/models/m"),
        ("google_ai", "https://llm.example.com/v1/", "m", "https://llm.example.com/v1/models/m"),
        (
            "google_ai",
            "https://llm.example.com",
            "../a/b?c#d",
            "https://llm.example.com/v1beta/models/..%2Fa%2Fb%3Fc%23d",
        ),
        (
            "google_ai",
            "https://llm.example.com/v1beta/models/other:streamGenerateContent",
            "m",
            "https://llm.example.com/v1beta/models/m",
        ),
        ("google_ai", "https://llm.example.com/v1beta/models/", "m", "https://llm.example.com/v1beta/models/m"),
        ("ollama", "", "m", "http://localhost:11434/api/chat"),
        ("ollama", "http://llm.example.com/api/generate", "m", "http://llm.example.com/api/chat"),
        ("ollama", "http://llm.example.com/ours/v1/chat/completions", "m", "http://llm.example.com/ours/api/chat"),
        ("ollama", "http://llm.example.com:11434/", "m", "http://llm.example.com:11434/api/chat"),
        ("ollama", "http://llm.example.com/api", "m", "http://llm.example.com/api/chat"),
        ("ollama", "http://llm.example.com/v1/", "m", "http://llm.example.com/api/chat"),
        ("ollama", "http://llm.example.com/ours/api/", "m", "http://llm.example.com/ours/api/chat"),
    ],
)
def test_urls(name: str, endpoint: str, model: str, url: str) -> None:
    suffix = ":streamGenerateContent?alt=sse" if name == "google_ai" else ""
    assert request(name, endpoint, model).url == url + suffix


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("anthropic", "x-api-key", KEY),
        ("google_ai", "x-goog-api-key", KEY),
        ("ollama", "authorization", f"Bearer {KEY}"),
    ],
)
def test_the_key_is_in_a_header(vendor: VendorServer, name: str, header: str, value: str) -> None:
    ask(call(vendor.root, "ok"), vendor=name)
    ask(call(vendor.root, "ok", api_key=""), vendor=name)
    with_key, without = vendor.requests
    assert with_key.headers[header] == value
    assert header not in without.headers
    assert KEY not in with_key.target
    assert str(with_key.headers).count(KEY) == 1


def test_anthropic_is_told_the_version() -> None:
    assert request("anthropic").headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("model", ["a/b", "..", "m?key=x", "m#x", "m x", "m%2f", "ok:ä 👋"])
def test_a_models_name_stays_within_its_place(vendor: VendorServer, model: str) -> None:
    ask(call(vendor.root, model), vendor="google_ai")
    assert vendor.models == [model]
    assert vendor.requests[0].target.endswith("?alt=sse")


SAMPLING = ("temperature", "top_p", "top_k")


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-4-7",
        "claude-opus-4-8",
        "claude-opus-5",
        "claude-sonnet-5-5",
        "claude-haiku-5-5",
        "claude-fable-5-1",
        "anthropic/claude-opus-4.7",
    ],
)
def test_claudes_that_refuse_sampling_are_not_sent_it(model: str) -> None:
    asked = request("anthropic", model=model, options=EVERYTHING)
    assert not set(SAMPLING) & set(asked.body)
    assert set(SAMPLING) <= set(asked.ignored)
    assert asked.body["stop_sequences"] == ["END", "\n"]


@pytest.mark.parametrize(
    "model",
    [
        "claude-2.1",
        "claude-3-5-haiku-latest",
        "claude-3-7-sonnet-20250219",
        "claude-opus-4-20250514",
        "claude-opus-4-1-20250805",
        "claude-sonnet-4-5-20250929",
        "claude-opus-4-6",
        "claude-sonnet-4.6",
        "deepseek-v4",
    ],
)
def test_other_models_are(model: str) -> None:
    asked = request("anthropic", model=model, options={**EVERYTHING, "temperature": 1.7})
    assert set(SAMPLING) <= set(asked.body)
    assert asked.body["temperature"] == 1.7
