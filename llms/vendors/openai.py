"""Chat completions, as OpenAI speaks them, and Azure, Mistral, vLLM, Ollama, LM Studio, llama.cpp and many more."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from llms.vendors.adapter import Adapter, ModelPage, WireRequest, map_options
from llms.vendors.errors import VendorError
from llms.vendors.http import Client
from llms.vendors.json_access import JSONObject, as_index, as_list, as_object, token_count
from llms.vendors.messages import encode_image
from llms.vendors.parser import AnswerParser
from llms.vendors.types import (
    Call,
    ChatMessage,
    ImagePart,
    Part,
    TextPart,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    Usage,
    Vendor,
)

ENDPOINT = "https://api.openai.com/v1"
AZURE_VERSION = "2024-10-21"  # the last general version with a date; URLs under /openai/v1 need none
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
    """The names that an endpoint has for our settings, and whether it counts tokens only when asked."""

    names: Mapping[str, str]
    asks_for_usage: bool = True
    is_openai: bool = False  # serves OpenAI's models, some of which have another name for max_tokens


COMMON = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "top_p": "top_p",
    "seed": "seed",
    "stop_words": "stop",
}
OPENAI = Dialect(COMMON, is_openai=True)
AZURE = Dialect(COMMON, is_openai=True)
MISTRAL = Dialect({**COMMON, "seed": "random_seed"}, asks_for_usage=False)  # refuses the question, and counts anyway
OTHERS = Dialect({**COMMON, "top_k": "top_k", "repetition_penalty": "repetition_penalty", "min_length": "min_tokens"})
DIALECTS = {  # by host; holds for subdomains too
    "api.openai.com": OPENAI,
    "api.mistral.ai": MISTRAL,
    "openai.azure.com": AZURE,
    "cognitiveservices.azure.com": AZURE,
    "services.ai.azure.com": AZURE,
}


class CompletionParser(AnswerParser):
    """Reads the chunks of a completion, or a completion that is not streamed."""

    form = "a chat completion"
    reasons = REASONS

    def _load(self, data: bytes) -> object:
        if data.strip() != b"[DONE]":  # which is no JSON
            return super()._load(data)
        self.done = True
        self._finish("stop")
        self._flush_halves()
        return {}

    def _read(self, document: object) -> None:
        chunk = as_object(document)
        if error := chunk.get("error"):
            raise self._failure(error)
        if "choices" not in chunk and "usage" not in chunk:
            if chunk.get("object") == "error" or "message" in chunk:
                raise self._failure(chunk)
            return
        choices = as_list(chunk.get("choices") or [])
        reason: object = "stop" if choices and self._whole is not None else None
        for choice in map(as_object, choices):
            if not choice.get("index"):  # the others are alternatives, for which we did not ask
                if delta := choice.get("delta") or choice.get("message"):
                    self._read_delta(as_object(delta))
                reason = choice.get("finish_reason") or reason
        usage = chunk.get("usage")
        if "x_groq" in chunk and not usage:
            usage = as_object(chunk["x_groq"] or {}).get("usage")
        if usage:
            self._read_usage(as_object(usage))
        if reason == "error":
            raise VendorError("vendor_error", "The vendor ended the answer with an error.")
        if reason:
            self._finish(reason)

    def _read_delta(self, delta: JSONObject) -> None:
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self._add_thinking(thought)
        if content := delta.get("content"):
            if isinstance(content, str):
                self._add_text(content)
            else:
                self._read_parts(as_list(content))
        if refusal := delta.get("refusal"):
            self._stop = "refusal"
            self._add_text(refusal)
        if calls := delta.get("tool_calls"):
            for position, call in enumerate(map(as_object, as_list(calls))):
                index = call.get("index")
                function = as_object(call.get("function") or {})
                arguments = function.get("arguments") or ""
                place = position if index is None else as_index(index)
                self._add_tool_call(place, call.get("id"), function.get("name"), arguments)

    def _read_parts(self, parts: list[object]) -> None:
        """Read content as Mistral sends it where a model thinks."""
        for part in map(as_object, parts):
            if part.get("type") == "text":
                self._add_text(part["text"])
            elif part.get("type") == "thinking":
                for thought in map(as_object, as_list(part["thinking"])):
                    self._add_thinking(thought.get("text"))

    def _read_usage(self, usage: JSONObject) -> None:
        cached = as_object(usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        self._add_usage(
            Usage(
                token_count(usage.get("prompt_tokens")),
                token_count(usage.get("completion_tokens")),
                token_count(usage.get("prompt_cache_hit_tokens") if cached is None else cached),
            )
        )


class OpenAI(Adapter):
    vendor = "OpenAI's chat completions"
    parser = CompletionParser
    pictures_in_results = False

    def request(self, call: Call) -> WireRequest:
        endpoint = (call.endpoint or ENDPOINT).rstrip("/")
        dialect = dialect_of(endpoint)
        names = dict(dialect.names)
        if dialect.is_openai and WANTS_COMPLETION_TOKENS.match(call.model):
            names["max_tokens"] = "max_completion_tokens"
        known, ignored = map_options(call.options, names)
        if dialect.asks_for_usage:
            known["stream_options"] = {"include_usage": True}
        if call.tools:
            known["tools"] = write_tools(call.tools)
        messages = [written for message in self.prepare(call.turns) for written in write_completion_messages(message)]
        body = {"model": call.model, "stream": True, "messages": messages, **dict(sorted(known.items()))}
        url, headers = f"{endpoint}/chat/completions", {"Authorization": f"Bearer {call.api_key}"}
        if dialect is AZURE:
            url, headers = azure_url(endpoint), {"api-key": call.api_key}
        return WireRequest(url, headers if call.api_key else {}, body, ignored)

    async def models(self, endpoint: str, api_key: str, http: Client) -> tuple[str, ...]:
        if dialect_of(endpoint) is AZURE:
            return ()  # models are called by the names of deployments there, and the list has only the models
        return await super().models(endpoint, api_key, http)

    def list_request(self, endpoint: str, api_key: str, page: str) -> tuple[str, dict[str, str]]:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        return f"{(endpoint or ENDPOINT).rstrip('/')}/models", headers

    def read_page(self, document: object) -> ModelPage:
        models = document if isinstance(document, list) else as_object(document)["data"]  # Together sends a bare list
        return ModelPage(
            [
                model["id"]
                for model in map(as_object, as_list(models or []))
                if as_object(model.get("capabilities") or {}).get("completion_chat", True)  # Mistral says it
            ]
        )


def write_completion_messages(message: ChatMessage) -> Iterable[JSONObject]:
    """The message as OpenAI has it: each result of a tool is a message of its own, before the rest."""
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.tool_call_id, "content": result.text}
    if calls:
        yield {"role": message.role, "content": message.text or None, "tool_calls": [*map(write_tool_call, calls)]}
    elif any(isinstance(part, ImagePart) for part in message.parts):
        yield {"role": message.role, "content": [*write_content_parts(message.parts)]}
    elif message.text or not results:
        yield {"role": message.role, "content": message.text}


def write_content_parts(parts: Iterable[Part]) -> Iterable[JSONObject]:
    for part in parts:
        if isinstance(part, TextPart) and part.text:
            yield {"type": "text", "text": part.text}
        elif isinstance(part, ImagePart):
            url = f"data:{part.media_type};base64,{encode_image(part)}"
            yield {"type": "image_url", "image_url": {"url": url}}


def write_tool_call(call: ToolCallPart) -> JSONObject:
    arguments = call.unparsed or json.dumps(call.arguments, ensure_ascii=False, separators=(",", ":"))
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def write_tools(tools: Iterable[ToolDefinition]) -> list[JSONObject]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


@lru_cache(1_000)
def dialect_of(endpoint: str) -> Dialect:
    host = urlsplit(endpoint).hostname or ""
    return next((known for name, known in DIALECTS.items() if f".{host}".endswith(f".{name}")), OTHERS)


def azure_url(endpoint: str) -> str:
    """Azure's URL: under /openai/v1, or, the older form, under a deployment and with a version in the query."""
    if "/openai/deployments/" in endpoint:
        return f"{endpoint}/chat/completions?api-version={AZURE_VERSION}"
    if urlsplit(endpoint).path in ("", "/openai"):
        endpoint = f"{endpoint.removesuffix('/openai')}/openai/v1"
    return f"{endpoint}/chat/completions"


ADAPTER: Vendor = OpenAI()
