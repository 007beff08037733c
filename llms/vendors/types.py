"""What an adapter gets and what it yields: plain values, the same for every vendor."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    from llms.vendors.http import Client

Role = Literal["system", "user", "assistant"]

SILENT_END = 10.0  # seconds without a byte that end an answer of which all but its end mark has come

# The parts of messages. A signature is opaque: the vendor wants it back, unchanged, in the part that it came with.


@dataclass(frozen=True, slots=True)
class TextPart:
    """A text."""

    text: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image, as the bytes of a file of this media type."""

    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file. Adapters send its text; they refuse a file that has none."""

    name: str
    media_type: str
    text: str | None = None
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ThinkingPart:
    """The model's thinking. If it is redacted, there is only the signature, which contains it encrypted.

    Adapters leave it out where their vendor does not take it back.
    """

    text: str
    signature: str = ""
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """The model's wish to have a tool called. `id` is empty where the vendor gives none.

    `unparsed` is what the model wrote as arguments where that is not a JSON object; `arguments` are empty then.
    """

    id: str
    name: str
    arguments: Mapping[str, object]
    signature: str = ""
    unparsed: str = ""


@dataclass(frozen=True, slots=True)
class ToolResultPart:
    """The result of a tool call; belongs into a user message, together with those of parallel calls."""

    tool_call_id: str
    name: str  # of the tool
    text: str
    is_error: bool = False
    image: ImagePart | None = None


Part = TextPart | ImagePart | FilePart | ThinkingPart | ToolCallPart | ToolResultPart


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the conversation."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


def text_message(role: Role, text: str) -> ChatMessage:
    """A message that is text alone."""
    return ChatMessage(role, (TextPart(text),))


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool that the model may call; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, object]


class Options(TypedDict, total=False):
    """The settings of a call, by the names of `LLMSettings`. Only those that are set."""

    temperature: float
    max_tokens: int
    top_p: float
    top_k: int
    min_length: int
    repetition_penalty: float
    seed: int
    stop_words: list[str]  # none is empty


@dataclass(frozen=True, slots=True)
class Call:
    """All that an adapter needs to know.

    An empty `endpoint` means the vendor's own; an empty `api_key` means that there is none. `headers` are sent along:
    the id of the request and its trace.
    """

    model: str
    turns: tuple[ChatMessage, ...]
    options: Options
    api_key: str = field(repr=False)
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[ToolDefinition, ...] = ()


# The events of an answer.


@dataclass(frozen=True, slots=True)
class IgnoredSettings:
    """Settings that were not sent because this vendor does not know them. Comes first, if at all."""

    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of what the model thinks before it answers, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Signature:
    """The signature of the part whose pieces came just before, or of one that has no pieces (redacted thinking)."""

    of: Literal["text", "thinking", "redacted_thinking", "tool_call"]
    data: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A piece of a tool call. Pieces with the same index make one call: their `arguments` are joined (JSON).

    `id` and `name` come in one of the pieces and are empty in the others.
    """

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """The vendor asks whether it may run a tool of its own: a JSON object with the members of the event `approval`."""

    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool that the vendor ran itself."""

    tool_call_id: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Citations:
    """What the answer cites, each a JSON object with the members of a part `citation`."""

    citations: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that the vendor counted; None where it gave no number. A later one replaces an earlier one."""

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """Something came that is no part of the answer: a comment, a ping, an empty piece, a piece of an event.

    `may_be_over` says that the answer is complete if nothing more comes within SILENT_END.
    """

    may_be_over: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete. Comes exactly once, as the last event.

    `reason` is stop, length, content_filter, tool_calls or refusal, or the vendor's own word, cut, if it is another.
    """

    reason: str


StreamEvent = (
    IgnoredSettings
    | Text
    | Thinking
    | Signature
    | ToolCall
    | ApprovalRequest
    | ToolResult
    | Citations
    | Usage
    | SignOfLife
    | Finish
)


class Vendor(Protocol):
    """An adapter. It has no state, so one serves all calls."""

    def stream(self, call: Call, http: "Client") -> AsyncGenerator[StreamEvent, None]:
        """The events of the answer; raises VendorError.

        When the generator was read to its end, its connection can serve the next call. Closing it earlier, or
        cancelling its reader, closes the connection at once, which ends the vendor's work.
        """
        ...

    def canonical_name(self, model: str) -> str:
        """The name by which the vendor lists this model."""
        return model

    async def models(self, endpoint: str, api_key: str, headers: Mapping[str, str], http: "Client") -> tuple[str, ...]:
        """Names of the vendor's chat models; empty if it has no list. For `headers` see Call. Raises VendorError."""
        ...
