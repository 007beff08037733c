"""One answer that this process produces: its vendor is called, and its readers see what comes."""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chats.answering.events import LONGEST_ANSWER
from chats.answering.live_answer import LiveAnswer
from chats.answering.ownership import OwnershipGuard
from chats.conversation import Exchange
from chats.models import Message
from core.server.middleware import current_request_id
from core.telemetry.hooks import RequestRecord, instrumentations
from llms.vendors.types import StreamEvent, Text
from usage.metering import MeteredCall, StopListening

if TYPE_CHECKING:
    from llms.vendors.http import Client

log = logging.getLogger(__name__)

SHUTDOWN = "The server was stopped before the answer was whole. What had arrived is kept; ask for the answer again."


@dataclass(frozen=True)
class Outcome:
    """How an answer ends."""

    status: Message.Status
    code: str = ""
    detail: str = ""
    retryable: bool = False


COMPLETE = Outcome(Message.Status.COMPLETE)
STOPPED = Outcome(Message.Status.STOPPED)
INTERRUPTED = Outcome(Message.Status.INTERRUPTED, "interrupted", SHUTDOWN, retryable=True)
BROKEN = Outcome(Message.Status.FAILED, "error", "Something failed on the server. Its log has more.", retryable=True)
TOO_LONG = Outcome(
    Message.Status.FAILED,
    "too_long",
    f"The answer has more than {LONGEST_ANSWER:,} characters, which is all that is kept.",
)


class AnswerTask(LiveAnswer):
    """An answer that is being produced here. `begun` is when the question was stored, as `monotonic()` has it."""

    task: asyncio.Task[None]

    def __init__(
        self, exchange: Exchange, begun: float, guard: OwnershipGuard, request: RequestRecord | None = None
    ) -> None:
        super().__init__(exchange.answer)
        assert exchange.call
        self.exchange, self.guard, self.request = exchange, guard, request
        self.length = 0
        self.outcome: Outcome | None = None  # set before the vendor has ended the answer
        conversation = str(exchange.answer.session.uuid)
        self.call = MeteredCall(
            "answer", exchange.vendor, exchange.call, conversation=conversation, request=request, begun=begun
        )

    async def answer(self, http: "Client") -> None:
        """Call the vendor and show what it says. `stop` cancels this."""
        try:
            result = await self.call.run(http, self.on_event)
        except asyncio.CancelledError:
            self.finalize(self.outcome or INTERRUPTED)
            return
        error = result.error
        failure = Outcome(Message.Status.FAILED, error.code, error.detail, error.retryable) if error else None
        self.finalize(self.outcome or failure or COMPLETE)

    async def on_event(self, event: StreamEvent) -> None:
        if not self.guard.is_owner():  # otherwise text would be shown that may never be stored
            await self.guard.confirmed.wait()
        if isinstance(event, Text) and event.text:
            self.fresh.append(event.text[: LONGEST_ANSWER - self.length])
            self.length += len(event.text)
            self.wake()
            if self.length > LONGEST_ANSWER:
                self.outcome = TOO_LONG
                raise StopListening

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, stored or not."""
        return self.message.status != Message.Status.STREAMING

    @property
    def is_growing(self) -> bool:
        return bool(self.fresh) and not self.has_ended

    def stop(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.task.cancel()

    def unsaved_since(self, moment: float) -> float:
        """When the oldest text came that is not stored, if everything up to that moment is."""
        result = self.call.result
        waited = result.latency_ms if result.time_to_first_token_ms is None else result.time_to_first_token_ms
        return max(moment, self.call.begun + (waited or 0) / 1000)

    def finalize(self, outcome: Outcome) -> None:
        """Fill in the message that is to be stored."""
        message, result = self.message, self.call.result
        message.text = self.since(0)
        message.status = outcome.status
        message.error_code, message.error_detail = outcome.code, outcome.detail
        message.error_retryable = outcome.retryable
        message.finish_reason, message.ignored_settings = result.finish_reason, result.ignored_settings
        if result.latency_ms is None:  # it was stopped before the vendor was called
            result.latency_ms, result.output_tokens = self.call.elapsed_ms, 0
        message.record_usage(result)

    def adopt_id(self) -> None:
        """From here on, log lines of this task carry the id of the request that asked."""
        if self.request:
            current_request_id.set(self.request.id)

    def report(self) -> None:
        """Log how the answer ended, and count it. The vendor's own words stay out: they may quote what people said."""
        message, call = self.message, self.call.record
        fields = {
            "answer": message.pk,
            "status": str(message.status),
            "code": message.error_code,
            "vendor": call.vendor,
            "model": call.model,
            "ms": message.latency_ms,
            "first_token_ms": message.time_to_first_token_ms,
            "input_tokens": message.input_tokens,
            "output_tokens": message.output_tokens,
        }
        level = logging.WARNING if message.status == Message.Status.FAILED else logging.INFO
        words = "The answer %s of %s at %s is %s after %s ms"
        end = f"{message.status} ({message.error_code})" if message.error_code else message.status
        place = call.endpoint or "its own address"
        log.log(level, words, message.pk, call.vendor, place, end, message.latency_ms, extra={"fields": fields})
        for instrumentation in instrumentations:
            instrumentation.answer_ended(call.vendor, message)
