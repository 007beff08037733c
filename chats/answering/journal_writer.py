"""Writes the answers of this process into the journal: new text a few times a second, and answers that have ended."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter
from typing import TypeVar
from uuid import UUID

from django.db import DatabaseError

from chats.answering import journal
from chats.answering.answer_task import INTERRUPTED, STOPPED, AnswerTask
from chats.answering.database_threads import DatabaseThreads
from chats.answering.ownership import OwnershipGuard
from chats.models import Message
from chats.parts import entries_between
from core.telemetry.hooks import instrumentations

log = logging.getLogger(__name__)

T = TypeVar("T")

BEAT = 0.25  # seconds: how often new text is stored
GATHERING = 0.01  # seconds in which ended answers are collected, so that one write stores them all
LEASE_RENEWAL = 4  # seconds


class JournalWriter:
    """`answers` are those that `worker` produces, by their ids. `on_stored` is called for each whose end was stored.

    If another worker has ended the answer, `on_stored` gets the message of that worker; if it was deleted, None.
    """

    def __init__(
        self,
        worker: UUID,
        answers: dict[int, AnswerTask],
        guard: OwnershipGuard,
        threads: DatabaseThreads,
        on_stored: Callable[[AnswerTask, Message | None], None],
    ) -> None:
        self.worker, self.answers, self.guard, self.threads = worker, answers, guard, threads
        self.on_stored = on_stored
        self.ended: list[AnswerTask] = []  # not stored yet; they do not wait for the beat: set `wakened`
        self.wakened = asyncio.Event()
        self.beaten_at = self.stored_at = self.grown_at = self.renewed_at = monotonic()

    async def run(self) -> None:
        """Store new text every BEAT, and answers that have ended after GATHERING."""
        while True:
            self.beaten_at = monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self.wakened.wait()
            await asyncio.sleep(GATHERING)
            self.wakened.clear()
            try:
                is_due = monotonic() - self.grown_at >= BEAT * 0.8  # otherwise only an answer has ended
                if self.ended:
                    await self.store_ended()
                if is_due:
                    self.grown_at = monotonic()
                    await self.store_growing()
            except DatabaseError as error:
                log.warning("What arrived is not stored now, but the next time: %s", error)
                await asyncio.sleep(BEAT)
            except Exception:  # the other answers must be stored all the same
                log.exception("The journal was not written")
                await asyncio.sleep(BEAT)

    async def store_ended(self) -> None:
        ended, self.ended = self.ended, []
        try:
            messages = [answer.message for answer in ended]
            others = await self.write(partial(journal.store_ended, worker=self.worker, ended=messages))
        except BaseException:
            self.ended = ended + self.ended
            raise
        for answer in ended:
            self.on_stored(answer, others.get(answer.message.pk, answer.message))

    async def store_growing(self) -> None:
        """Store the new text of answers that go on, see which of them are to end, and renew their leases."""
        if not self.answers:
            return
        growing = [(each, len(each.fresh)) for each in self.answers.values() if each.fresh and not each.has_ended]
        rows: list[journal.JournalRow] = []
        for answer, count in growing:
            start = answer.stored_size
            for entry in entries_between(answer.fresh[:count], 0):
                rows.append((answer.message.pk, start, entry.kind, entry.text))
                start += entry.size
        begun, moment, suspensions = set(self.answers), monotonic(), self.guard.suspensions
        status = await self.write(partial(journal.append_entries, worker=self.worker, rows=rows))
        self.stored_at = moment
        for answer, count in growing:
            answer.mark_stored(count)
        for message_id in self.answers.keys() & (begun - status.own):
            self.answers[message_id].stop(INTERRUPTED)  # it was deleted, or its worker was taken for dead
        self.guard.confirm(suspensions)
        for message_id in self.answers.keys() & status.to_stop:
            self.answers[message_id].stop(STOPPED)
        if monotonic() - self.renewed_at >= LEASE_RENEWAL:
            self.renewed_at = monotonic()
            renew = partial(journal.renew_leases, worker=self.worker, answers=list(self.answers))
            await self.threads.run(renew, is_journal=True)

    async def write(self, work: Callable[[], T]) -> T:
        timer = perf_counter()
        result = await self.threads.run(work, is_journal=True)
        for instrumentation in instrumentations:
            instrumentation.stored(perf_counter() - timer)
        return result

    @property
    def lag(self) -> float:
        """Seconds for which the oldest text has waited to be stored."""
        oldest = now = monotonic()
        for answer in self.answers.values():
            if answer.fresh or answer.has_ended:
                result = answer.call.result
                waited = result.latency_ms if result.time_to_first_token_ms is None else result.time_to_first_token_ms
                # what came of it before `stored_at` is stored
                oldest = min(oldest, max(self.stored_at, answer.call.begun + (waited or 0) / 1000))
        return now - oldest
