"""Messages, as Anthropic speaks them, and those that offer its API."""

import re
from collections.abc import Iterable

from llms.vendors.adapter import Adapter, ModelPage, WireRequest, map_options
from llms.vendors.api_base import api_base
from llms.vendors.json_access import JSONObject, as_index, as_list, as_object, as_text, token_count
from llms.vendors.messages import encode_image
from llms.vendors.parser import AnswerParser
from llms.vendors.types import (
    Call,
    ImagePart,
    Part,
    Signature,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    Vendor,
)

ENDPOINT = "https://api.anthropic.com"
VERSION = "2023-06-01"
MAX_TOKENS = 16_000  # the API demands a limit, which includes thinking. Every current model allows more
LIMITS = {"max_tokens": "max_tokens", "stop_words": "stop_sequences"}
SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}
SAMPLED = re.compile(r"claude-(instant|v?[1-3]\b|(opus|sonnet|haiku)-4(?![-.][7-9]))")  # later ones refuse SAMPLING
ANSWER_KEYS = frozenset({"type"})


class MessageParser(AnswerParser):
    """Reads the events of a message, or a message that is not streamed."""

    form = "a message as Anthropic's API has it"

    def __init__(self, secret: str = "") -> None:
        super().__init__(secret)
        self._counts: dict[str, int | None] = {}  # by the vendor's names; later events correct earlier ones
        self._tools: set[int] = set()  # the blocks that call one of our tools; the vendor has tools of its own

    def _read(self, document: object) -> None:
        event = as_object(document)
        kind = event.get("type")
        if kind == "content_block_delta":
            delta, index = as_object(event["delta"]), as_index(event.get("index"))
            change = delta.get("type")
            if change == "text_delta":
                self._add_text(delta["text"])
            elif change == "thinking_delta":
                self._add_thinking(delta["thinking"])
            elif change == "signature_delta":
                self._events.append(Signature("thinking", as_text(delta["signature"])))
            elif change == "input_json_delta" and index in self._tools:
                self._add_tool_call(index, "", "", delta["partial_json"])
        elif kind == "content_block_start":
            self._read_block(as_object(event["content_block"]), as_index(event.get("index")))
        elif kind in ("message_start", "message"):
            message = event if kind == "message" else as_object(event["message"])
            for place, block in enumerate(as_list(message.get("content") or [])):
                self._read_block(as_object(block), place)
            counts = as_object(message.get("usage") or {})
            if kind == "message_start":
                self._count({**counts, "output_tokens": None})  # the output has only begun to be counted
            else:
                self._count(counts)
                self._finish(event.get("stop_reason") or "end_turn")
        elif kind == "message_delta":
            self._count(as_object(event.get("usage") or {}))
            if reason := as_object(event.get("delta") or {}).get("stop_reason"):
                self._finish(reason)
        elif kind == "message_stop":
            self._end()
        elif kind == "error":
            raise self._failure(event)
        else:
            self._check_failure(event, ANSWER_KEYS)

    def _read_block(self, block: JSONObject, index: int) -> None:
        """Read the beginning of a block, or a whole block."""
        if text := block.get("text"):
            self._add_text(text)
        if thought := block.get("thinking"):
            self._add_thinking(thought)
        if signature := block.get("signature"):
            self._events.append(Signature("thinking", as_text(signature)))
        kind = block.get("type")
        if kind == "redacted_thinking":
            self._events.append(Signature("redacted_thinking", as_text(block["data"])))
        elif kind == "tool_use":
            arguments = block.get("input") or ({} if self._whole else "")
            self._tools.add(index)
            self._add_tool_call(index, block.get("id"), block.get("name"), arguments)

    def _count(self, counts: JSONObject) -> None:
        """Add up the input: `input_tokens` leaves out what is written to the cache and read from it."""
        self._counts |= {name: token_count(number) for name, number in counts.items() if number is not None}
        uncached, written, cached = (
            self._counts.get(name)
            for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        total = None if uncached is None else token_count(uncached + (written or 0) + (cached or 0))
        self._add_usage(Usage(total, self._counts.get("output_tokens"), cached))


class Anthropic(Adapter):
    vendor = "Anthropic"
    parser = MessageParser
    image_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    list_path = "/models?limit=1000"
    page_parameter = "after_id"

    def request(self, call: Call) -> WireRequest:
        system, messages = self.prepare(call)
        later = "claude-" in call.model and not SAMPLED.search(call.model)
        known, ignored = map_options(call.options, LIMITS if later else {**LIMITS, **SAMPLING})
        if system:
            known["system"] = system
        if call.tools:
            known["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in call.tools
            ]
        written: list[JSONObject] = []
        for message in messages:
            content: str | list[JSONObject] = message.text
            if not all(isinstance(part, TextPart) for part in message.parts):
                # the results of tools come first, as the API demands
                parts = sorted(message.parts, key=lambda part: not isinstance(part, ToolResultPart))
                content = [*write_blocks(parts)]
            written.append({"role": message.role, "content": content})
        body = {
            "max_tokens": known.pop("max_tokens", MAX_TOKENS),
            "messages": written,
            "model": call.model,
            **dict(sorted({**known, "stream": True}.items())),
        }
        base, headers = self.resolve_endpoint(call.endpoint, call.api_key)
        return WireRequest(f"{base}/messages", headers, body, ignored)

    def resolve_endpoint(self, endpoint: str, api_key: str) -> tuple[str, dict[str, str]]:
        headers = {"anthropic-version": VERSION, **({"x-api-key": api_key} if api_key else {})}
        return f"{api_base(endpoint or ENDPOINT).removesuffix('/v1')}/v1", headers

    def read_page(self, document: object) -> ModelPage:
        page = as_object(document)
        names = [as_object(model)["id"] for model in as_list(page["data"])]
        return ModelPage(names, page.get("has_more") and page.get("last_id"))


def write_blocks(parts: Iterable[Part]) -> Iterable[JSONObject]:
    """The content blocks of a message, as Anthropic has them."""
    for part in parts:
        if isinstance(part, TextPart) and part.text:
            yield {"type": "text", "text": part.text}
        elif isinstance(part, ImagePart):
            source = {"type": "base64", "media_type": part.media_type, "data": encode_image(part)}
            yield {"type": "image", "source": source}
        elif isinstance(part, ThinkingPart) and part.redacted:
            yield {"type": "redacted_thinking", "data": part.signature}
        elif isinstance(part, ThinkingPart) and part.signature:  # thinking without a signature is refused
            yield {"type": "thinking", "thinking": part.text, "signature": part.signature}
        elif isinstance(part, ToolCallPart):
            yield {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
        elif isinstance(part, ToolResultPart):
            content = [*write_blocks((TextPart(part.text), part.image))] if part.image else part.text
            error = {"is_error": True} if part.is_error else {}
            yield {"type": "tool_result", "tool_use_id": part.tool_call_id, "content": content, **error}


ADAPTER: Vendor = Anthropic()
