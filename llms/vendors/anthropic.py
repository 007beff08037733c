"""Messages, as Anthropic speaks them, and those that offer its API."""

import re
from typing import Any
from urllib.parse import quote

from llms.vendors.adapter import Adapter, Page, Parser, Request, map_options, merge_roles, token_count
from llms.vendors.errors import VendorError
from llms.vendors.http import failure, message_in
from llms.vendors.types import Call, Usage, Vendor

ENDPOINT = "https://api.anthropic.com"
VERSION = "2023-06-01"
MAX_TOKENS = 16_000  # the API demands a limit; what a model thinks is within it. Every current model can do more
LIMITS = {"max_tokens": "max_tokens", "stop_words": "stop_sequences"}
SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}
SAMPLED = re.compile(r"claude-(instant|v?[1-3]\b|(opus|sonnet|haiku)-4(?![-.][7-9]))")  # later ones refuse SAMPLING
STATUSES = {  # of the kinds of errors, which a stream does not say
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class MessageParser(Parser):
    """Reads the events of a message, or the message that is not streamed."""

    form = "a message as Anthropic's API has it"
    reasons = {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "pause_turn": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "refusal",
    }

    def __init__(self, secret: str = "") -> None:
        super().__init__(secret)
        self._counts: dict[str, Any] = {}  # by the vendor's names; later events correct earlier ones
        self._tools: set[int] = set()  # the blocks that call one; the vendor's own tools are none of ours

    def _read(self, event: Any) -> None:
        kind = event.get("type")
        if kind == "content_block_delta":
            self._delta(event["delta"], int(event.get("index") or 0))
        elif kind == "content_block_start":
            self._block(event["content_block"], int(event.get("index") or 0))
        elif kind == "message_start":  # its output has only begun to be counted
            self._message(event["message"], {"output_tokens": None})
        elif kind == "message_delta":
            self._tally(event.get("usage") or {})
            if reason := (event.get("delta") or {}).get("stop_reason"):
                self._finish(reason)
        elif kind == "message_stop":
            self._finish("end_turn")
            self.done = True
        elif kind == "message":
            self._message(event, {})
            self._finish(event.get("stop_reason") or "end_turn")
        elif kind == "error" or event.get("error"):
            raise self._failure(event.get("error"))

    def _message(self, message: dict[str, Any], uncounted: dict[str, None]) -> None:
        for index, block in enumerate(message.get("content") or ()):
            self._block(block, index)
        self._tally({**(message.get("usage") or {}), **uncounted})

    def _block(self, block: dict[str, Any], index: int) -> None:
        """The beginning of a block, or all of one."""
        if text := block.get("text"):
            self._text(text)
        if thought := block.get("thinking"):
            self._thought(thought)
        if block.get("type") == "tool_use":
            arguments = block.get("input") or ({} if self._whole else "")
            self._tools.add(index)
            self._call(index, block.get("id"), block.get("name"), arguments)

    def _delta(self, delta: dict[str, Any], index: int) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            self._text(delta["text"])
        elif kind == "thinking_delta":
            self._thought(delta["thinking"])
        elif kind == "input_json_delta" and index in self._tools:
            self._call(index, "", "", delta["partial_json"])

    def _tally(self, counts: dict[str, Any]) -> None:
        """What is written to the cache and read from it is input that `input_tokens` leaves out."""
        self._counts |= {name: token_count(number) for name, number in counts.items() if number is not None}
        taken_in, written, cached = (
            self._counts.get(name)
            for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        total = None if taken_in is None else token_count(taken_in + (written or 0) + (cached or 0))
        usage = Usage(total or None, self._counts.get("output_tokens"), cached)  # no question has 0 tokens
        if usage != Usage(None, None, None):
            self._count(usage)

    def _failure(self, error: Any) -> VendorError:
        status = STATUSES.get(str(error.get("type"))) if isinstance(error, dict) else None
        return failure(status, message_in(error), secret=self._secret) if status else super()._failure(error)


class Anthropic(Adapter):
    parser = MessageParser

    def request(self, call: Call) -> Request:
        system, turns = merge_roles(call.turns)
        later = "claude-" in call.model and not SAMPLED.search(call.model)
        known, ignored = map_options(call.options, LIMITS if later else {**LIMITS, **SAMPLING})
        body: dict[str, Any] = {
            "model": call.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in turns],
            "max_tokens": MAX_TOKENS,
            "stream": True,
        }
        if system:
            body["system"] = system
        return Request(f"{base(call.endpoint)}/messages", headers_with(call.api_key), body | known, ignored)

    def list_request(self, endpoint: str, api_key: str, page: str) -> tuple[str, dict[str, str]]:
        after = f"&after_id={quote(page, safe='')}" if page else ""
        return f"{base(endpoint)}/models?limit=1000{after}", headers_with(api_key)

    def page_in(self, document: Any) -> Page:
        return Page([model["id"] for model in document["data"]], document.get("has_more") and document.get("last_id"))


def base(endpoint: str) -> str:
    return f"{(endpoint or ENDPOINT).rstrip('/').removesuffix('/v1')}/v1"


def headers_with(api_key: str) -> dict[str, str]:
    return {"anthropic-version": VERSION, **({"x-api-key": api_key} if api_key else {})}


ADAPTER: Vendor = Anthropic()
