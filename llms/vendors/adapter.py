"""What all wire formats share in asking: a request over HTTP, whose answer a parser reads."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import ClassVar, NamedTuple
from urllib.parse import quote

import orjson

from llms.vendors.errors import OWN_WORDS, VendorError, redact
from llms.vendors.http import Client
from llms.vendors.json_access import JSONObject
from llms.vendors.messages import arrange_roles, write_file
from llms.vendors.parser import MALFORMED, WEB_PAGE_ERROR, AnswerParser
from llms.vendors.types import (
    Call,
    ChatMessage,
    FilePart,
    IgnoredSettings,
    ImagePart,
    Options,
    Part,
    Role,
    SignOfLife,
    StreamEvent,
    Text,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    Vendor,
)

LONGEST_LIST = 4 * 2**20  # bytes of one page of a list of models
MOST_PAGES = 10
MOST_MODELS = 1_000
LONGEST_NAME = 200  # characters of a model's name that can be stored

PARTS: Mapping[Role, tuple[type[Part], ...]] = {
    "system": (TextPart, FilePart),
    "user": (TextPart, ImagePart, FilePart, ToolResultPart),
    "assistant": (TextPart, FilePart, ThinkingPart, ToolCallPart),
}
PARTS_WITH_PICTURES: Mapping[Role, tuple[type[Part], ...]] = {**PARTS, "assistant": (*PARTS["assistant"], ImagePart)}
PART_NAMES: Mapping[type[Part], str] = {
    TextPart: "text",
    ImagePart: "an image",
    FilePart: "a file",
    ThinkingPart: "thinking",
    ToolCallPart: "a tool call",
    ToolResultPart: "a tool result",
}


class WireRequest(NamedTuple):
    """What is posted, and the settings that are not in it because the vendor does not know them."""

    url: str
    headers: dict[str, str]
    body: JSONObject
    ignored: tuple[str, ...]


class ModelPage(NamedTuple):
    """A page of a vendor's list of models, and the mark of the next page; empty on the last."""

    names: list[object]
    next: object = ""


class Adapter(Vendor, ABC):
    """Speaks one wire format over HTTP. A subclass says what is sent and which parser reads the answer."""

    vendor: ClassVar[str]  # its name, in errors that people read
    parser: ClassVar[type[AnswerParser]]
    parts: ClassVar[Mapping[Role, tuple[type[Part], ...]]] = PARTS  # that the format can express, by role
    image_types: ClassVar[frozenset[str]] = frozenset()  # the media types that the format allows; empty: all
    pictures_in_results: ClassVar[bool] = True  # whether the result of a tool can have an image
    wrong_key: ClassVar[re.Pattern[str] | None] = None  # the words for a wrong key in an error of another status
    list_path: ClassVar[str] = "/models"  # where the models are listed, below the base URL
    page_parameter: ClassVar[str] = ""  # what names the next page of the list in a query; empty: there is one page

    @abstractmethod
    def request(self, call: Call) -> WireRequest:
        """What is sent for this call; raises VendorError for a part that the format cannot express."""

    @abstractmethod
    def resolve_endpoint(self, endpoint: str, api_key: str) -> tuple[str, dict[str, str]]:
        """The base URL of the API, and the headers that every request has. Either argument may be empty."""

    @abstractmethod
    def read_page(self, document: object) -> ModelPage:
        """The models in a list. May raise any of MALFORMED."""

    def translate_error(self, error: VendorError) -> VendorError:
        """The error as this vendor means it: it may call a wrong key a bad request."""
        if error.code == "bad_request" and self.wrong_key and self.wrong_key.search(error.detail):
            return VendorError("unauthorized", OWN_WORDS[401], taken=error.taken)
        return error

    def encode(self, body: JSONObject) -> bytes:
        try:
            return orjson.dumps(body)
        except TypeError:  # orjson refuses integers above 64 bits and lone surrogates; tool calls can contain both
            return json.dumps(body, separators=(",", ":")).encode()

    async def stream(self, call: Call, http: Client) -> AsyncGenerator[StreamEvent, None]:
        url, headers, body, ignored = self.request(call)
        if ignored:
            yield IgnoredSettings(ignored)
        parser = self.parser(call.api_key)
        try:
            headers = {**call.headers, **headers}
            async with http.send(url, self.encode(body), headers=headers, secret=call.api_key) as answer:
                can_wait = False  # whether the next read may wait to gather more; only while text is coming
                may_be_over = False
                while not parser.done:
                    chunk = await (answer.read_or_end() if may_be_over else answer.read(can_wait=can_wait))
                    if not chunk:
                        break
                    events, can_wait = parser.feed(chunk), False
                    for event in events:
                        can_wait = can_wait or type(event) is Text
                        yield event
                    may_be_over = parser.may_be_over
                    if may_be_over or not events:
                        yield SignOfLife(may_be_over)
                for event in parser.close():
                    yield event
                if parser.error:
                    raise parser.error
        except VendorError as error:
            raise self.translate_error(error) from None

    async def models(self, endpoint: str, api_key: str, headers: Mapping[str, str], http: Client) -> tuple[str, ...]:
        names: set[str] = set()
        base, own = self.resolve_endpoint(endpoint, api_key)
        headers = {"Accept": "application/json", **headers, **own}
        page_query = ""
        try:
            for _ in range(MOST_PAGES):
                url = f"{base}{self.list_path}{page_query}"
                async with http.send(url, headers=headers, secret=api_key) as answer:
                    page = self.parse_page(await answer.read_all(LONGEST_LIST))
                names |= {
                    redact(name, api_key) for name in page.names if isinstance(name, str) and len(name) <= LONGEST_NAME
                }
                if not (page.next and self.page_parameter):
                    break
                page_query = f"&{self.page_parameter}={quote(str(page.next), safe='')}"
        except VendorError as error:
            raise self.translate_error(error) from None
        return tuple(sorted(filter(None, names))[:MOST_MODELS])

    def parse_page(self, body: bytes) -> ModelPage:
        if body.lstrip().startswith(b"<"):
            raise VendorError("invalid_response", WEB_PAGE_ERROR)
        try:
            names, mark = self.read_page(orjson.loads(body))
            return ModelPage(names, str(mark or ""))
        except MALFORMED:
            raise VendorError("invalid_response", "The vendor sent something that is no list of models.") from None

    def prepare(self, call: Call) -> tuple[str, list[ChatMessage]]:
        """The system prompt and the other messages, as `arrange_roles` has them, with their files as text.

        Raises VendorError for a part that the format cannot express.
        """
        written = [
            ChatMessage(message.role, tuple(self._prepare(part, message.role) for part in message.parts))
            for message in call.turns
        ]
        return arrange_roles(written, call.model)

    def _prepare(self, part: Part, role: Role) -> Part:
        refused = ""
        image = part if isinstance(part, ImagePart) else part.image if isinstance(part, ToolResultPart) else None
        if not isinstance(part, self.parts[role]):
            refused = f"{PART_NAMES[type(part)]} in a message of the role {role}"
        elif isinstance(part, FilePart) and part.text is None:
            refused = f"a file of which there is no text ({part.media_type})"
        elif image and self.image_types and image.media_type not in self.image_types:
            refused = f"an image of the type {image.media_type}"
        elif image and part is not image and not self.pictures_in_results:
            refused = "an image in the result of a tool"
        if refused:
            raise VendorError("unsupported_part", f"{self.vendor} does not take {refused}.", taken=False)
        return TextPart(write_file(part)) if isinstance(part, FilePart) else part


def map_options(options: Options, names: Mapping[str, str]) -> tuple[JSONObject, tuple[str, ...]]:
    """The settings by the vendor's names for them, and those for which it has no name."""
    known = {names[setting]: value for setting, value in options.items() if setting in names}
    return known, tuple(setting for setting in options if setting not in names)
