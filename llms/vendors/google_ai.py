"""Gemini's streamGenerateContent, as Google AI speaks it."""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from llms.vendors.adapter import PARTS_WITH_PICTURES, Adapter, ModelPage, WireRequest, map_options
from llms.vendors.api_base import api_base
from llms.vendors.errors import VendorError, redact
from llms.vendors.json_access import JSONObject, as_list, as_object, as_text, token_count
from llms.vendors.parser import LONGEST_REASON, AnswerParser
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

ENDPOINT = "https://generativelanguage.googleapis.com"
VERSION = "v1beta"  # if the endpoint names none
NAMES = {
    "temperature": "temperature",
    "max_tokens": "maxOutputTokens",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "stop_words": "stopSequences",
}
ROLES = {"user": "user", "assistant": "model"}
COUNTS = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
ANSWER_KEYS = frozenset({"candidates", "promptFeedback", "usageMetadata"})


class GeminiParser(AnswerParser):
    """Reads the stream of partial answers, or their list, which comes where the server does not know `alt=sse`."""

    form = "an answer as Gemini's API has it"
    whole = (b"{", b"[")

    _calls = 0  # of tools, so far

    def _read(self, document: object) -> None:
        if isinstance(document, list):
            for part in document:
                self._read(part)
            return
        answer = as_object(document)
        self._check_failure(answer, ANSWER_KEYS)
        reason: object = None
        candidates = as_list(answer.get("candidates") or [])
        for candidate in map(as_object, candidates):
            if not candidate.get("index"):  # the others are alternatives, for which we did not ask
                for part in as_list(as_object(candidate.get("content") or {}).get("parts") or []):
                    self._read_part(as_object(part))
                reason = candidate.get("finishReason")
        if counts := answer.get("usageMetadata"):
            usage = as_object(counts)
            taken, cached, *outputs = map(token_count, map(usage.get, COUNTS))
            # thinking is output, but not among the tokens of the candidates
            output = None if outputs == [None, None] else token_count(sum(filter(None, outputs)))
            self._add_usage(Usage(taken, output, cached))
        if not candidates and (block := as_object(answer.get("promptFeedback") or {}).get("blockReason")):
            if not self._has_words:
                words = redact(as_text(block), self._secret)[:LONGEST_REASON]
                raise VendorError("incomplete", f"The vendor blocked the question: {words}.")
            reason = "SAFETY"  # whatever the block is called, nothing more was let through
        if reason:
            self._finish(reason)

    def _read_part(self, part: JSONObject) -> None:
        signature = as_text(part.get("thoughtSignature") or "")
        if part.get("functionCall"):
            call = as_object(part["functionCall"])
            self._add_tool_call(self._calls, call.get("id"), call.get("name"), call.get("args") or {})
            self._calls += 1
            self._stop = "tool_calls"
            if signature:
                self._events.append(Signature("tool_call", signature))
            return
        if text := part.get("text"):
            (self._add_thinking if part.get("thought") else self._add_text)(text)
        if signature:
            self._events.append(Signature("thinking" if part.get("thought") else "text", signature))


class GoogleAI(Adapter):
    vendor = "Google AI"
    parser = GeminiParser
    parts = PARTS_WITH_PICTURES
    wrong_key = re.compile(r"api key (not valid|not found|expired)", re.IGNORECASE)
    list_path = "/models?pageSize=1000"
    page_parameter = "pageToken"

    def request(self, call: Call) -> WireRequest:
        system, messages = self.prepare(call)
        known, ignored = map_options(call.options, NAMES)
        body: JSONObject = {
            "contents": [
                {"parts": [*write_gemini_parts(message.parts)], "role": ROLES[message.role]} for message in messages
            ]
        }
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}], "role": "user"}
        if call.tools:
            declarations = [
                {"description": tool.description, "name": tool.name, "parameters_json_schema": tool.parameters}
                for tool in call.tools
            ]
            body["tools"] = [{"functionDeclarations": declarations}]
        if known:
            body["generationConfig"] = known
        model = quote(self.canonical_name(call.model), safe="")
        base, headers = self.resolve_endpoint(call.endpoint, call.api_key)
        return WireRequest(f"{base}/models/{model}:streamGenerateContent?alt=sse", headers, body, ignored)

    def encode(self, body: JSONObject) -> bytes:
        return json.dumps(body).encode()  # as Google's own client writes JSON: only ASCII

    def resolve_endpoint(self, endpoint: str, api_key: str) -> tuple[str, dict[str, str]]:
        base = api_base(endpoint or ENDPOINT)
        if not re.search(r"/v\d\w*$", base):
            base = f"{base}/{VERSION}"
        return base, {"x-goog-api-key": api_key} if api_key else {}

    def read_page(self, document: object) -> ModelPage:
        page = as_object(document)
        names: list[object] = [
            self.canonical_name(as_text(model["name"]))
            for model in map(as_object, as_list(page.get("models") or []))  # an empty page has none
            if "generateContent" in as_list(model.get("supportedGenerationMethods", ["generateContent"]))
        ]
        return ModelPage(names, page.get("nextPageToken"))

    def canonical_name(self, model: str) -> str:
        return model.removeprefix("models/")


def write_gemini_parts(parts: Iterable[Part]) -> Iterable[JSONObject]:
    """The parts with the names that Google's own client writes, which mixes two spellings."""
    for part in parts:
        written: JSONObject
        if isinstance(part, TextPart):
            written = {"text": part.text}
        elif isinstance(part, ImagePart):
            written = {
                "inlineData": {"data": base64.urlsafe_b64encode(part.data).decode(), "mime_type": part.media_type}
            }
        elif isinstance(part, ThinkingPart) and not part.redacted:
            written = {"text": part.text, "thought": True}
        elif isinstance(part, ToolCallPart):
            identity = {"id": part.id} if part.id else {}
            written = {"functionCall": {**identity, "args": part.arguments, "name": part.name}}
        elif isinstance(part, ToolResultPart):
            response: JSONObject = {}
            if part.image:
                data = base64.urlsafe_b64encode(part.image.data).decode()
                response["parts"] = [{"inline_data": {"mime_type": part.image.media_type, "data": data}}]
            if part.tool_call_id:
                response["id"] = part.tool_call_id
            outcome = {"error" if part.is_error else "output": part.text}
            written = {"functionResponse": {**response, "name": part.name, "response": outcome}}
        else:  # thinking that another vendor encrypted
            continue
        if isinstance(part, TextPart | ThinkingPart | ToolCallPart) and part.signature:
            written["thoughtSignature"] = part.signature
        yield written


ADAPTER: Vendor = GoogleAI()
