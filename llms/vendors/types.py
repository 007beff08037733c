"""What a vendor is asked and what it answers with: plain values, the same for every vendor."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from llms.vendors.http import Client


@dataclass(frozen=True, slots=True)
class ChatMessage:
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
    turns: tuple[ChatMessage, ...]
    options: Mapping[str, Any]
    api_key: str = field(repr=False)
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IgnoredSettings:
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


StreamEvent = IgnoredSettings | Text | Reasoning | ToolCall | Usage | Finish


class Vendor(Protocol):
    """One way to speak to LLMs. Has no state of its own, so that one serves all calls."""

    def stream(self, call: Call, http: "Client") -> AsyncGenerator[StreamEvent, None]:
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
