"""Produces the answers of this process: stores them as they come, and ends them with the process.

An answer belongs to the process, not to the request that asked. One `AnswerRunner` lives in the server's event loop
from its start to its end. Views, which run in threads, reach it through the functions at the end of this module.
"""

import asyncio
import contextvars
import logging
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import DatabaseError

from chats.answering import journal
from chats.answering.answer_task import BROKEN, INTERRUPTED, STOPPED, AnswerTask, Outcome
from chats.answering.backpressure import LONGEST, Backpressure
from chats.answering.database_threads import DatabaseThreads
from chats.answering.live_answer import LiveAnswer
from chats.answering.orphans import interrupt_orphans
from chats.answering.ownership import OwnershipGuard
from chats.answering.remote_answers import ACCESS_CHECK, RemoteAnswers
from chats.answering.titles import make_title
from chats.conversation import Exchange
from chats.errors import RunnerUnavailable
from chats.models import Message
from core.telemetry.hooks import RequestRecord, current_request, instrumentations
from llms.endpoints import refusal
from llms.vendors.registry import client, load

if TYPE_CHECKING:
    from llms.vendors.http import Client

log = logging.getLogger(__name__)

T = TypeVar("T")

BEAT = 0.25  # seconds: how often new text is stored
GATHERING = 0.01  # seconds: answers that end within it are stored together, so that the disk is waited for once
LEASE_RENEWAL = 4  # seconds
SIGN_OF_LIFE = 15  # seconds
STORING_TIMEOUT = 10  # seconds to store the last text at shutdown
STALLED = 30  # seconds without a beat, which is longer than a database makes one wait
LAST_WORDS = 0.1  # seconds to tell the readers at shutdown
NO_ANSWERS = "This server is about to stop, or was not started by manage.py runserver. Nothing was stored."
REVOKED = "The chat is no longer open to you, so the answer was ended."


class AnswerRunner:
    """Runs this process's answers. Use as an async context manager."""

    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self.loop = asyncio.get_running_loop()
        self.http: Client | None = None
        # at most a quarter of the timeout, so that waiting here does not look like a silent vendor
        self.backpressure = Backpressure(longest=min(LONGEST, settings.LLM_TOKEN_TIMEOUT / 4))
        self.pacing: asyncio.Task[None] | None = None
        self.guard = OwnershipGuard()
        self.answers: dict[int, AnswerTask] = {}  # by the ids of their messages
        self.ended: list[AnswerTask] = []  # that are not stored yet
        self.threads = DatabaseThreads()
        self.remote = RemoteAnswers(self.threads)
        self.wakened, self.emptied = asyncio.Event(), asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.titling: set[asyncio.Task[None]] = set()
        self.closing = False
        self.done_at: dict[str, float] = {}
        self.beaten_at = self.stored_at = monotonic()

    async def __aenter__(self) -> "AnswerRunner":
        global _current
        _current = self
        self.spawn(self.beat())
        self.spawn(interrupt_orphans(self.threads, self.answers))
        self.spawn(self.watch_access())
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let the answers end within SHUTDOWN_TIMEOUT, then end them. All text that came is stored."""
        global _current
        self.closing = True
        await self.wait_until_stored(settings.SHUTDOWN_TIMEOUT)
        self.interrupt()
        await self.wait_until_stored(STORING_TIMEOUT)
        await asyncio.sleep(LAST_WORDS)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.http:
            await self.http.close()
        self.threads.shutdown()
        _current = None

    # called from threads

    def begin(self, exchange: Exchange) -> None:
        """Produce the answer. From any thread. It goes on when the request has ended."""
        begun, request = monotonic(), current_request.get()
        self.loop.call_soon_threadsafe(self.start, exchange, begun, request, context=contextvars.Context())

    def stop(self, message_id: int) -> None:
        """Stop the answer if it is produced here. From any thread."""
        self.loop.call_soon_threadsafe(self.stop_answer, message_id)

    # called in the event loop

    def start(self, exchange: Exchange, begun: float, request: RequestRecord | None = None) -> None:
        answer = self.answers[exchange.answer.pk] = AnswerTask(exchange, begun, self.guard, request)
        answer.adopt_id()
        answer.task = self.spawn(self.produce(answer))
        answer.task.add_done_callback(partial(self.end, answer))
        if self.pacing is None or self.pacing.done():
            self.guard.reset()
            self.pacing = self.spawn(self.backpressure.watch(self.is_busy))
        if self.closing:
            answer.stop(INTERRUPTED)

    async def produce(self, answer: AnswerTask) -> None:
        answer.adopt_id()
        if self.http is None:
            await self.loop.run_in_executor(self.threads.general, load)  # too slow for the event loop
        if self.http is None:
            timeout = settings.LLM_CONNECT_TIMEOUT
            self.http = client(refusal=refusal, connect_timeout=timeout, pause=lambda: self.backpressure.pause)
        await answer.answer(self.http)

    def end(self, answer: AnswerTask, task: asyncio.Task[None]) -> None:
        """However its task ended, even before its first step, the answer has an end."""
        if answer.message.status == Message.Status.STREAMING:
            answer.finalize((answer.outcome or INTERRUPTED) if task.cancelled() else BROKEN)
        self.ended.append(answer)
        self.wakened.set()
        answer.report()

    def is_busy(self) -> bool:
        """Called every few milliseconds while there are answers; so the guard notices a suspension."""
        self.guard.is_owner()
        return bool(self.answers)

    def stop_answer(self, message_id: int) -> None:
        if answer := self.answers.get(message_id):
            answer.stop(STOPPED)

    def live_answer(self, message: Message) -> LiveAnswer:
        """What to follow to read this answer, whoever produces it."""
        if answer := self.answers.get(message.pk):
            return answer
        if message.status != Message.Status.STREAMING:
            return LiveAnswer(message)
        if not self.remote.answers:
            self.spawn(self.remote.poll())
        return self.remote.get(message)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """A task of the process, in no request's context. A reference is kept while it runs."""
        task = self.loop.create_task(work, context=contextvars.Context())
        self.tasks.add(task)
        task.add_done_callback(self.forget)
        return task

    def forget(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("A task of the runner failed", exc_info=error)

    async def wait_for_titles(self) -> None:
        """Wait until each title that was asked for has come or failed; metering limits the time."""
        if self.titling:
            await asyncio.wait(self.titling)

    async def wait_until_stored(self, seconds: float) -> None:
        """Wait until every answer has ended and is stored, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.answers:
                    self.emptied.clear()
                    await self.emptied.wait()

    def release_readers(self) -> None:
        """The readers have had their time: end the answers that they read. Other workers go on with theirs."""
        self.closing = True
        for answer in self.answers.values():
            if answer.readers:
                answer.stop(INTERRUPTED)
        for remote in self.remote.answers.values():
            remote.detach()

    def interrupt(self) -> None:
        """The time to stop is up: end all answers."""
        self.release_readers()
        for answer in self.answers.values():
            answer.stop(INTERRUPTED)

    # what goes on all the time

    async def beat(self) -> None:
        """Store new text: every BEAT, and GATHERING after an answer has ended."""
        while True:
            self.beaten_at = monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self.wakened.wait()
            await asyncio.sleep(GATHERING)
            self.wakened.clear()
            try:
                self.show_signs_of_life()
                is_due = self.is_due("beat", BEAT * 0.8)  # otherwise an answer has ended, which does not wait
                if self.ended:
                    await self.store_ended()
                if is_due and self.answers:
                    await self.store_growing()
                    if self.is_due("lease", LEASE_RENEWAL):
                        renew = partial(journal.renew_leases, worker=self.id, answers=list(self.answers))
                        await self.threads.run_journal(renew)
            except DatabaseError as error:
                log.warning("What arrived is not stored now, but the next time: %s", error)
                await asyncio.sleep(BEAT)
            except Exception:  # the other answers must be stored all the same
                log.exception("The runner's beat failed")
                await asyncio.sleep(BEAT)

    async def store_ended(self) -> None:
        """Store the answers that have ended, and tell their readers."""
        ended, self.ended = self.ended, []
        try:
            messages = [answer.message for answer in ended]
            others = await self.store(partial(journal.finalize, worker=self.id, ended=messages))
        except BaseException:
            self.ended = ended + self.ended
            raise
        for answer in ended:
            message = answer.message
            del self.answers[message.pk]
            answer.complete(others.get(message.pk, message))
            wants_title = answer.exchange.wants_title and message.status == Message.Status.COMPLETE
            if wants_title and self.http and not self.closing:
                title = self.spawn(make_title(answer.exchange, self.http, self.threads.run, answer.request))
                self.titling.add(title)
                title.add_done_callback(self.titling.discard)
        if not self.answers:
            self.emptied.set()

    async def store_growing(self) -> None:
        """Store the new text of the other answers, and see which of them are to end."""
        growing = [(each, len(each.fresh), "".join(each.fresh)) for each in self.answers.values() if each.is_growing]
        pieces = [(answer.message.pk, len(answer.stored), text) for answer, _, text in growing]
        begun, moment, suspensions = set(self.answers), monotonic(), self.guard.suspensions
        status = await self.store(partial(journal.append_pieces, worker=self.id, pieces=pieces))
        self.stored_at = moment
        for answer, count, text in growing:
            answer.stored += text
            del answer.fresh[:count]
        for message_id in self.answers.keys() & (begun - status.own):
            self.answers[message_id].stop(INTERRUPTED)  # it was deleted, or its worker was taken for dead
        self.guard.confirm(suspensions)
        for message_id in self.answers.keys() & status.to_stop:
            self.answers[message_id].stop(STOPPED)

    async def store(self, work: Callable[[], T]) -> T:
        timer = perf_counter()
        result = await self.threads.run_journal(work)
        for instrumentation in instrumentations:
            instrumentation.stored(perf_counter() - timer)
        return result

    @property
    def lag(self) -> float:
        """For how many seconds the oldest text waits to be stored."""
        now = monotonic()
        waiting = [each for each in self.answers.values() if each.fresh or each.message.status != "streaming"]
        return max((now - answer.unsaved_since(self.stored_at) for answer in waiting), default=0.0)

    async def watch_access(self) -> None:
        """End the answers whose owners may not ask any more. Not in the beat, which must not wait for locked rows."""
        while True:
            await asyncio.sleep(ACCESS_CHECK)
            try:
                if not self.answers:
                    continue
                closed = await self.threads.run(partial(journal.without_access, answers=list(self.answers)))
                for message_id in self.answers.keys() & closed:
                    self.answers[message_id].stop(Outcome(Message.Status.FAILED, "access_revoked", REVOKED))
            except DatabaseError as error:
                log.warning("Whether answers are still allowed is not known now: %s", error)
            except Exception:
                log.exception("Whether answers are still allowed cannot be seen")

    def show_signs_of_life(self) -> None:
        """Wake the readers for whom nothing came for long, so that they send something."""
        if not self.is_due("signs of life", 1):
            return
        now = self.loop.time()
        for answer in (*self.answers.values(), *self.remote.answers.values()):
            for reader in answer.readers:
                if now - reader.last_read >= SIGN_OF_LIFE:
                    reader.wake(alive=True)

    def is_due(self, work: str, interval: float) -> bool:
        """Whether it was not done for so many seconds; if so, it counts as done now."""
        now = monotonic()
        due = now - self.done_at.get(work, -interval) >= interval
        if due:
            self.done_at[work] = now
        return due


_current: AnswerRunner | None = None


def current() -> AnswerRunner:
    """The runner of this process; raises RunnerUnavailable if it has none."""
    if _current is None:
        raise RunnerUnavailable(NO_ANSWERS)
    return _current


def current_id() -> uuid.UUID:
    """The id of the runner, for an answer that it is to produce; raises RunnerUnavailable if it takes no more."""
    runner = current()
    if runner.closing:
        raise RunnerUnavailable(NO_ANSWERS)
    return runner.id


def begin(exchange: Exchange) -> None:
    """Produce the answer, unless that has begun before. If this process just ended, another one ends the answer."""
    if _current and exchange.call:
        _current.begin(exchange)


def obstacle() -> str:
    """Why this process should be sent no questions, in words for its operator; empty if it can be."""
    if _current is None:
        return "its worker does not run."
    if _current.closing:
        return "it is about to stop."
    if monotonic() - _current.beaten_at > STALLED:
        return f"its worker has stored nothing for more than {STALLED} seconds."
    return ""


def state() -> tuple[int, float]:
    """How many answers are produced here or not stored yet, and for how many seconds their oldest text waits."""
    return (len(_current.answers), _current.lag) if _current else (0, 0.0)


def stop(message_id: int) -> None:
    """Stop an answer at once if this process produces it. Another worker reads of the stop in the database."""
    if _current:
        _current.stop(message_id)


def release_readers() -> None:
    """The time that this process waits for open streams is up: the answers that are read end at once."""
    if _current:
        _current.release_readers()
