"""One answer that is being made: asked of its vendor, and shown to its readers. A `Worker` keeps it in the database."""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic, time
from typing import Any

from django.conf import settings

from chats.answering import prompts
from chats.answering.events import LONGEST_ANSWER
from chats.answering.live_answer import LiveAnswer
from chats.conversation import Exchange
from chats.models import Message
from core.server.middleware import current_request_id
from core.telemetry.hooks import RequestRecord, VendorCallRecord, instrumentations
from llms.vendors.errors import VendorError
from llms.vendors.registry import adapter
from llms.vendors.types import Finish, IgnoredSettings, Text, Thinking, Usage

log = logging.getLogger(__name__)

LONGEST_STANDSTILL = 10  # seconds, less than others wait before they end an answer
USAGE_TIMEOUT = 5  # seconds that a vendor has for its counts after the last word
SHUTDOWN = "The server was stopped before the answer was whole. What had arrived is kept; ask for the answer again."
TOO_LONG = f"The answer has more than {LONGEST_ANSWER:,} characters, which is all that is kept."


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


class TooLong(Exception):
    """An answer has more than LONGEST_ANSWER characters."""


class OwnershipGuard:
    """Whether the answers of a process are surely its own: another ends those of one that stood still for too long.

    By the wall clock, which goes on while the process or its machine is suspended.
    """

    def __init__(self) -> None:
        self.felt_at = time()
        self.losses = 0
        self.regained = asyncio.Event()
        self.regained.set()

    def is_sure(self) -> bool:
        """To be asked again and again, for a standstill is felt by that."""
        now = time()
        if now - self.felt_at > LONGEST_STANDSTILL:
            self.losses += 1
            self.regained.clear()
        self.felt_at = now
        return self.regained.is_set()

    def regain(self, losses: int) -> None:
        """They are its own, as was asked when it had been lost so often."""
        if losses == self.losses:
            self.regained.set()


class AnswerTask(LiveAnswer):
    """One answer that is being made here."""

    def __init__(
        self, exchange: Exchange, begun: float, hold: OwnershipGuard, request: RequestRecord | None = None
    ) -> None:
        super().__init__(exchange.answer)
        self.hold = hold
        self.is_held = False
        self.exchange = exchange
        self.begun = self.progress = begun
        self.length = 0
        self.limit: float = settings.LLM_FIRST_TOKEN_TIMEOUT
        self.verdict: Outcome | None = None
        self.task: asyncio.Task[None]
        self.seen = seen(exchange, request)

    async def answer(self, http: Any) -> None:
        """Ask the vendor, and take in what it says; cancelled by `stop`."""
        message, call = self.message, self.exchange.call
        assert call
        verdict = COMPLETE
        try:
            for watcher in instrumentations:
                watcher.call_begins(self.seen)
            call = replace(call, headers=self.seen.headers)
            self.exchange = replace(self.exchange, call=call)  # for what else is asked because of it
            async with aclosing(adapter(self.exchange.vendor).stream(call, http)) as values:
                async for value in values:
                    if not self.hold.is_sure():  # else what may never be stored would be shown
                        self.is_held = True
                        await self.hold.regained.wait()
                        self.is_held = False
                    self.take(value)
        except VendorError as error:
            if not error.taken:
                message.input_tokens = 0
            if not message.finish_reason:
                verdict = Outcome(Message.Status.FAILED, error.code, error.detail, error.retryable)
        except TooLong:
            verdict = Outcome(Message.Status.FAILED, "too_long", TOO_LONG)
        except asyncio.CancelledError:
            verdict = self.verdict or INTERRUPTED
        except Exception:
            log.exception("An answer failed")
            verdict = BROKEN
        self.conclude(verdict)

    def take(self, value: Any) -> None:
        self.progress = monotonic()
        if type(value) is Text:
            if not value.text:
                return
            if self.message.time_to_first_token_ms is None:
                self.message.time_to_first_token_ms = self.elapsed_ms()
                self.limit = settings.LLM_TOKEN_TIMEOUT
            self.fresh.append(value.text[: LONGEST_ANSWER - self.length])
            self.length += len(value.text)
            self.wake()
            if self.length > LONGEST_ANSWER:
                raise TooLong
        elif type(value) is Thinking:
            if self.message.time_to_first_token_ms is None:
                self.limit = settings.LLM_TOKEN_TIMEOUT
        elif type(value) is Usage:
            self.message.count(value)
        elif type(value) is Finish:
            self.message.finish_reason = value.reason
            self.limit = min(self.limit, USAGE_TIMEOUT)
        elif type(value) is IgnoredSettings:
            self.message.ignored_settings = list(value.settings)

    @property
    def is_growing(self) -> bool:
        return bool(self.fresh) and self.message.status == Message.Status.STREAMING

    def elapsed_ms(self) -> int:
        return round((monotonic() - self.begun) * 1000)

    def stop(self, verdict: Outcome) -> None:
        if self.verdict is None:
            self.verdict = verdict
            self.task.cancel()

    def check(self, now: float) -> None:
        """End it where the vendor has been silent for too long."""
        if now - self.progress > self.limit and not self.is_held:
            if self.message.finish_reason:
                self.stop(COMPLETE)
            else:
                detail = f"The vendor said nothing for {self.limit:g} seconds."
                self.stop(Outcome(Message.Status.FAILED, "timeout", detail, retryable=True))

    def kept_since(self, moment: float) -> float:
        """When the oldest of it came that is not stored, if everything up to that moment is."""
        message = self.message
        waited = message.latency_ms if message.time_to_first_token_ms is None else message.time_to_first_token_ms
        return max(moment, self.begun + (waited or 0) / 1000)

    def conclude(self, verdict: Outcome) -> None:
        """Fill in what is to be stored."""
        message = self.message
        message.text = self.since(0)
        message.status = verdict.status
        message.error_code, message.error_detail = verdict.code, verdict.detail
        message.error_retryable = verdict.retryable
        message.latency_ms = self.elapsed_ms()
        if message.output_tokens is None:
            message.output_tokens = prompts.estimate(message.text)

    def adopt_id(self) -> None:
        """What is logged from here on belongs to the request that asked."""
        if self.seen.request:
            current_request_id.set(self.seen.request.id)

    def tell(self) -> None:
        """Log how the answer ended, and say so to those that watch. The vendor's own words may quote what was said."""
        message, call = self.message, self.seen
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
        what = f"{message.status} ({message.error_code})" if message.error_code else message.status
        place = call.endpoint or "its own address"
        log.log(level, words, message.pk, call.vendor, place, what, message.latency_ms, extra={"fields": fields})
        for watcher in instrumentations:
            watcher.call_ended(call, message)


def seen(exchange: Exchange, request: RequestRecord | None) -> VendorCallRecord:
    call, session = exchange.call, exchange.answer.session
    assert call
    headers = {"X-Request-ID": request.id} if request else {}
    return VendorCallRecord(
        exchange.vendor, call.model, call.endpoint, call.options, str(session.uuid), request, headers
    )


class RemoteAnswer(LiveAnswer):
    """An answer that another worker makes, as it is stored."""

    def grow(self, fresh: str) -> None:
        if fresh:
            self.stored += fresh
            self.wake()
