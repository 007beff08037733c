"""Gemini's streamGenerateContent, as Google AI speaks it."""

import re
from typing import Any
from urllib.parse import quote

from llms.vendors.adapter import Adapter, Page, Parser, Request, map_options, merge_roles, token_count
from llms.vendors.errors import VendorError
from llms.vendors.http import OWN_WORDS
from llms.vendors.types import Call, Usage, Vendor

ENDPOINT = "https://generativelanguage.googleapis.com"
VERSION = "v1beta"  # where the endpoint names none
NAMES = {
    "temperature": "temperature",
    "max_tokens": "maxOutputTokens",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "stop_words": "stopSequences",
}
ROLES = {"user": "user", "assistant": "model"}
WRONG_KEY = re.compile(r"api key (not valid|not found|expired)", re.IGNORECASE)
BROKEN = {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL"}  # a model's slips, gone when retried


class GeminiParser(Parser):
    """Reads the stream of partial answers, or the list of them that comes where no event stream does."""

    form = "an answer as Gemini's API has it"
    reasons = {
        "stop": "stop",
        "max_tokens": "length",
        "safety": "content_filter",
        "recitation": "content_filter",
        "blocklist": "content_filter",
        "prohibited_content": "content_filter",
        "spii": "content_filter",
        "image_safety": "content_filter",
        "image_prohibited_content": "content_filter",
        "image_recitation": "content_filter",
    }
    whole = (b"{", b"[")

    def __init__(self, secret: str = "") -> None:
        super().__init__(secret)
        self._calls = 0

    def _read(self, answer: Any) -> None:
        if type(answer) is list:
            for part in answer:
                self._read(part)
            return
        if error := answer.get("error"):
            raise self._failure(error)
        reason = None
        candidates = answer.get("candidates") or ()
        for candidate in candidates:
            if not candidate.get("index"):  # others are alternatives that nobody asked for
                for part in (candidate.get("content") or {}).get("parts") or ():
                    self._part(part)
                reason = candidate.get("finishReason")
        self._count(usage_in(answer))
        if reason in BROKEN:
            raise VendorError("vendor_error", f"The model broke off its answer: {reason}.")
        if not candidates and (answer.get("promptFeedback") or {}).get("blockReason"):
            reason = "SAFETY"  # whatever the block is called, nothing was let through
        if reason:
            self._finish(reason)

    def _part(self, part: dict[str, Any]) -> None:
        if call := part.get("functionCall"):
            self._call(self._calls, call.get("id"), call.get("name"), call.get("args") or {})
            self._calls += 1
            self._stop = "tool_calls"
        elif text := part.get("text"):
            (self._thought if part.get("thought") else self._text)(text)


def usage_in(answer: dict[str, Any]) -> Usage | None:
    """What was counted so far; what a model thinks is output, and not among its candidates' tokens."""
    counts = answer.get("usageMetadata")
    if not counts:
        return None
    given_out = [token_count(counts.get(name)) for name in ("candidatesTokenCount", "thoughtsTokenCount")]
    output = None if given_out == [None, None] else token_count(sum(filter(None, given_out)))
    return Usage(
        token_count(counts.get("promptTokenCount")), output, token_count(counts.get("cachedContentTokenCount"))
    )


class GoogleAI(Adapter):
    parser = GeminiParser

    def request(self, call: Call) -> Request:
        system, turns = merge_roles(call.turns)
        known, ignored = map_options(call.options, NAMES)
        body: dict[str, Any] = {
            "contents": [{"role": ROLES[turn.role], "parts": [{"text": turn.text}]} for turn in turns]
        }
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if known:
            body["generationConfig"] = known
        model = quote(self.listed_as(call.model), safe="")
        url = f"{base(call.endpoint)}/models/{model}:streamGenerateContent?alt=sse"
        return Request(url, headers_with(call.api_key), body, ignored)

    def list_request(self, endpoint: str, api_key: str, page: str) -> tuple[str, dict[str, str]]:
        token = f"&pageToken={quote(page, safe='')}" if page else ""
        return f"{base(endpoint)}/models?pageSize=1000{token}", headers_with(api_key)

    def page_in(self, document: Any) -> Page:
        chatting = [
            self.listed_as(model["name"])
            for model in document.get("models") or ()  # an empty page has none
            if "generateContent" in model.get("supportedGenerationMethods", ("generateContent",))
        ]
        return Page(chatting, document.get("nextPageToken"))

    def listed_as(self, model: str) -> str:
        return model.removeprefix("models/")

    def explained(self, error: VendorError) -> VendorError:
        """A wrong key is a bad request to Google."""
        if error.code == "bad_request" and WRONG_KEY.search(error.detail):
            return VendorError("unauthorized", OWN_WORDS[401], taken=error.taken)
        return error


def base(endpoint: str) -> str:
    endpoint = (endpoint or ENDPOINT).rstrip("/")
    return endpoint if re.search(r"/v\d\w*$", endpoint) else f"{endpoint}/{VERSION}"


def headers_with(api_key: str) -> dict[str, str]:
    return {"x-goog-api-key": api_key} if api_key else {}


ADAPTER: Vendor = GoogleAI()
