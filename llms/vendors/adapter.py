"""What all wire formats share: a request over HTTP, and an answer that is read wherever its bytes are cut."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import orjson

from llms.vendors.errors import VendorError
from llms.vendors.http import Client, failure, message_in, shown
from llms.vendors.sse import Events
from llms.vendors.types import Call, ChatMessage, Finish, IgnoredSettings, Reasoning, StreamEvent, Text, ToolCall, Usage

LONGEST_BODY = 16 * 2**20  # bytes of an answer that is not streamed
LONGEST_LIST = 4 * 2**20  # bytes of one page of a list of models
MOST_PAGES = 10
MOST_MODELS = 1_000
LONGEST_NAME = 200  # as long as a model's name can be stored
LONGEST_REASON = 50
LARGEST_COUNT = 2**31 - 1
UNKNOWN = "\ufffd"  # stands for what is no character, and for NUL, which no database holds

# what reading a document breaks with that is not as it should be: its types, infinite numbers, lists in lists in lists
BROKEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

Of = type[Text] | type[Reasoning] | int  # what a piece of text belongs to; a call of a tool by its index


class Request(NamedTuple):
    """What is posted, and the settings that the vendor does not know and that are not in it."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    ignored: tuple[str, ...]


class Page(NamedTuple):
    """A part of a vendor's list of models, and the mark of the next; empty where this is the last."""

    names: list[Any]
    next: Any = ""


class Adapter(ABC):
    """Speaks one wire format over HTTP: its own say what is sent, and what reads the answer."""

    parser: ClassVar[type["Parser"]]

    @abstractmethod
    def request(self, call: Call) -> Request:
        """What is sent for this call."""

    @abstractmethod
    def list_request(self, endpoint: str, api_key: str, page: str) -> tuple[str, dict[str, str]]:
        """The URL and the headers that ask for the models from the mark of a page on, or from the first."""

    @abstractmethod
    def page_in(self, document: Any) -> Page:
        """The models in a list. What a vendor would not send may raise as it breaks."""

    def listed_as(self, model: str) -> str:
        """The name by which the vendor lists a model that it also knows by this one."""
        return model

    def explained(self, error: VendorError) -> VendorError:
        """The error as this vendor means it, where it uses a status for something else."""
        return error

    async def stream(self, call: Call, http: Client) -> AsyncGenerator[StreamEvent, None]:
        url, headers, body, ignored = self.request(call)
        if ignored:
            yield IgnoredSettings(ignored)
        parser = self.parser(call.api_key)
        try:
            sent = {**call.headers, **headers}
            async with http.post(url, orjson.dumps(body), headers=sent, secret=call.api_key) as answer:
                can_wait = False  # as only text in the midst of an answer can
                while not parser.done and (chunk := await answer.read(at_leisure=can_wait)):
                    can_wait = False
                    for value in parser.feed(chunk):
                        kind = type(value)
                        can_wait = kind is Text or (can_wait and kind is not Finish)
                        yield value
                for value in parser.close():
                    yield value
                if parser.error:
                    raise parser.error
        except VendorError as error:
            raise self.explained(error) from None

    async def models(self, endpoint: str, api_key: str, http: Client) -> tuple[str, ...]:
        names: set[str] = set()
        page = ""
        try:
            for _ in range(MOST_PAGES):
                url, headers = self.list_request(endpoint, api_key, page)
                async with http.get(url, headers=headers, secret=api_key) as answer:
                    listed, page = self._page(await answer.whole(LONGEST_LIST))
                names |= {shown(name, api_key) for name in listed if type(name) is str and len(name) <= LONGEST_NAME}
                if not page:
                    break
        except VendorError as error:
            raise self.explained(error) from None
        return tuple(sorted(filter(None, names))[:MOST_MODELS])

    def _page(self, body: bytes) -> Page:
        try:
            names, mark = self.page_in(orjson.loads(body))
            return Page(names, str(mark or ""))
        except BROKEN:
            raise VendorError("invalid_response", "The vendor sent something that is no list of models.") from None


class Documents(Protocol):
    """Divides a stream into its JSON documents."""

    def feed(self, chunk: bytes) -> Iterator[bytes]: ...

    def close(self) -> Iterator[bytes]: ...


class Parser:
    """Turns the body of an answer into values, streamed or whole, wherever its bytes are cut.

    Never raises: `error` is there when the vendor breaks its format, or says that it failed, and comes after the values
    that were returned with it. Lists and not generators, because this is done for every token.

    A wire format says what a document of it means, with `_read`.
    """

    form: ClassVar[str]  # what the answer should be, in words
    reasons: ClassVar[Mapping[str, str]]  # ours for the vendor's, in lower case, why an answer ends
    documents: ClassVar[type[Documents]] = Events
    whole: ClassVar[tuple[bytes, ...]] = (b"{",)  # how a body begins that is one document, and no stream

    def __init__(self, secret: str = "") -> None:
        self.error: VendorError | None = None
        self.done = False  # nothing more is to be read
        self._secret = secret
        self._values: list[StreamEvent] = []
        self._documents = self.documents()
        self._begun = False
        self._whole: bytearray | None = None  # the answer, when it is not streamed
        self._finished = False
        self._stop = "stop"  # what a stop is: that, or a refusal, or the call of a tool
        self._usage: Usage | None = None
        self._torn = False  # a character came in halves: from then on each text is looked through
        self._halves: dict[Of, str] = {}  # what waits for its other half

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """The values that this completes."""
        try:
            self._feed(chunk)
        except VendorError as error:
            self.done, self.error = True, error
        return self._taken()

    def close(self) -> list[StreamEvent]:
        """What is left at the end of the body, which may have come too early."""
        try:
            if not self.done:
                self._end()
        except VendorError as error:
            self.error = error
        return self._taken()

    def _taken(self) -> list[StreamEvent]:
        values, self._values = self._values, []
        return values

    def _feed(self, chunk: bytes) -> None:
        if not self._begun:
            chunk = chunk.lstrip()
            self._begun = bool(chunk)
            self._whole = bytearray() if chunk.startswith(self.whole) else None
        if self._whole is None:
            for data in self._documents.feed(chunk):
                self._document(data)
                if self.done:
                    return
        else:
            self._whole += chunk
            if len(self._whole) > LONGEST_BODY:
                raise VendorError("invalid_response", f"The vendor sent more than {LONGEST_BODY:,} bytes at once.")

    def _end(self) -> None:
        if self._whole is not None:
            self._document(bytes(self._whole))
            if not self._finished:
                raise self._invalid()
            return
        try:
            for data in self._documents.close():
                self._document(data)
        except VendorError as error:
            if error.code != "invalid_response":
                raise
        if not self._finished:
            raise VendorError("incomplete", "The vendor ended the answer without saying that it is complete.")
        self._leave_over()

    def _document(self, data: bytes) -> None:
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            document = self._loads(data)
        try:
            self._read(document)
        except BROKEN:
            raise self._invalid() from None

    def _loads(self, data: bytes) -> Any:
        """For what orjson refuses and vendors send: half a character as an escape of its own, and NaN."""
        self._torn = True
        try:
            return json.loads(data.decode())
        except (ValueError, RecursionError):
            raise self._invalid() from None

    @abstractmethod
    def _read(self, document: Any) -> None:
        """Do with a document what it says. What a vendor would not send may raise as it breaks."""

    # what a document can say

    def _text(self, text: Any) -> None:
        if text := self._clean(text, Text):
            self._values.append(Text(text))

    def _thought(self, thought: Any) -> None:
        if type(thought) is str and (text := self._clean(thought, Reasoning)):
            self._values.append(Reasoning(text))

    def _call(self, index: int, identity: Any, name: Any, arguments: Any) -> None:
        if type(arguments) is dict:  # where it is not streamed
            arguments = json.dumps(arguments)
        self._values.append(ToolCall(index, str(identity or ""), str(name or ""), self._clean(arguments, index)))

    def _count(self, usage: Usage | None) -> None:
        if usage and usage != self._usage:
            self._usage = usage
            self._values.append(usage)

    def _finish(self, reason: str) -> None:
        if not self._finished:
            self._finished = True
            self._leave_over()
            known = self.reasons.get(reason.lower()) or shown(reason, self._secret)[:LONGEST_REASON]
            self._values.append(Finish(self._stop if known == "stop" else known))

    def _failure(self, error: Any) -> VendorError:
        """What the vendor says that went wrong, after it had answered 200."""
        status = error.get("code") if isinstance(error, dict) else None
        if type(status) is int and 400 <= status < 600:
            return failure(status, message_in(error), secret=self._secret)
        words = shown(message_in(error), self._secret)
        return VendorError("vendor_error", f"The vendor failed: {words}" if words else "The vendor failed.")

    def _invalid(self) -> VendorError:
        return VendorError("invalid_response", f"The vendor sent something that is not {self.form}.")

    # characters

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


def map_options(options: Mapping[str, Any], names: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings by the vendor's names for them, and those that it has no name for."""
    known = {names[setting]: value for setting, value in options.items() if setting in names}
    return known, tuple(setting for setting in options if setting not in names)


def merge_roles(turns: Iterable[ChatMessage]) -> tuple[str, list[ChatMessage]]:
    """The system prompt, and the other turns as some vendors demand them: first the user's, then role by role.

    What one role said in several turns is one, with an empty line between; blank turns are left out.
    """
    prompts: list[str] = []
    others: list[ChatMessage] = []
    for turn in turns:
        if turn.role == "system":
            prompts.append(turn.text)
        elif not turn.text.strip() or (turn.role == "assistant" and not others):
            continue
        elif others and others[-1].role == turn.role:
            others.append(ChatMessage(turn.role, f"{others.pop().text}\n\n{turn.text}"))
        else:
            others.append(turn)
    return "\n\n".join(prompts), others


def token_count(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None
