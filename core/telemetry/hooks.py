"""What instrumentations (metrics, traces) learn of requests and vendor calls.

The code that serves a request or calls a vendor reports it here, once. By default nobody listens, and nothing is
reported for each token.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:  # optional at run time
    from opentelemetry.trace import Span

VALID_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")  # a UUID, base64, and what proxies make; nothing that forges a line


@dataclass(slots=True, eq=False)
class RequestRecord:
    """A request that is being answered. `path` is quoted and has no query, which may hold secrets."""

    id: str
    method: str
    path: str
    address: str
    scheme: str
    begun: float = field(default_factory=perf_counter)
    route: str = ""  # the template of its URL; empty where none fits
    user_id: int | None = None
    status: int = 0
    waited: float = 0.0  # seconds for a thread
    database: float = 0.0  # seconds of queries, if metrics are on
    span: "Span | None" = None  # if traces are on
    at_end: list[Callable[[], None]] = field(default_factory=list)  # called when the response was sent


CallKind = Literal["answer", "title", "check", "models"]


@dataclass(slots=True, eq=False)
class VendorCallRecord:
    """A call of a vendor, and the request that caused it. `headers` are sent to the vendor."""

    kind: CallKind
    vendor: str
    model: str
    endpoint: str
    options: Mapping[str, object]
    conversation: str
    request: RequestRecord | None
    headers: dict[str, str] = field(default_factory=dict)
    span: "Span | None" = None


class CallCounts(Protocol):
    """The tokens and times of a call of a vendor. `error_code` is empty if it succeeded."""

    @property
    def error_code(self) -> str: ...

    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    estimated: bool
    time_to_first_token_ms: int | None


class AnswerCounts(Protocol):
    """How an answer ended, and after how many milliseconds."""

    status: str
    error_code: str
    latency_ms: int | None
    time_to_first_token_ms: int | None


class Instrumentation:
    """Is told what happens; this one ignores it."""

    def request_begins(self, request: RequestRecord, headers: Mapping[bytes, bytes]) -> None: ...

    def request_ended(self, request: RequestRecord, seconds: float) -> None: ...

    def call_begins(self, call: VendorCallRecord) -> None: ...

    def call_ended(self, call: VendorCallRecord, result: CallCounts) -> None: ...

    def answer_ended(self, vendor: str, answer: AnswerCounts) -> None:
        """An answer is whole, or has failed, or was stopped."""

    def title_ended(self, vendor: str, error_code: str) -> None:
        """A conversation has its title, or an error says why not."""

    def stored(self, seconds: float) -> None:
        """Pieces of answers were written to the database, which took so long."""

    def close(self) -> None: ...


instrumentations: list[Instrumentation] = []  # of this process, from its start on
current_request: ContextVar[RequestRecord | None] = ContextVar("current_request", default=None)


def request_id_from(given: str | None) -> str:
    """The caller's request id if it is well formed, else a new one."""
    return given if given and VALID_ID.fullmatch(given) else uuid.uuid4().hex
