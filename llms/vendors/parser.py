"""What all wire formats share in reading: the body of an answer becomes events, wherever its bytes are cut."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Protocol

import orjson

from llms.vendors.errors import VendorError, error_message, redact, status_error
from llms.vendors.json_access import as_text
from llms.vendors.sse import SSEDecoder
from llms.vendors.types import Finish, StreamEvent, Text, Thinking, ToolCall, Usage

LONGEST_BODY = 16 * 2**20  # bytes of an answer that is not streamed
LONGEST_REASON = 50
UNKNOWN = "\ufffd"  # replaces what is no character, and NUL, which databases do not store

# what reading a document raises if it is malformed: wrong types, infinite numbers, lists in lists in lists
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

Source = type[Text] | type[Thinking] | int  # what a piece of text belongs to; the index of a tool call


class StreamDecoder(Protocol):
    """Divides a stream into its JSON documents."""

    def feed(self, chunk: bytes) -> Iterator[bytes]: ...

    def close(self) -> Iterator[bytes]: ...


class AnswerParser(ABC):
    """Turns the body of an answer, streamed or not, into events.

    Never raises: when the vendor breaks its format or reports a failure, `error` is set, and is valid after the events
    that were returned with it. Returns lists and not generators, which would be slower for every token.

    A subclass for each wire format reads the documents with `_read`.
    """

    form: ClassVar[str]  # what the answer should be, in words
    reasons: ClassVar[Mapping[str, str]]  # from the vendor's finish reasons, in lower case, to ours
    decoder: ClassVar[type[StreamDecoder]] = SSEDecoder
    whole: ClassVar[tuple[bytes, ...]] = (b"{",)  # how a body begins that is one document and not a stream

    def __init__(self, secret: str = "") -> None:
        self.error: VendorError | None = None
        self.done = False  # nothing more is to be read
        self._secret = secret
        self._events: list[StreamEvent] = []
        self._decoder = self.decoder()
        self._started = False
        self._whole: bytearray | None = None  # the answer if it is not streamed
        self._finished = False
        self._stop = "stop"  # what the reason `stop` means here: that, a refusal, or a tool call
        self._usage: Usage | None = None
        self._has_halves = False  # a character came in halves: from then on each text is checked
        self._halves: dict[Source, str] = {}  # the first halves, which wait for the second ones

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """The events that this chunk completes."""
        try:
            if not self._started:
                chunk = chunk.lstrip()
                self._started = bool(chunk)
                self._whole = bytearray() if chunk.startswith(self.whole) else None
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

    def close(self) -> list[StreamEvent]:
        """The events that are left at the end of the body. Sets `error` if the end came too early."""
        try:
            if self._whole is not None and not self.done:
                self._read_document(bytes(self._whole))
                if not self._finished:
                    raise self._invalid()
            elif not self.done:
                self._close_stream()
        except VendorError as error:
            self.error = error
        return self._events

    def _close_stream(self) -> None:
        try:
            for data in self._decoder.close():
                self._read_document(data)
        except VendorError as error:
            if error.code != "invalid_response":
                raise
        if not self._finished:
            raise VendorError("incomplete", "The vendor ended the answer without saying that it is complete.")
        self._flush_halves()

    def _read_document(self, data: bytes) -> None:
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            document = self._load(data)
        try:
            self._read(document)
        except MALFORMED:
            raise self._invalid() from None

    def _load(self, data: bytes) -> object:
        """Parse what orjson refuses although vendors send it: an escape of half a character, and NaN."""
        self._has_halves = True
        try:
            document: object = json.loads(data.decode())
        except (ValueError, RecursionError):
            raise self._invalid() from None
        return document

    @abstractmethod
    def _read(self, document: object) -> None:
        """Add the events of a document. May raise any of MALFORMED."""

    # what a document can say

    def _add_text(self, text: object) -> None:
        if text := self._clean(text, Text):
            self._events.append(Text(text))

    def _add_thinking(self, thought: object) -> None:
        if isinstance(thought, str) and (text := self._clean(thought, Thinking)):
            self._events.append(Thinking(text))

    def _add_tool_call(self, index: int, identity: object, name: object, arguments: object) -> None:
        if isinstance(arguments, dict):  # as it is where arguments are not streamed
            arguments = json.dumps(arguments)
        self._events.append(ToolCall(index, str(identity or ""), str(name or ""), self._clean(arguments, index)))

    def _add_usage(self, usage: Usage | None) -> None:
        if usage and usage != self._usage:
            self._usage = usage
            self._events.append(usage)

    def _finish(self, reason: object) -> None:
        if not self._finished:
            word = as_text(reason)
            self._finished = True
            self._flush_halves()
            reason = self.reasons.get(word.lower()) or redact(word, self._secret)[:LONGEST_REASON]
            self._events.append(Finish(self._stop if reason == "stop" else reason))

    def _failure(self, error: object) -> VendorError:
        """The failure that the vendor reports after it has answered 200."""
        status = error.get("code") if isinstance(error, dict) else None
        if type(status) is int and 400 <= status < 600:
            return status_error(status, error_message(error), secret=self._secret)
        words = redact(error_message(error), self._secret)
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

    def _flush_halves(self) -> None:
        """Replace the halves whose other half never came."""
        for source in self._halves:
            self._events.append(ToolCall(source, "", "", UNKNOWN) if isinstance(source, int) else source(UNKNOWN))
        self._halves.clear()
