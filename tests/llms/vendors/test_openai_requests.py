"""What is sent: all that is set, and nothing else."""

from typing import Any

import pytest

from llms.vendors.openai import ADAPTER, OpenAI
from llms.vendors.types import Call, IgnoredSettings, text_message
from tests.llms.vendors.asking import KEY, ask, call, sent
from tests.vendor_server import VendorServer

EVERYTHING = {
    "temperature": 0.0,
    "max_tokens": 100,
    "top_p": 0,
    "top_k": 0,
    "min_length": 0,
    "repetition_penalty": 0.0,
    "seed": 0,
    "stop_words": ["END", "\n"],
}


def body_for(endpoint: str, model: str = "m", **options: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = OpenAI().request(call(endpoint, model, options=options))
    return sent(request.body), request.ignored


def test_only_what_is_set(vendor: VendorServer) -> None:
    ask(call(vendor.url, "ok"))
    assert vendor.requests[0].body == {
        "model": "ok",
        "messages": [{"role": "user", "content": "Hello there"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_zero_is_a_value(vendor: VendorServer) -> None:
    asked = ask(call(vendor.url, "ok", options=EVERYTHING))
    assert sent(vendor.requests[0].body) == {
        "temperature": 0.0,
        "max_tokens": 100,
        "top_p": 0,
        "top_k": 0,
        "min_tokens": 0,
        "repetition_penalty": 0.0,
        "seed": 0,
        "stop": ["END", "\n"],
    }
    assert type(asked.values[0]) is not IgnoredSettings


def test_the_conversation_is_sent_as_it_is(vendor: VendorServer) -> None:
    texts = ['Be "brief"\\n', "a\r\n\tb\x01", "👋🏽 \u2028 null", " "]
    turns = (
        text_message("system", texts[0]),
        text_message("user", texts[1]),
        text_message("assistant", texts[2]),
        text_message("user", texts[3]),
    )
    ask(call(vendor.url, "ok", turns=turns))
    assert [message["content"] for message in vendor.requests[0].body["messages"]] == texts
    assert [message["role"] for message in vendor.requests[0].body["messages"]] == [turn.role for turn in turns]


def test_headers(vendor: VendorServer) -> None:
    ask(call(f"{vendor.url}//", "ok"))
    ask(call(vendor.url, "ok", api_key=""))
    with_key, without = vendor.requests
    assert with_key.target == "/v1/chat/completions"
    assert with_key.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in without.headers
    assert with_key.headers["user-agent"] == "AI-Studio"
    assert with_key.headers["accept-encoding"] == "identity"
    assert with_key.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "endpoint",
    ["https://api.openai.com/v1", "https://eu.api.openai.com/v1", "https://house.openai.azure.com/openai/v1"],
)
def test_openai_is_not_sent_what_it_does_not_know(endpoint: str) -> None:
    body, ignored = body_for(endpoint, "gpt-4o", **EVERYTHING)
    assert set(body) == {"temperature", "max_tokens", "top_p", "seed", "stop"}
    assert ignored == ("top_k", "min_length", "repetition_penalty")


def test_what_is_left_out_is_said_first() -> None:
    async def first(asked: Call) -> Any:
        return await anext(ADAPTER.stream(asked, None))  # type: ignore[arg-type]

    with pytest.raises(StopIteration) as caught:
        first(call("", "gpt-4o", options={"top_k": 5, "temperature": 1})).send(None)
    assert caught.value.value == IgnoredSettings(("top_k",))


@pytest.mark.parametrize(
    "model", ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.2-pro", "ft:gpt-5-mini:house"]
)
def test_models_that_reason_have_another_name_for_the_limit(model: str) -> None:
    assert body_for("https://api.openai.com/v1", model, max_tokens=5)[0] == {"max_completion_tokens": 5}
    assert body_for("https://llm.example.com/v1", model, max_tokens=5)[0] == {"max_tokens": 5}


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4.1", "gpt-3.5-turbo", "chatgpt-4o-latest", "ft:gpt-4o:house", "omni"]
)
def test_other_models_have_not(model: str) -> None:
    assert body_for("https://api.openai.com/v1", model, max_tokens=5)[0] == {"max_tokens": 5}


def test_mistral_refuses_what_it_does_not_know() -> None:
    endpoint = "https://api.mistral.ai/v1"
    body, ignored = body_for(endpoint, "mistral-small", **EVERYTHING)
    assert "stream_options" not in OpenAI().request(call(endpoint, "mistral-small")).body
    assert body == {"temperature": 0.0, "max_tokens": 100, "top_p": 0, "random_seed": 0, "stop": ["END", "\n"]}
    assert ignored == ("top_k", "min_length", "repetition_penalty")


@pytest.mark.parametrize("endpoint", ["https://api.openai.com.evil.example/v1", "https://myapi.openai.com/v1"])
def test_a_host_is_known_by_its_whole_name(endpoint: str) -> None:
    assert body_for(endpoint, "o1", top_k=1) == ({"top_k": 1}, ())


AZURES = ("house.openai.azure.com", "house.cognitiveservices.azure.com", "house.services.ai.azure.com")


@pytest.mark.parametrize("host", AZURES)
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/openai/v1/chat/completions"),
        ("/", "/openai/v1/chat/completions"),
        ("/openai", "/openai/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("/openai/v1/", "/openai/v1/chat/completions"),
        ("/openai/deployments/ours", "/openai/deployments/ours/chat/completions?api-version=2024-10-21"),
        ("/openai/deployments/ours/", "/openai/deployments/ours/chat/completions?api-version=2024-10-21"),
        (
            "/openai/deployments/ours/chat/completions",
            "/openai/deployments/ours/chat/completions?api-version=2024-10-21",
        ),
        ("/openai/v1/chat/completions", "/openai/v1/chat/completions"),
        ("/models", "/models/chat/completions"),
    ],
)
def test_azure(host: str, path: str, asked: str) -> None:
    request = OpenAI().request(call(f"https://{host}{path}", "gpt-5", options=EVERYTHING))
    assert request.url == f"https://{host}{asked}"
    assert request.headers == {"api-key": KEY}
    assert set(sent(request.body)) == {"temperature", "max_completion_tokens", "top_p", "seed", "stop"}
    assert request.ignored == ("top_k", "min_length", "repetition_penalty")


@pytest.mark.parametrize(
    ("pasted", "asked"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions//", "/v1/chat/completions"),
        ("/api/v3/chat/completions", "/api/v3/chat/completions"),
        ("/v1/completions", "/v1/chat/completions"),
        ("/v1/responses", "/v1/chat/completions"),
        ("/v1/models", "/v1/chat/completions"),
        ("/completions", "/completions/chat/completions"),  # it can be the name of a gateway's route
        ("/chat/completions/v1", "/chat/completions/v1/chat/completions"),
    ],
)
def test_an_endpoint_that_is_pasted_with_the_path_of_a_request(pasted: str, asked: str) -> None:
    assert OpenAI().request(call(f"https://llm.example.com{pasted}", "m")).url == f"https://llm.example.com{asked}"


def test_no_key_is_no_header_at_azure_either() -> None:
    assert OpenAI().request(call("https://house.openai.azure.com/openai/v1", "m", api_key="")).headers == {}


def test_the_path_is_azures_only_at_azure() -> None:
    request = OpenAI().request(call("https://openai.azure.com.example/openai/deployments/ours", "m"))
    assert request.url == "https://openai.azure.com.example/openai/deployments/ours/chat/completions"
    assert request.headers == {"Authorization": f"Bearer {KEY}"}


def test_a_call_does_not_show_its_key() -> None:
    assert "canary" not in repr(call("", "m"))
