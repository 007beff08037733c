"""What a vendor is asked, what it answers with, and how it fails: plain values, the same for every vendor."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from llms.vendors.http import Client


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """All that an adapter needs to know.

    `options` has only what is set, by the names of `LLMSettings`: temperature, max_tokens, top_p, top_k, min_length,
    repetition_penalty, seed, stop_words (strings that are not empty). An empty `endpoint` is the vendor's own, an empty
    `api_key` is none. `headers` are sent along: what a request is known by, and the trace that it belongs to.
    """

    model: str
    turns: tuple[Turn, ...]
    options: Mapping[str, Any]
    api_key: str = field(repr=False)
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ignored:
    """Settings that this vendor does not know and that were left out. Comes first, if at all."""

    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model thinks before it answers, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A piece of a call of a tool. Those of one index make one call: `arguments` are joined, the rest stands in one."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the vendor counted; None where it did not say. A later one replaces an earlier one."""

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete. Comes exactly once; usage may follow.

    `reason` is stop, length, content_filter, tool_calls or refusal; a vendor's own word, cut, where it has another.
    """

    reason: str


Value = Ignored | Text | Reasoning | ToolCall | Usage | Finish

CODES = {  # why a vendor gave no complete answer, and whether asking again can help
    "unsupported": False,  # there is no adapter
    "refused_address": False,  # the endpoint is where no LLM may be
    "unreachable": True,  # no connection, or it closed before any answer
    "untrusted": False,  # no certificate that is valid for the endpoint
    "timeout": True,  # no connection in time, or the vendor says that it took too long
    "unauthorized": False,  # 401, 403
    "rate_limited": True,  # 429
    "bad_request": False,  # any other 4xx
    "vendor_error": True,  # 5xx, or an error in the stream
    "redirected": False,  # 3xx: redirects are not followed
    "invalid_response": True,  # what came is not the vendor's format
    "incomplete": True,  # the connection closed before the end of the answer
}


WEB_PAGE = "a web page, as a web server has it and no API"  # instead of a vendor's own words


class VendorError(Exception):
    """Why there is no complete answer. What was given before it stays valid.

    `code` is one of CODES, `detail` is for people and has neither the key nor any header; `retryable` is as in CODES
    unless the case knows better. `retry_after` is how many seconds the vendor asks to be left alone, if it does;
    `status` is that of its HTTP answer, where it was the answer that failed.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.retryable = CODES[code] if retryable is None else retryable
        self.retry_after = retry_after
        self.status = status

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class Vendor(Protocol):
    """One way to speak to LLMs. Has no state of its own, so that one serves all calls."""

    def stream(self, call: Call, http: "Client") -> AsyncGenerator[Value, None]:
        """The answer, piece by piece; raises VendorError.

        Read to its end, the connection serves the next call. Closing the generator earlier, or cancelling who reads it,
        closes the connection at once, and with it ends the vendor's work.
        """
        ...

    def listed_as(self, model: str) -> str:
        """The name by which the vendor lists a model that it also knows by this one."""
        ...

    async def models(self, endpoint: str, api_key: str, http: "Client") -> tuple[str, ...]:
        """The names of the models that the vendor lists for chats, none where it has no list; raises VendorError."""
        ...
