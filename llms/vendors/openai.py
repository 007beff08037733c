"""Chat completions, as OpenAI speaks them, and Azure, Mistral, vLLM, Ollama, LM Studio, llama.cpp and many more."""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from llms.vendors.base import Call, Finish, Ignored, Reasoning, Text, ToolCall, Usage, Value, Vendor, VendorError
from llms.vendors.http import Client, failure, message_in, shown
from llms.vendors.sse import Events

ENDPOINT = "https://api.openai.com/v1"
LONGEST_BODY = 16 * 2**20  # bytes of an answer that is not streamed
LONGEST_REASON = 50
LARGEST_COUNT = 2**31 - 1
UNKNOWN = "\ufffd"  # stands for what is no character, and for NUL, which no database holds
WANTS_COMPLETION_TOKENS = re.compile(r"(ft:)?(o\d|gpt-([5-9]|\d\d))")
REASONS = {
    "stop": "stop",
    "eos": "stop",
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


Of = type[Text] | type[Reasoning] | int  # what a piece of text belongs to; a call of a tool by its index


class Dialect(NamedTuple):
    """What an endpoint calls our settings, and whether it must be asked to count tokens."""

    names: Mapping[str, str]
    asks_for_usage: bool = True


COMMON = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "top_p": "top_p",
    "seed": "seed",
    "stop_words": "stop",
}
OPENAI = Dialect(COMMON)
MISTRAL = Dialect(
    {**COMMON, "seed": "random_seed"}, asks_for_usage=False
)  # refuses what it does not know; counts anyway
OTHERS = Dialect({**COMMON, "top_k": "top_k", "repetition_penalty": "repetition_penalty", "min_length": "min_tokens"})
DIALECTS = {"api.openai.com": OPENAI, "openai.azure.com": OPENAI, "api.mistral.ai": MISTRAL}  # and hosts below them


class OpenAI:
    async def stream(self, call: Call, http: Client) -> AsyncGenerator[Value, None]:
        endpoint = (call.endpoint or ENDPOINT).rstrip("/")
        body, ignored = request(call, dialect_of(endpoint))
        if ignored:
            yield Ignored(ignored)
        headers = {"Authorization": f"Bearer {call.api_key}"} if call.api_key else {}
        parser = Parser(call.api_key)
        url = f"{endpoint}/chat/completions"
        async with http.post(url, orjson.dumps(body), headers=headers, secret=call.api_key) as answer:
            while not parser.done and (chunk := await answer.read()):
                for value in parser.feed(chunk):
                    yield value
            for value in parser.close():
                yield value
            if parser.error:
                raise parser.error


ADAPTER: Vendor = OpenAI()


def dialect_of(endpoint: str) -> Dialect:
    host = urlsplit(endpoint).hostname or ""
    return next((known for name, known in DIALECTS.items() if f".{host}".endswith(f".{name}")), OTHERS)


def request(call: Call, dialect: Dialect) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body of the request, with what is set and no more; and the settings that the endpoint does not know."""
    names = dict(dialect.names)
    if dialect is OPENAI and WANTS_COMPLETION_TOKENS.match(call.model):
        names["max_tokens"] = "max_completion_tokens"
    body: dict[str, Any] = {
        "model": call.model,
        "messages": [{"role": turn.role, "content": turn.text} for turn in call.turns],
        "stream": True,
    }
    if dialect.asks_for_usage:
        body["stream_options"] = {"include_usage": True}
    body |= {names[setting]: value for setting, value in call.options.items() if setting in names}
    return body, tuple(setting for setting in call.options if setting not in names)


class Parser:
    """Turns the body of an answer into values, streamed or whole, wherever its bytes are cut.

    Never raises: `error` is there when the vendor breaks its format, or says that it failed, and comes after the values
    that were returned with it. Lists and not generators, because this is done for every token.
    """

    def __init__(self, secret: str = "") -> None:
        self.error: VendorError | None = None
        self.done = False  # nothing more is to be read
        self._secret = secret
        self._values: list[Value] = []
        self._events = Events()
        self._begun = False
        self._whole: bytearray | None = None  # the answer, when it is not streamed
        self._finished = False
        self._refused = False
        self._usage: Usage | None = None
        self._torn = False  # a character came in halves: from then on each text is looked through
        self._halves: dict[Of, str] = {}  # what waits for its other half

    def feed(self, chunk: bytes) -> list[Value]:
        """The values that this completes."""
        try:
            self._feed(chunk)
        except VendorError as error:
            self.done, self.error = True, error
        return self._taken()

    def close(self) -> list[Value]:
        """What is left at the end of the body, which may have come too early."""
        try:
            if not self.done:
                self._end()
        except VendorError as error:
            self.error = error
        return self._taken()

    def _taken(self) -> list[Value]:
        values, self._values = self._values, []
        return values

    def _feed(self, chunk: bytes) -> None:
        if not self._begun:
            chunk = chunk.lstrip()
            self._begun = bool(chunk)
            self._whole = bytearray() if chunk.startswith(b"{") else None  # which no event begins with
        if self._whole is None:
            for data in self._events.feed(chunk):
                self._event(data)
                if self.done:
                    return
        else:
            self._whole += chunk
            if len(self._whole) > LONGEST_BODY:
                raise VendorError("invalid_response", f"The vendor sent more than {LONGEST_BODY:,} bytes at once.")

    def _end(self) -> None:
        if self._whole is not None:
            self._event(bytes(self._whole))
            if not self._finished:
                raise invalid()
            return
        try:
            for data in self._events.close():
                self._event(data)
        except VendorError as error:
            if error.code != "invalid_response":
                raise
        if not self._finished:
            raise VendorError("incomplete", "The vendor ended the answer without saying that it is complete.")
        self._leave_over()

    def _event(self, data: bytes) -> None:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            if data.strip() == b"[DONE]":
                self.done = True
                self._finish("stop")
                self._leave_over()
                return
            chunk = self._loads(data)
        try:
            if error := chunk.get("error"):
                raise self._failure(error)
            if "choices" in chunk or "usage" in chunk:
                self._chunk(chunk)
            elif chunk.get("object") == "error":
                raise self._failure(chunk)
        except (AttributeError, LookupError, TypeError, ValueError):
            raise invalid() from None

    def _loads(self, data: bytes) -> Any:
        """For what orjson refuses and vendors send: half a character as an escape of its own, and NaN."""
        self._torn = True
        try:
            return json.loads(data.decode())
        except (ValueError, RecursionError):
            raise invalid() from None

    def _chunk(self, chunk: dict[str, Any]) -> None:
        choices = chunk.get("choices") or ()
        reason = "stop" if choices and self._whole is not None else None
        for choice in choices:
            if not choice.get("index"):  # others are alternatives that nobody asked for
                if delta := choice.get("delta") or choice.get("message"):
                    self._delta(delta)
                reason = choice.get("finish_reason") or reason
        if (usage := usage_in(chunk)) and usage != self._usage:
            self._usage = usage
            self._values.append(usage)
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
            self._refused = True
            self._text(refusal)
        if calls := delta.get("tool_calls"):
            for position, call in enumerate(calls):
                self._tool_call(call, position)

    def _text(self, text: Any) -> None:
        if text := self._clean(text, Text):
            self._values.append(Text(text))

    def _thought(self, thought: Any) -> None:
        if type(thought) is str and (text := self._clean(thought, Reasoning)):
            self._values.append(Reasoning(text))

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
        index = position if index is None else int(index)
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        if type(arguments) is dict:  # where it is not streamed
            arguments = json.dumps(arguments)
        identity, name = str(call.get("id") or ""), str(function.get("name") or "")
        self._values.append(ToolCall(index, identity, name, self._clean(arguments, index)))

    def _finish(self, reason: str) -> None:
        if not self._finished:
            self._finished = True
            self._leave_over()
            known = REASONS.get(reason.lower()) or shown(reason, self._secret)[:LONGEST_REASON]
            self._values.append(Finish("refusal" if self._refused and known == "stop" else known))

    def _clean(self, text: Any, of: Of) -> str:
        """The text as it can be stored: without NUL, and without half of a character, which waits for its other."""
        if type(text) is not str:
            raise TypeError
        if self._torn:
            text = self._halves.pop(of, "") + text
            if "\ud800" <= text[-1:] < "\udc00":
                self._halves[of] = text[-1]
                text = text[:-1]
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text.replace("\0", UNKNOWN) if "\0" in text else text

    def _leave_over(self) -> None:
        """The halves that found no other half."""
        for of in self._halves:
            self._values.append(ToolCall(of, "", "", UNKNOWN) if isinstance(of, int) else of(UNKNOWN))
        self._halves.clear()

    def _failure(self, error: Any) -> VendorError:
        """What the vendor says that went wrong, after it had answered 200."""
        status = error.get("code") if isinstance(error, dict) else None
        if type(status) is int and 400 <= status < 600:
            return failure(status, message_in(error), secret=self._secret)
        words = shown(message_in(error), self._secret)
        return VendorError("vendor_error", f"The vendor failed: {words}" if words else "The vendor failed.")


def usage_in(chunk: dict[str, Any]) -> Usage | None:
    usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    return Usage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(usage.get("prompt_cache_hit_tokens") if cached is None else cached),
    )


def count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None


def invalid() -> VendorError:
    return VendorError("invalid_response", "The vendor sent something that is not a chat completion.")
