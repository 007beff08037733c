"""Produces one answer: calls its vendor, and shows the readers what comes."""

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import orjson

from chats.answering.events import LONGEST_ANSWER
from chats.answering.live_answer import LiveAnswer
from chats.answering.ownership import OwnershipGuard
from chats.conversation import Exchange
from chats.models import Message
from chats.parts import Entry, Part, entries_between, joined_text, make_entry, stored_parts
from core.telemetry.hooks import RequestRecord, instrumentations
from llms.vendors.types import (
    ApprovalRequest,
    Citations,
    Signature,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from usage.metering import MeteredCall, StopListening

if TYPE_CHECKING:
    from llms.vendors.http import Client

log = logging.getLogger(__name__)

SHUTDOWN = "The server was stopped before the answer was whole. What had arrived is kept; ask for the answer again."


@dataclass(slots=True)
class Thought:
    """The facts about a stretch of thinking besides its text. Times are those of `monotonic()`."""

    begun: float
    ended_at: float = 0.0
    signature: str = ""


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
LLM_INACTIVE = Outcome(
    Message.Status.FAILED,
    "llm_inactive",
    "An administrator switched the LLM of this chat off, so the answer was ended.",
)
TOO_LONG = Outcome(
    Message.Status.FAILED,
    "too_long",
    f"The answer has more than {LONGEST_ANSWER:,} characters, which is all that is kept.",
)


class AnswerTask(LiveAnswer):
    """An answer that is being produced here. `begun` is when the question was stored, as `monotonic()` has it."""

    task: asyncio.Task[None]
    last_kind = ""

    def __init__(
        self, exchange: Exchange, begun: float, guard: OwnershipGuard, request: RequestRecord | None = None
    ) -> None:
        super().__init__(exchange.answer)
        assert exchange.call
        self.exchange, self.guard, self.request = exchange, guard, request
        self.length = 0  # size so far, in places (see chats.parts)
        self.thoughts: list[Thought] = []  # one for each stretch of thinking
        self.tool_calls: dict[int, ToolCall] = {}  # by their index; their pieces are joined until the end
        self.call_ids: set[str] = set()  # of the tool calls so far
        self.outcome: Outcome | None = None  # set before the vendor has ended the answer
        conversation = str(exchange.answer.session.uuid)
        self.call = MeteredCall(
            "answer", exchange.vendor, exchange.call, conversation=conversation, request=request, begun=begun
        )

    async def run(self, http: "Client") -> None:
        """Call the vendor and show what it says. `stop` cancels this."""
        try:
            result = await self.call.run(http, self.on_event)
        except asyncio.CancelledError:
            self.fill_message(self.outcome or INTERRUPTED)
            return
        error = result.error
        failure = Outcome(Message.Status.FAILED, error.code, error.detail, error.retryable) if error else None
        self.fill_message(self.outcome or failure or COMPLETE)

    async def on_event(self, event: StreamEvent) -> None:
        if not self.guard.is_owner():  # otherwise text would be shown that may never be stored
            await self.guard.confirmed.wait()
        if isinstance(event, Text):
            self.add(Entry("text", event.text))
        elif isinstance(event, Thinking):
            if not (self.thoughts and self.last_kind == "thinking"):
                self.thoughts.append(Thought(monotonic()))
            self.thoughts[-1].ended_at = monotonic()
            self.add(Entry("thinking", event.text))
        elif isinstance(event, Signature) and event.of == "thinking" and self.thoughts:
            self.thoughts[-1].signature += event.data
        elif isinstance(event, ToolCall):
            known = self.tool_calls.setdefault(event.index, ToolCall(event.index, "", "", ""))
            self.tool_calls[event.index] = ToolCall(
                event.index, known.id or event.id, known.name or event.name, known.arguments + event.arguments
            )
        elif not isinstance(event, Usage):  # which some vendors send with every piece
            self.add_tool_calls()  # they are whole once something else comes
            if isinstance(event, ApprovalRequest):
                self.add(make_entry("approval", dict(event.data)))
            elif isinstance(event, ToolResult):
                result: Part = {"tool_call_id": event.tool_call_id, "text": event.text, "is_error": event.is_error}
                self.add(make_entry("tool_result", {**result, "truncated": False, "file_id": None}))
            elif isinstance(event, Citations):
                self.add(make_entry("citations", {"citations": [dict(citation) for citation in event.citations]}))

    def add(self, entry: Entry) -> None:
        """Show an entry; raises StopListening where the answer is too long."""
        room = LONGEST_ANSWER - self.length
        if entry.size > room:
            self.fresh += entries_between([entry], 0, room)
        else:
            self.fresh.append(entry)
        self.length += entry.size
        self.last_kind = entry.kind
        self.wake()
        if self.length > LONGEST_ANSWER:
            self.outcome = TOO_LONG
            raise StopListening

    def add_tool_calls(self) -> None:
        """Add the complete tool calls. No tools can be called yet, so each call has failed."""
        calls, self.tool_calls = self.tool_calls, {}
        for call in calls.values():
            try:
                arguments = orjson.loads(call.arguments or "{}")
            except orjson.JSONDecodeError:
                arguments = None
            tool, _, operation = call.name.partition("__")
            identity = call.id or f"call_{call.index}"
            if identity in self.call_ids:  # parts with one id are states of one call
                identity = f"{identity}-{call.index}"
            self.call_ids.add(identity)
            part: Part = {
                "id": identity,
                "tool_id": None,
                "tool": tool,
                "operation": operation,
                "arguments": arguments if isinstance(arguments, dict) else {},
                "changes_something": False,
                "state": "failed",
            }
            self.add(make_entry("tool_call", part))

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, stored or not."""
        return self.message.status != Message.Status.STREAMING

    def stop(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.task.cancel()

    def fill_message(self, outcome: Outcome) -> None:
        """Set the final values of the message, which is stored afterwards."""
        message, result = self.message, self.call.result
        entries = self.since(0)
        message.text = joined_text(entries)
        thoughts: list[Part] = []
        for thought in self.thoughts:
            signature = {"signature": thought.signature} if thought.signature else {}
            thoughts.append({"duration_ms": round((thought.ended_at - thought.begun) * 1000), **signature})
        message.parts = stored_parts(entries, thoughts)
        message.status = outcome.status
        message.error_code, message.error_detail = outcome.code, outcome.detail
        message.error_retryable = outcome.retryable
        message.finish_reason, message.ignored_settings = result.finish_reason, result.ignored_settings
        if result.latency_ms is None:  # it was stopped before the vendor was called
            result.latency_ms, result.output_tokens = self.call.elapsed_ms, 0
        message.record_usage(result)

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
