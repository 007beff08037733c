"""The one place that calls vendors. Each call passes three steps: it begins, its answer streams, it is settled.

A call does not raise errors of the vendor: they are in its result. Retry of one HTTP request is in `llms.vendors.http`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Literal

from django.conf import settings

from core.telemetry.hooks import CallKind, RequestRecord, VendorCallRecord, current_request, instrumentations
from llms.vendors.errors import VendorError
from llms.vendors.registry import adapter
from llms.vendors.types import (
    SILENT_END,
    ApprovalRequest,
    Call,
    Citations,
    Finish,
    IgnoredSettings,
    Signature,
    SignOfLife,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from usage.tokens import prompt_tokens, token_estimate

if TYPE_CHECKING:
    from llms.vendors.http import Client

log = logging.getLogger(__name__)

# seconds for a whole call; an answer has LLM_ANSWER_TIMEOUT, and limits of silence
TIMEOUTS: dict[CallKind, int] = {"title": 20, "check": 20, "models": 10}
SUSPENSION = 1  # seconds that a timer is late when the process was suspended, not busy
UNEXPECTED = VendorError("error", "Something failed on the server. Its log has more.", retryable=True)

PIECES = (Text, Thinking, Signature, ToolCall, ApprovalRequest, ToolResult, Citations)  # events that are an answer

Listener = Callable[[StreamEvent], Awaitable[None]]


class StopListening(Exception):
    """Raised by a listener that wants no more of the answer. The call ends without an error."""


@dataclass(slots=True)
class CallResult:
    """What came of a call. Before its end: what came so far.

    `error` is a VendorError before the finish, a "timeout" of ours, or an "error" of this server.
    `is_late` says that our own time limit ended the call. `output_tokens` is estimated where the vendor did not count.
    """

    input_tokens: int | None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = True
    finish_reason: str | None = None
    error: VendorError | None = None
    is_late: bool = False
    ignored_settings: list[str] = field(default_factory=list)
    latency_ms: int | None = None
    time_to_first_token_ms: int | None = None

    @property
    def error_code(self) -> str:
        return self.error.code if self.error else ""


class MeteredCall:
    """One call of a vendor that streams its answer.

    `begun` is when its latency starts, and `deadline` when it has to end, both in `monotonic()` time. By default it
    begins now and has the time of its kind in TIMEOUTS.
    """

    def __init__(
        self,
        kind: CallKind,
        vendor: str,
        call: Call,
        *,
        conversation: str = "",
        request: RequestRecord | None = None,
        begun: float | None = None,
        deadline: float | None = None,
    ) -> None:
        self.call = call
        self.begun = monotonic() if begun is None else begun
        self.deadline = deadline
        request = request or current_request.get()
        self.record = VendorCallRecord(kind, vendor, call.model, call.endpoint, call.options, conversation, request)
        self.result = CallResult(input_tokens=prompt_tokens(call.turns))
        self.output_size = 0  # bytes of text and thinking
        self.silence_limit: float = settings.LLM_FIRST_TOKEN_TIMEOUT  # seconds that the vendor may be silent now
        self.pause_limit: float = settings.LLM_TOKEN_TIMEOUT  # the same once it has begun to answer
        self.heard: Literal["nothing", "signs of life", "an answer"] = "nothing"
        self.last_event_at = monotonic()  # when the vendor last sent something but a sign of life
        self.lateness = "did not finish in time"
        self.is_listener_busy = False
        self.expiry: asyncio.Timeout
        self.watchdog: asyncio.TimerHandle | None = None

    async def run(self, http: "Client", listener: Listener) -> CallResult:
        """Make the call, and give each event to the listener. Cancellation settles the call, too."""
        result = self.result
        try:
            self.begin()
            stream = adapter(self.record.vendor).stream(self.call, http)
            seconds = seconds_until(self.deadline, self.record.kind)
            async with asyncio.timeout(seconds) as self.expiry, aclosing(stream) as events:
                self.set_silence_limit(self.silence_limit)
                async for event in events:
                    self.count_event(event)
                    if isinstance(event, SignOfLife):
                        continue
                    self.is_listener_busy = True
                    await listener(event)
                    self.is_listener_busy = False
                    self.last_event_at = monotonic()
        except StopListening:
            pass
        except VendorError as error:
            if not error.taken:
                result.input_tokens = 0
            if result.finish_reason is None:
                result.error = error
        except TimeoutError:
            self.time_out()
        except Exception:
            log.exception("A vendor call failed")
            result.error = UNEXPECTED
        finally:
            self.settle()
        return result

    def begin(self) -> None:
        """Name the request and the trace in the headers that the vendor gets."""
        begin_record(self.record)
        self.call = replace(self.call, headers=self.record.headers)

    def count_event(self, event: StreamEvent) -> None:
        """Meter an event. Done for every token, so it sets no timer unless the limit changes."""
        result = self.result
        if isinstance(event, Text | Thinking):
            self.output_size += len(event.text.encode())
            if result.time_to_first_token_ms is None and isinstance(event, Text):
                result.time_to_first_token_ms = self.elapsed_ms
        elif isinstance(event, ToolCall):
            self.output_size += len((event.name + event.arguments).encode())
        elif isinstance(event, Usage):
            if event.input_tokens is not None:
                result.input_tokens = event.input_tokens
            result.output_tokens, result.cached_tokens = event.output_tokens, event.cached_tokens
            result.estimated = event.input_tokens is None or event.output_tokens is None
        elif isinstance(event, Finish):
            result.finish_reason = event.reason
        elif isinstance(event, IgnoredSettings):
            result.ignored_settings = list(event.settings)
        if (limit := self.limit_silence(event)) != self.silence_limit:
            self.set_silence_limit(limit)

    def limit_silence(self, event: StreamEvent) -> float:
        """How many seconds the vendor may be silent after this event."""
        if isinstance(event, PIECES):
            self.heard = "an answer"
            return self.pause_limit
        if isinstance(event, SignOfLife) and event.may_be_over:
            return self.pause_limit + SILENT_END  # the adapter itself waits for the end
        if self.heard == "an answer" or isinstance(event, IgnoredSettings):
            return self.silence_limit
        self.heard = "signs of life"
        return settings.LLM_SILENCE_TIMEOUT

    @property
    def elapsed_ms(self) -> int:
        return round((monotonic() - self.begun) * 1000)

    def set_silence_limit(self, seconds: float) -> None:
        """From now on the vendor may be silent for so long; calls with a timeout need no such limit."""
        self.silence_limit, self.last_event_at = seconds, monotonic()
        if self.watchdog:
            self.watchdog.cancel()
        if self.record.kind not in TIMEOUTS:
            self.watch(seconds)

    def watch(self, seconds: float) -> None:
        due = monotonic() + seconds
        self.watchdog = asyncio.get_running_loop().call_later(seconds, self.check_silence, due)

    def check_silence(self, due: float) -> None:
        """End the call if the vendor was silent for too long. It is not to blame while the listener is busy."""
        now = monotonic()
        if self.is_listener_busy or now - due > SUSPENSION:
            self.last_event_at = now
        silence = now - self.last_event_at
        if silence < self.silence_limit:
            self.watch(self.silence_limit - silence)
        else:
            did = "sent only signs of life" if self.heard == "signs of life" else "said nothing"
            self.lateness = f"{did} for {self.silence_limit:g} seconds"
            self.expiry.reschedule(asyncio.get_running_loop().time())

    def time_out(self) -> None:
        result = self.result
        result.is_late = True
        if result.finish_reason is None:
            result.error = VendorError("timeout", f"The vendor {self.lateness}.")

    def settle(self) -> None:
        """Count what the vendor did not count, and tell those who observe calls."""
        if self.watchdog:
            self.watchdog.cancel()
        result = self.result
        result.latency_ms = self.elapsed_ms
        if result.output_tokens is None:
            result.output_tokens = token_estimate(self.output_size)
        for instrumentation in instrumentations:
            instrumentation.call_ended(self.record, result)


async def list_models(
    vendor: str, endpoint: str, api_key: str, http: "Client", *, deadline: float | None = None
) -> tuple[str, ...] | VendorError:
    """The names of the models that the vendor lists, or why there are none. For `deadline` see MeteredCall."""
    record = VendorCallRecord("models", vendor, "", endpoint, {}, "", current_request.get())
    begun, result = monotonic(), CallResult(input_tokens=None, estimated=False)
    begin_record(record)
    try:
        async with asyncio.timeout(seconds_until(deadline, "models")):
            return await adapter(vendor).models(endpoint, api_key, record.headers, http)
    except TimeoutError:
        result.error = VendorError("timeout", f"The vendor sent no list of models within {TIMEOUTS['models']} s.")
    except VendorError as error:
        result.error = error
    finally:
        result.latency_ms = round((monotonic() - begun) * 1000)
        for instrumentation in instrumentations:
            instrumentation.call_ended(record, result)
    return result.error


def seconds_until(deadline: float | None, kind: CallKind) -> float:
    """How long a call may take."""
    if deadline is None:
        return TIMEOUTS.get(kind, settings.LLM_ANSWER_TIMEOUT)
    return max(0, deadline - monotonic())


def begin_record(record: VendorCallRecord) -> None:
    """Put the request's id into the headers of the call, and tell those who observe calls."""
    if record.request:
        record.headers["X-Request-ID"] = record.request.id
    for instrumentation in instrumentations:
        instrumentation.call_begins(record)
