"""Produces the answers of this process: stores them while they grow, and ends them when the process ends.

An answer belongs to the process, not to the request that asked. One `AnswerRunner` lives in the server's event loop
from its start to its end. Views, which run in threads, reach it through the functions at the end of this module.
"""

import asyncio
import contextvars
import logging
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from importlib import import_module
from time import monotonic, time
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import DatabaseError

from chats.answering import journal
from chats.answering.answer_task import BROKEN, INTERRUPTED, LLM_INACTIVE, STOPPED, AnswerTask, Outcome
from chats.answering.backpressure import LONGEST, Backpressure
from chats.answering.database_threads import DatabaseThreads
from chats.answering.journal_writer import JournalWriter
from chats.answering.live_answer import LiveAnswer
from chats.answering.orphans import interrupt_orphans
from chats.answering.ownership import OwnershipGuard
from chats.answering.remote_answers import ACCESS_CHECK, RemoteAnswers
from chats.answering.titles import make_title
from chats.conversation import NO_RUNNER, Exchange
from chats.errors import RunnerUnavailable
from chats.models import Message
from core.server.middleware import current_request_id
from core.telemetry.hooks import RequestRecord, current_request
from llms.endpoints import refusal
from llms.vendors.registry import HTTP_MODULE, client

if TYPE_CHECKING:
    from llms.vendors.http import Client

log = logging.getLogger(__name__)

SIGN_OF_LIFE = 15  # seconds after which a reader for whom nothing comes is sent something
SIGNS_INTERVAL = 1  # seconds
STORING_TIMEOUT = 10  # seconds to store the last text at shutdown
STALLED = 30  # seconds without a beat, which is longer than a database makes one wait
LAST_WORDS = 0.1  # seconds at shutdown to tell the readers that their answers ended
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
        self.threads = DatabaseThreads()
        self.writer = JournalWriter(self.id, self.answers, self.guard, self.threads, self.complete)
        self.remote = RemoteAnswers(self.threads)
        self.emptied = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.titling: set[asyncio.Task[None]] = set()
        self.closing = False

    async def __aenter__(self) -> "AnswerRunner":
        global _current
        _current = self
        self.spawn(self.writer.run())
        self.spawn(self.show_signs_of_life())
        self.spawn(interrupt_orphans(self.threads, self.answers))
        self.spawn(self.watch_access())
        return self

    async def __aexit__(self, *error: object) -> None:
        """Wait up to SHUTDOWN_TIMEOUT for the answers, then end those that remain. All text that came is stored."""
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

    def submit(self, exchange: Exchange) -> None:
        """Produce the answer, also after the request has ended. Can be called from any thread."""
        begun, request = monotonic(), current_request.get()
        self.loop.call_soon_threadsafe(self.start_task, exchange, begun, request, context=contextvars.Context())

    # the others are called in the event loop

    def start_task(self, exchange: Exchange, begun: float, request: RequestRecord | None = None) -> None:
        answer = self.answers[exchange.answer.pk] = AnswerTask(exchange, begun, self.guard, request)
        if request:  # the answer's lines in the log carry its id
            current_request_id.set(request.id)
        answer.task = self.spawn(self.run_task(answer), contextvars.copy_context())
        answer.task.add_done_callback(partial(self.end, answer))
        if self.pacing is None or self.pacing.done():
            self.guard.last_seen = time()  # there were no answers to own until now
            self.pacing = self.spawn(self.backpressure.watch(self.is_busy))
        if self.closing:
            answer.stop(INTERRUPTED)

    async def run_task(self, answer: AnswerTask) -> None:
        if self.http is None:
            await self.loop.run_in_executor(self.threads.general, import_module, HTTP_MODULE)
        if self.http is None:
            timeout = settings.LLM_CONNECT_TIMEOUT
            self.http = client(refusal=refusal, connect_timeout=timeout, pause=lambda: self.backpressure.pause)
        await answer.run(self.http)

    def end(self, answer: AnswerTask, task: asyncio.Task[None]) -> None:
        """Called when the task has ended: give the answer an end, even if the task failed or never ran."""
        if answer.message.status == Message.Status.STREAMING:
            answer.fill_message((answer.outcome or INTERRUPTED) if task.cancelled() else BROKEN)
        self.writer.ended.append(answer)
        self.writer.wakened.set()
        answer.report()

    def complete(self, answer: AnswerTask, message: Message | None) -> None:
        """Called when the end of the answer is stored, as this message. Asks for a title if the session wants one."""
        del self.answers[answer.message.pk]
        answer.complete(message)
        is_complete = answer.message.status == Message.Status.COMPLETE
        if answer.exchange.wants_title and is_complete and self.http and not self.closing:
            title = self.spawn(make_title(answer.exchange, self.http, self.threads, answer.request))
            self.titling.add(title)
            title.add_done_callback(self.titling.discard)
        if not self.answers:
            self.emptied.set()

    def is_busy(self) -> bool:
        """Whether there are answers. Called every few milliseconds, so that the guard notices a suspension."""
        self.guard.is_owner()
        return bool(self.answers)

    def stop_answer(self, message_id: int) -> None:
        if answer := self.answers.get(message_id):
            answer.stop(STOPPED)

    def live_answer(self, message: Message) -> LiveAnswer:
        """The live answer for reading this message, whichever worker produces it."""
        if answer := self.answers.get(message.pk):
            return answer
        if message.status != Message.Status.STREAMING:
            return LiveAnswer(message)
        if not self.remote.answers:
            self.spawn(self.remote.poll())
        return self.remote.answers.setdefault(message.pk, LiveAnswer(message))

    def spawn(
        self, work: Coroutine[object, object, None], context: contextvars.Context | None = None
    ) -> asyncio.Task[None]:
        """Start a task, by default outside of any request's context, and keep a reference while it runs."""
        task = self.loop.create_task(work, context=contextvars.Context() if context is None else context)
        self.tasks.add(task)
        task.add_done_callback(self.forget)
        return task

    def forget(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("A task of the runner failed", exc_info=error)

    async def wait_for_titles(self) -> None:
        """Wait until all requested titles have come or failed; metering limits the time."""
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
        """Called when the wait for open streams is over: end each answer that has a reader."""
        self.closing = True
        for answer in self.answers.values():
            if answer.readers:
                answer.stop(INTERRUPTED)
        for remote in self.remote.answers.values():
            remote.detach()

    def interrupt(self) -> None:
        """End all answers, because the time to stop is over."""
        self.release_readers()
        for answer in self.answers.values():
            answer.stop(INTERRUPTED)

    # background tasks

    async def watch_access(self) -> None:
        """End the answers whose owners may no longer ask, and those of LLMs that were switched off.

        Not part of the beat, which must not wait for locked rows.
        """
        while True:
            await asyncio.sleep(ACCESS_CHECK)
            try:
                if not self.answers:
                    continue
                closed = await self.threads.run(partial(journal.without_access, answers=list(self.answers)))
                for message_id in self.answers.keys() & closed:
                    self.answers[message_id].stop(Outcome(Message.Status.FAILED, "access_revoked", REVOKED))
                llms = {key: llm for key, answer in self.answers.items() if (llm := answer.exchange.llm_id)}
                inactive = await self.threads.run(partial(journal.without_llm, llms=llms))
                for message_id in self.answers.keys() & inactive:
                    self.answers[message_id].stop(LLM_INACTIVE)
            except DatabaseError as error:
                log.warning("Whether answers are still allowed is not known now: %s", error)
            except Exception:
                log.exception("Whether answers are still allowed cannot be seen")

    async def show_signs_of_life(self) -> None:
        """Wake the readers for whom nothing came for long, so that they send something."""
        while True:
            await asyncio.sleep(SIGNS_INTERVAL)
            now = self.loop.time()
            for answer in (*self.answers.values(), *self.remote.answers.values()):
                for reader in answer.readers:
                    if now - reader.last_read >= SIGN_OF_LIFE:
                        reader.wake(alive=True)


_current: AnswerRunner | None = None


def current_runner() -> AnswerRunner:
    """The runner of this process; raises RunnerUnavailable if it has none."""
    if _current is None:
        raise RunnerUnavailable(NO_RUNNER)
    return _current


def current_runner_id() -> uuid.UUID | None:
    """The id of this process's runner; None if the process accepts no more answers."""
    return _current.id if _current and not _current.closing else None


def submit(exchange: Exchange) -> None:
    """Produce the answer, unless that has begun before. If this process just ended, another one ends the answer."""
    if _current and exchange.call:
        _current.submit(exchange)


def obstacle() -> str:
    """Why this process cannot answer questions, for its operator; empty if it can."""
    if _current is None:
        return "its worker does not run."
    if _current.closing:
        return "it is about to stop."
    if monotonic() - _current.writer.beaten_at > STALLED:
        return f"its worker has stored nothing for more than {STALLED} seconds."
    return ""


def state() -> tuple[int, float]:
    """The number of unfinished or unstored answers here, and the seconds for which their oldest text has waited."""
    return (len(_current.answers), _current.writer.lag) if _current else (0, 0.0)


def stop(message_id: int) -> None:
    """Stop an answer at once if this process produces it. Other workers see the stop in the database."""
    if _current:
        _current.loop.call_soon_threadsafe(_current.stop_answer, message_id)


def release_readers() -> None:
    """Called when this process's wait for open streams is over: end each answer that has a reader."""
    if _current:
        _current.release_readers()
