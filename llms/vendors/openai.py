"""Chat completions, as OpenAI speaks them, and Azure, Mistral, vLLM, Ollama, LM Studio, llama.cpp and many more."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from llms.vendors.adapter import Adapter, ModelPage, WireRequest, map_options
from llms.vendors.api_base import api_base
from llms.vendors.http import Client
from llms.vendors.json_access import JSONObject, as_index, as_list, as_object, token_count
from llms.vendors.messages import encode_image
from llms.vendors.parser import AnswerParser
from llms.vendors.types import (
    Call,
    ChatMessage,
    ImagePart,
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
ANSWER_KEYS = frozenset({"choices", "usage"})
INPUT_NAMES = (
    "prompt_tokens",
    "input_tokens",
    "promptTokens",
    "inputTokens",
    "prompt_token_count",
    "prompt_eval_count",
)
OUTPUT_NAMES = (
    "completion_tokens",
    "output_tokens",
    "completionTokens",
    "outputTokens",
    "generated_tokens",
    "candidates_token_count",
    "eval_count",
)
CACHED_NAMES = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens", "num_cached_tokens")


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
MISTRAL = Dialect(
    {**COMMON, "seed": "random_seed"}, asks_for_usage=False
)  # refuses `stream_options`, and counts anyway
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
    whole = (b"{", b"[")
    can_end_silently = True

    def __init__(self, secret: str = "") -> None:
        super().__init__(secret)
        self._streamed: set[str] = set()  # what came in deltas

    def _load(self, data: bytes) -> object:
        if data.strip() != b"[DONE]":  # which is no JSON
            return super()._load(data)
        self._end()
        return None

    def _read(self, document: object) -> None:
        if isinstance(document, list):  # as some gateways wrap an error
            for item in document:
                self._read(item)
            return
        chunk = as_object(document)
        self._check_failure(chunk, ANSWER_KEYS)
        if "x_groq" in chunk:
            groq = as_object(chunk["x_groq"] or {})
            self._check_failure(groq, ANSWER_KEYS)
            self._read_usage(groq.get("usage"))
        choices = as_list(chunk.get("choices") or [])
        reason: object = "stop" if choices and self._whole is not None else None
        for choice in map(as_object, choices):
            if not choice.get("index"):  # the others are alternatives, for which we did not ask
                self._read_choice(choice, is_complete=chunk.get("object") == "chat.completion")
                reason = choice.get("finish_reason") or reason
        self._read_usage(chunk.get("usage"))
        if reason:
            self._finish(reason)

    def _read_choice(self, choice: JSONObject, *, is_complete: bool) -> None:
        """Read a piece in `delta`, or in `message`. A whole message can follow its pieces, and adds nothing to them."""
        if delta := choice.get("delta"):
            self._read_delta(as_object(delta), set())
            self._streamed |= self._seen
        elif message := choice.get("message"):
            self._read_delta(as_object(message), set(self._seen if is_complete else self._streamed))
        if choice.get("error"):
            raise self._failure(choice)
        self._read_usage(choice.get("usage"))  # Moonshot's place for it

    def _read_delta(self, delta: JSONObject, skipped: set[str]) -> None:
        if (thought := delta.get("reasoning_content") or delta.get("reasoning")) and "thinking" not in skipped:
            self._read_thinking(thought)
        if (content := delta.get("content")) and "text" not in skipped:
            self._read_content(content)
        if (refusal := delta.get("refusal")) and "text" not in skipped:
            self._stop = "refusal"
            self._add_text(refusal)
        if (calls := delta.get("tool_calls")) and "tool_calls" not in skipped:
            for position, call in enumerate(map(as_object, as_list(calls))):
                index = call.get("index")
                function = as_object(call.get("function") or {})
                arguments = function.get("arguments") or ""
                place = position if index is None else as_index(index)
                self._add_tool_call(place, call.get("id"), function.get("name"), arguments)

    def _read_content(self, content: object) -> None:
        """Read a text, a part, or a list of them. Mistral has parts with thinking; unknown parts can have text."""
        if isinstance(content, str):
            self._add_text(content)
        elif isinstance(content, list):
            for part in content:
                self._read_content(part)
        elif content is not None:
            part = as_object(content)
            if "thinking" in part or part.get("type") in ("thinking", "reasoning"):
                self._read_thinking(part.get("thinking") or part.get("reasoning") or part.get("text"))
            else:
                self._add_text(part.get("text") or "")

    def _read_thinking(self, thought: object) -> None:
        if isinstance(thought, list):
            for piece in thought:
                self._read_thinking(piece)
        else:
            self._add_thinking(thought.get("text") if isinstance(thought, dict) else thought)

    def _read_usage(self, counts: object) -> None:
        if not counts:
            return
        usage = as_object(counts)
        details = as_object(usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {})
        cached = token_count(details.get("cached_tokens"))
        self._add_usage(
            Usage(
                find_count(usage, INPUT_NAMES),
                find_count(usage, OUTPUT_NAMES),
                find_count(usage, CACHED_NAMES) if cached is None else cached,
            )
        )


def find_count(usage: JSONObject, names: Iterable[str]) -> int | None:
    """The count under the first of these names that has one."""
    return next((count for name in names if (count := token_count(usage.get(name))) is not None), None)


class OpenAI(Adapter):
    vendor = "OpenAI's chat completions"
    parser = CompletionParser
    pictures_in_results = False

    def request(self, call: Call) -> WireRequest:
        base, headers = self.resolve_endpoint(call.endpoint, call.api_key)
        dialect = dialect_of(base)
        names = dict(dialect.names)
        if dialect.is_openai and WANTS_COMPLETION_TOKENS.match(call.model):
            names["max_tokens"] = "max_completion_tokens"
        known, ignored = map_options(call.options, names)
        if dialect.asks_for_usage:
            known["stream_options"] = {"include_usage": True}
        if call.tools:
            known["tools"] = write_tools(call.tools)
        system, messages = self.prepare(call)
        written: list[JSONObject] = [{"role": "system", "content": system}] if system else []
        for message in messages:
            written += write_completion_messages(message)
        body = {"model": call.model, "stream": True, "messages": written, **dict(sorted(known.items()))}
        url = f"{base}/chat/completions"
        if dialect is AZURE:
            url, headers = azure_url(base), {"api-key": call.api_key} if call.api_key else {}
        return WireRequest(url, headers, body, ignored)

    async def models(self, endpoint: str, api_key: str, headers: Mapping[str, str], http: Client) -> tuple[str, ...]:
        if dialect_of(endpoint) is AZURE:
            return ()  # Azure calls models by the names of deployments, and its list has only the names of models
        return await super().models(endpoint, api_key, headers, http)

    def resolve_endpoint(self, endpoint: str, api_key: str) -> tuple[str, dict[str, str]]:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        return api_base(endpoint or ENDPOINT), headers

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
    calls: list[JSONObject] = []
    for call in message.parts:
        if isinstance(call, ToolCallPart):
            arguments = call.unparsed or json.dumps(call.arguments, ensure_ascii=False, separators=(",", ":"))
            function = {"name": call.name, "arguments": arguments}
            calls.append({"id": call.id, "type": "function", "function": function})
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.tool_call_id, "content": result.text}
    if calls:
        yield {"role": message.role, "content": message.text or None, "tool_calls": calls}
    elif any(isinstance(part, ImagePart) for part in message.parts):
        content: list[JSONObject] = []
        for part in message.parts:
            if isinstance(part, TextPart) and part.text:
                content.append({"type": "text", "text": part.text})
            elif isinstance(part, ImagePart):
                url = f"data:{part.media_type};base64,{encode_image(part)}"
                content.append({"type": "image_url", "image_url": {"url": url}})
        yield {"role": message.role, "content": content}
    elif message.text or not results:
        yield {"role": message.role, "content": message.text}


def write_tools(tools: Iterable[ToolDefinition]) -> list[JSONObject]:
    """The definitions of tools, as OpenAI has them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


@lru_cache(1_000)
def dialect_of(endpoint: str) -> Dialect:
    """How the server at this endpoint differs from OpenAI, by its host name."""
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
