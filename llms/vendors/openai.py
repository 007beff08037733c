"""Chat completions, as OpenAI speaks them, and Azure, Mistral, vLLM, Ollama, LM Studio, llama.cpp and many more."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from llms.vendors.adapter import Adapter, Page, Parser, Request, map_options, token_count
from llms.vendors.errors import VendorError
from llms.vendors.http import Client
from llms.vendors.types import Call, Usage, Vendor

ENDPOINT = "https://api.openai.com/v1"
AZURE_VERSION = "2024-10-21"  # the last general one with a date; what is under /openai/v1 needs none
WANTS_COMPLETION_TOKENS = re.compile(r"(ft:)?(o\d|gpt-([5-9]|\d\d))")
REASONS = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "refusal": "refusal",
}


class Dialect(NamedTuple):
    """What an endpoint calls our settings, and whether it must be asked to count tokens."""

    names: Mapping[str, str]
    asks_for_usage: bool = True
    is_openai: bool = False  # with OpenAI's own models, some of which have another name for max_tokens


COMMON = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "top_p": "top_p",
    "seed": "seed",
    "stop_words": "stop",
}
OPENAI = Dialect(COMMON, is_openai=True)
AZURE = Dialect(COMMON, is_openai=True)
MISTRAL = Dialect({**COMMON, "seed": "random_seed"}, asks_for_usage=False)  # refuses to be asked, and counts anyway
OTHERS = Dialect({**COMMON, "top_k": "top_k", "repetition_penalty": "repetition_penalty", "min_length": "min_tokens"})
DIALECTS = {  # of hosts, and of those below them
    "api.openai.com": OPENAI,
    "api.mistral.ai": MISTRAL,
    "openai.azure.com": AZURE,
    "cognitiveservices.azure.com": AZURE,
    "services.ai.azure.com": AZURE,
}


class CompletionParser(Parser):
    """Reads the chunks of a completion, or the completion that is not streamed."""

    form = "a chat completion"
    reasons = REASONS

    def _loads(self, data: bytes) -> Any:
        if data.strip() != b"[DONE]":  # which is no JSON
            return super()._loads(data)
        self.done = True
        self._finish("stop")
        self._leave_over()
        return {}

    def _read(self, chunk: Any) -> None:
        if error := chunk.get("error"):
            raise self._failure(error)
        if "choices" in chunk or "usage" in chunk:
            self._chunk(chunk)
        elif chunk.get("object") == "error" or "message" in chunk:
            raise self._failure(chunk)

    def _chunk(self, chunk: dict[str, Any]) -> None:
        choices = chunk.get("choices") or ()
        reason = "stop" if choices and self._whole is not None else None
        for choice in choices:
            if not choice.get("index"):  # others are alternatives that nobody asked for
                if delta := choice.get("delta") or choice.get("message"):
                    self._delta(delta)
                reason = choice.get("finish_reason") or reason
        if chunk.get("usage") or "x_groq" in chunk:
            self._count(usage_in(chunk))
        if reason == "error":
            raise VendorError("vendor_error", "The vendor ended the answer with an error.")
        if reason:
            self._finish(reason)

    def _delta(self, delta: dict[str, Any]) -> None:
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self._thought(thought)
        if content := delta.get("content"):
            if type(content) is str:
                self._text(content)
            else:
                self._parts(content)
        if refusal := delta.get("refusal"):
            self._stop = "refusal"
            self._text(refusal)
        if calls := delta.get("tool_calls"):
            for position, call in enumerate(calls):
                self._tool_call(call, position)

    def _parts(self, parts: list[dict[str, Any]]) -> None:
        """Mistral's content, where a model thinks."""
        for part in parts:
            if part.get("type") == "text":
                self._text(part["text"])
            elif part.get("type") == "thinking":
                for thought in part["thinking"]:
                    self._thought(thought.get("text"))

    def _tool_call(self, call: dict[str, Any], position: int) -> None:
        index = call.get("index")
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        self._call(position if index is None else int(index), call.get("id"), function.get("name"), arguments)


def usage_in(chunk: dict[str, Any]) -> Usage | None:
    usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    return Usage(
        token_count(usage.get("prompt_tokens")),
        token_count(usage.get("completion_tokens")),
        token_count(usage.get("prompt_cache_hit_tokens") if cached is None else cached),
    )


class OpenAI(Adapter):
    parser = CompletionParser

    def request(self, call: Call) -> Request:
        endpoint = (call.endpoint or ENDPOINT).rstrip("/")
        dialect = dialect_of(endpoint)
        names = dict(dialect.names)
        if dialect.is_openai and WANTS_COMPLETION_TOKENS.match(call.model):
            names["max_tokens"] = "max_completion_tokens"
        known, ignored = map_options(call.options, names)
        body: dict[str, Any] = {
            "model": call.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in call.turns],
            "stream": True,
        }
        if dialect.asks_for_usage:
            body["stream_options"] = {"include_usage": True}
        url, headers = f"{endpoint}/chat/completions", {"Authorization": f"Bearer {call.api_key}"}
        if dialect is AZURE:
            url, headers = azure_url(endpoint), {"api-key": call.api_key}
        return Request(url, headers if call.api_key else {}, body | known, ignored)

    async def models(self, endpoint: str, api_key: str, http: Client) -> tuple[str, ...]:
        if dialect_of(endpoint) is AZURE:
            return ()  # it is called by names of deployments, and lists the models that could be deployed
        return await super().models(endpoint, api_key, http)

    def list_request(self, endpoint: str, api_key: str, page: str) -> tuple[str, dict[str, str]]:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        return f"{(endpoint or ENDPOINT).rstrip('/')}/models", headers

    def page_in(self, document: Any) -> Page:
        listed = document if type(document) is list else document["data"]  # Together sends it bare
        # Mistral says what a model can do
        return Page(
            [model["id"] for model in listed or () if (model.get("capabilities") or {}).get("completion_chat", True)]
        )


@lru_cache(1_000)
def dialect_of(endpoint: str) -> Dialect:
    host = urlsplit(endpoint).hostname or ""
    return next((known for name, known in DIALECTS.items() if f".{host}".endswith(f".{name}")), OTHERS)


def azure_url(endpoint: str) -> str:
    """Where Azure takes questions: under /openai/v1, or, as before, under a deployment, with a version in the query."""
    if "/openai/deployments/" in endpoint:
        return f"{endpoint}/chat/completions?api-version={AZURE_VERSION}"
    if urlsplit(endpoint).path in ("", "/openai"):
        endpoint = f"{endpoint.removesuffix('/openai')}/openai/v1"
    return f"{endpoint}/chat/completions"


ADAPTER: Vendor = OpenAI()
