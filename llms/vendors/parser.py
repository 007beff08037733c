"""What all wire formats share in reading: the body of an answer becomes events, wherever its bytes are cut."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import count
from typing import ClassVar, Protocol

import orjson

from llms.vendors.errors import (
    MESSAGE_KEYS,
    SUCCESS,
    VendorError,
    error_message,
    error_status,
    redact,
    status_error,
)
from llms.vendors.finish_reasons import FAILURES, NO_REASON, REASONS
from llms.vendors.json_access import JSONObject, as_text
from llms.vendors.sse import BYTE_ORDER_MARK, END_OF_STREAM, SSEDecoder
from llms.vendors.think_tags import ThinkTagSplitter
from llms.vendors.types import Finish, StreamEvent, Text, Thinking, ToolCall, Usage

LONGEST_BODY = 64 * 2**20  # bytes of an answer that is not streamed
LONGEST_REASON = 50
CUT_OFF = "The vendor ended the answer without saying that it is complete."
WORDLESS = "The vendor ended the answer before its first word"
WEB_PAGE_ERROR = "There is a web page at the endpoint, not an API."
EVENT_LINE = re.compile(rb"^[ \t]*(data|event|error):", re.MULTILINE)
UNKNOWN = "\ufffd"  # replaces invalid characters, and NUL, which PostgreSQL cannot store

# what reading a document raises if it is malformed: wrong types, infinite numbers, lists in lists in lists
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

Source = type[Text] | type[Thinking] | int  # what a piece of text belongs to; the index of a tool call


class StreamDecoder(Protocol):
    """Divides a stream into its JSON documents. END_OF_STREAM completes the last one."""

    def feed(self, chunk: bytes) -> Iterator[bytes]: ...


class AnswerParser(ABC):
    """Turns the body of an answer, streamed or not, into events.

    Never raises: when the vendor breaks its format or reports a failure, `error` is set, and is valid after the events
    that were returned with it. Returns lists and not generators, which would be slower for every token.

    A subclass for each wire format reads the documents with `_read`.
    """

    form: ClassVar[str]  # what the answer should be, in words
    decoder: ClassVar[type[StreamDecoder]] = SSEDecoder
    whole: ClassVar[tuple[bytes, ...]] = (b"{",)  # how a body begins that is one document and not a stream
    can_end_silently: ClassVar[bool] = False  # vendors of this format may leave out the end mark and the end

    def __init__(self, secret: str = "") -> None:
        self.error: VendorError | None = None
        self.done = False  # nothing more is to be read
        self._secret = secret
        self._events: list[StreamEvent] = []
        self._decoder = self.decoder()
        self._head = b""  # the beginning of the body, while it is too short to tell what the body is
        self._started = False
        self._whole: bytearray | None = None  # the answer if it is not streamed
        self._reason = "stop"  # the last finish reason, by its meaning
        self._word = ""  # the same as the vendor has it
        self._stop = "stop"  # what the vendor's reason `stop` means here: "stop", a refusal, or a tool call
        self._at_end = False  # nothing but counts and empty pieces came after a finish reason or the end mark
        self._went_on = False  # content came after a finish reason, so the reasons of this vendor are no ends
        self._usage = Usage(None, None, None)
        self._seen: set[str] = set()  # the kinds that came already: text, thinking, tool calls
        self._tool_calls: dict[int, tuple[object, int]] = {}  # by the vendor's index: the newest call's id, and ours
        self._places: set[int] = set()  # our indices that are taken
        self._has_words = False  # text came that is not blank
        self._thoughts: list[str] = []  # all thinking before the words
        self._tags = ThinkTagSplitter()
        self._has_halves = False  # a character came in halves: from then on each text is checked
        self._halves: dict[Source, str] = {}  # the first halves, which wait for the second ones

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """The events that this chunk completes."""
        try:
            if not self._started:
                chunk = self._start(chunk)
            if self._whole is None:
                for data in self._decoder.feed(chunk):
                    self._read_document(data)
                    if self.done:
                        break
            else:
                self._whole += chunk
                if len(self._whole) > LONGEST_BODY:
                    raise VendorError("invalid_response", f"The vendor sent more than {LONGEST_BODY:,} bytes at once.")
        except VendorError as error:
            self.done, self.error = True, error
        events, self._events = self._events, []
        return events

    @property
    def may_be_over(self) -> bool:
        """Whether the answer is complete if nothing more comes, and the vendor may say no more."""
        is_over = self.can_end_silently and self._at_end and not self._went_on
        return is_over and (self._has_words or "tool_calls" in self._seen)

    def close(self) -> list[StreamEvent]:
        """The events that are left at the end of the answer; the last is its finish. Else sets `error`.

        Some servers take all text of a model for thinking. If the model has stopped by itself, that text is the answer.
        """
        try:
            if not self.done:
                self._read_rest()
            if not (self._at_end or self.error):
                raise VendorError("incomplete", CUT_OFF)
        except VendorError as error:
            self.error = error
        self._flush()
        reason = self._stop if self._reason == "stop" else self._reason
        thought = "".join(self._thoughts)
        if not (self.error or self._has_words or "tool_calls" in self._seen):
            if thought.strip() and reason == "stop":
                self._events.append(Text(thought))
            elif not thought.strip() and reason != "length":  # where the model may have thought and not shown it
                self.error = VendorError("incomplete", f"{WORDLESS}: {self._word}." if self._word else f"{WORDLESS}.")
        if not self.error:
            self._events.append(Finish(reason))
        return self._events

    def _read_rest(self) -> None:
        """Read the whole document; or what is left of the stream, all of it if it began outside of its events."""
        if self._whole is not None and not EVENT_LINE.search(self._whole):
            self._read_document(bytes(self._whole))
            if not self._at_end:
                raise self._invalid()
            return
        rest, self._whole = bytes(self._whole or b""), None
        try:
            for data in (*self._decoder.feed(rest), *self._decoder.feed(END_OF_STREAM)):
                if not self.done:
                    self._read_document(data)
        except VendorError as error:
            raise VendorError("incomplete", CUT_OFF) if error.code == "invalid_response" else error from None

    def _start(self, chunk: bytes) -> bytes:
        """Decide by its beginning what the body is; what is left of the chunk, empty while that is undecided."""
        head = (self._head + chunk).lstrip()
        if BYTE_ORDER_MARK.startswith(head):  # or nothing has come yet
            self._head = head
            return b""
        chunk = head.removeprefix(BYTE_ORDER_MARK).lstrip()
        self._started = True
        if chunk.startswith(b"<"):
            raise VendorError("invalid_response", WEB_PAGE_ERROR)
        self._whole = bytearray() if chunk.startswith(self.whole) else None
        return chunk

    def _read_document(self, data: bytes) -> None:
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            document = self._load(data)
        if document is None:  # null is a sign of life
            return
        try:
            self._read(document)
        except MALFORMED:
            raise self._invalid() from None

    def _load(self, data: bytes) -> object:
        """Parse JSON that vendors send and orjson refuses: lone surrogates, NaN, invalid UTF-8."""
        self._has_halves = True
        try:
            document: object = json.loads(data.decode(errors="replace"))
        except (ValueError, RecursionError):
            raise self._invalid() from None
        return document

    @abstractmethod
    def _read(self, document: object) -> None:
        """Add the events of a document. May raise any of MALFORMED."""

    def _check_failure(self, document: JSONObject, answer_keys: frozenset[str]) -> None:
        """Raise the failure that a document reports beside an answer, or instead of one: without any of these keys."""
        base = document.get("base_resp")  # MiniMax's
        is_failure = bool(document.get("error") or document.get("errors"))
        is_failure |= isinstance(base, dict) and base.get("status_code") not in SUCCESS
        if answer_keys.isdisjoint(document):
            has_words = any(document.get(key) for key in MESSAGE_KEYS)
            succeeded = "code" in document and document["code"] in SUCCESS
            is_failure |= document.get("object") == "error" or (has_words and not succeeded)
        if is_failure:
            raise self._failure(document)

    # what a document can say

    def _add_text(self, text: object) -> None:
        if text := self._clean(text, Text):
            self._note("text")
            if self._has_words:
                self._events.append(Text(text))
            elif self._tags.done:
                self._add_divided("", text)
            else:
                self._add_divided(*self._tags.split(text))

    def _add_divided(self, thinking: str, text: str) -> None:
        if thinking:
            self._events.append(Thinking(thinking))
            if not self._has_words:
                self._thoughts.append(thinking)
        if text:
            self._events.append(Text(text))
            if text.strip():
                self._has_words = True
                self._thoughts.clear()

    def _add_thinking(self, thought: object) -> None:
        if isinstance(thought, str) and (text := self._clean(thought, Thinking)):
            self._note("thinking")
            self._add_divided(text, "")

    def _add_tool_call(self, index: int, identity: object, name: object, arguments: object) -> None:
        if isinstance(arguments, dict):  # as it is where arguments are not streamed
            arguments = json.dumps(arguments)
        if identity or name or arguments:
            self._note("tool_calls")
        known = self._tool_calls.get(index)
        if known is None or (identity and name and identity != known[0]):  # some servers give each call the index 0
            place = next(place for place in count(index) if place not in self._places)
            self._places.add(place)
            self._tool_calls[index] = known = (identity, place)
        place = known[1]
        self._events.append(ToolCall(place, str(identity or ""), str(name or ""), self._clean(arguments, place)))

    def _note(self, kind: str) -> None:
        """Note that content of this kind came."""
        self._seen.add(kind)
        if self._at_end:
            self._at_end, self._went_on = False, True

    def _add_usage(self, usage: Usage) -> None:
        """Add what was counted. Parts come one after the other, and 0 stands for unknown: nothing replaces a number."""
        known = self._usage
        merged = Usage(
            usage.input_tokens or known.input_tokens,
            usage.output_tokens or known.output_tokens,
            known.cached_tokens if usage.cached_tokens is None else usage.cached_tokens or known.cached_tokens or 0,
        )
        if merged != known:
            self._usage = merged
            self._events.append(merged)

    def _finish(self, reason: object) -> None:
        """Note a finish reason. More may come; then the answer is complete only if another reason follows."""
        word = as_text(reason).strip()
        if word.lower() in FAILURES:
            raise VendorError("vendor_error", f"The vendor broke off the answer: {redact(word, '')[:LONGEST_REASON]}.")
        if word.lower() not in NO_REASON:
            self._word = redact(word, self._secret)[:LONGEST_REASON]
            self._reason = REASONS.get(word.lower()) or self._word
            self._at_end = True

    def _end(self) -> None:
        """Note the end mark of the format: nothing more is read."""
        self.done = self._at_end = True

    def _failure(self, document: object) -> VendorError:
        """The failure that the vendor reports after it has answered 200."""
        words, status = error_message(document), error_status(document)
        if status:
            return status_error(status, words, secret=self._secret)
        words = redact(words, self._secret)
        return VendorError("vendor_error", f"The vendor failed: {words}" if words else "The vendor failed.")

    def _invalid(self) -> VendorError:
        return VendorError("invalid_response", f"The vendor sent something that is not {self.form}.")

    # characters

    def _clean(self, text: object, source: Source) -> str:
        """The text as it can be stored: without NUL, and without half a character, which waits for the other half."""
        text = as_text(text)
        if self._has_halves:
            text = self._halves.pop(source, "") + text
            if "\ud800" <= text[-1:] < "\udc00":
                self._halves[source] = text[-1]
                text = text[:-1]
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text.replace("\0", UNKNOWN) if "\0" in text else text

    def _flush(self) -> None:
        """Add what was held back: what could have become a tag, and halves whose other half never came."""
        self._add_divided(*self._tags.flush())
        for source in self._halves:
            self._events.append(ToolCall(source, "", "", UNKNOWN) if isinstance(source, int) else source(UNKNOWN))
        self._halves.clear()
