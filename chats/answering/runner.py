"""The answers of this process: kept in the database as they come, looked after, and ended with the process.

A run belongs to the process, not to the request that began it. One `Worker` lives in the event loop of the server from
its start to its end; views, which run in threads, reach it through `current()`.
"""

import asyncio
import contextvars
import logging
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter, time
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, close_old_connections

from chats import conversation
from chats.answering import titles
from chats.answering.answer_task import BROKEN, INTERRUPTED, STOPPED, AnswerTask, Outcome, OwnershipGuard, RemoteAnswer
from chats.answering.backpressure import LONGEST, Backpressure
from chats.answering.live_answer import LiveAnswer
from chats.conversation import Exchange
from chats.models import Message
from core.rest.errors import Unavailable
from core.server.threads import run_in_pool
from core.telemetry.hooks import RequestRecord, current_request, instrumentations
from llms.endpoints import refusal
from llms.vendors.registry import client, preload

log = logging.getLogger(__name__)

T = TypeVar("T")

BEAT = 0.25  # seconds: how often what arrived is stored, and stalls are looked for
GATHERING = 0.01  # seconds: who ends with another is stored with it, and storing waits for the disk once
POLL = 0.2  # seconds: how often the answers of other workers are read
ACCESS_CHECK = 2  # seconds
LEASE_RENEWAL = 4  # seconds
SWEEP = 3  # seconds
SUSPICION = 10  # seconds that a lease must have been over, and its worker able to renew it
SIGN_OF_LIFE = 15  # seconds
STORING_TIMEOUT = 10  # seconds that the last words have at shutdown
STALLED = 30  # seconds without a beat, which is longer than a database makes one wait
LAST_WORDS = 0.1  # seconds that those who read along have to be told
NO_ANSWERS = "This server is about to stop, or was not started by manage.py runserver. Nothing was stored."
REVOKED = "The chat is no longer open to you, so the answer was ended."


class AnswerRunner:
    """All that this process answers; within `async with`."""

    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self.loop = asyncio.get_running_loop()
        self.http: Any = None
        # a quarter: what waits here must not look like a vendor that is silent
        self.pace = Backpressure(longest=min(LONGEST, settings.LLM_TOKEN_TIMEOUT / 4))
        self.pacing: asyncio.Task[None] | None = None
        self.runs: dict[int, AnswerTask] = {}
        self.hold = OwnershipGuard()
        self.concluded: list[AnswerTask] = []
        self.mirrors: dict[int, RemoteAnswer] = {}
        self.wakened, self.emptied = asyncio.Event(), asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.titling: set[asyncio.Task[None]] = set()
        self.closing = False
        self.executor = ThreadPoolExecutor(2, "runs")
        self.keeper = ThreadPoolExecutor(1, "keeper")  # whatever else waits for the database, keeping does not
        self.done_at: dict[str, float] = {}
        self.beaten_at = self.kept_at = monotonic()

    # from threads

    def begin(self, exchange: Exchange) -> None:
        """Give the answer. From any thread; it goes on when the request ends."""
        begun, request = monotonic(), current_request.get()
        self.loop.call_soon_threadsafe(self.start, exchange, begun, request, context=contextvars.Context())

    def stop(self, message_id: int) -> None:
        """Stop the answer if it is made here. From any thread."""
        self.loop.call_soon_threadsafe(self.stop_run, message_id)

    # in the loop

    def start(self, exchange: Exchange, begun: float, request: RequestRecord | None = None) -> None:
        run = self.runs[exchange.answer.pk] = AnswerTask(exchange, begun, self.hold, request)
        run.adopt_id()
        run.task = self.spawn(self.make(run))
        run.task.add_done_callback(partial(self.made, run))
        if self.pacing is None or self.pacing.done():
            self.hold.felt_at = time()  # nobody has asked meanwhile
            self.pacing = self.spawn(self.pace.watch(self.is_busy))
        if self.closing:
            run.stop(INTERRUPTED)

    async def make(self, run: AnswerTask) -> None:
        run.adopt_id()
        if self.http is None:
            await self.loop.run_in_executor(self.executor, preload)  # takes long enough to be felt by others
        if self.http is None:
            timeout = settings.LLM_CONNECT_TIMEOUT
            self.http = client(refusal=refusal, connect_timeout=timeout, pause=lambda: self.pace.pause)
        await run.answer(self.http)

    def made(self, run: AnswerTask, task: asyncio.Task[None]) -> None:
        """However its task ended, and be it before its first step, an answer has an end."""
        if run.message.status == Message.Status.STREAMING:
            stopped = (run.verdict or INTERRUPTED) if task.cancelled() else None
            run.conclude(stopped or BROKEN)
        self.concluded.append(run)
        self.wakened.set()
        run.tell()

    def is_busy(self) -> bool:
        """Asked every few milliseconds while it is, and so feels whether the process stood still."""
        self.hold.is_sure()
        return bool(self.runs)

    def stop_run(self, message_id: int) -> None:
        if run := self.runs.get(message_id):
            run.stop(STOPPED)

    def feed(self, message: Message) -> LiveAnswer:
        """What to follow to read this answer: ours, or a mirror of another worker's."""
        if run := self.runs.get(message.pk):
            return run
        if message.status != Message.Status.STREAMING:
            return LiveAnswer(message)
        if message.pk not in self.mirrors:
            if not self.mirrors:
                self.spawn(self.poll())
            self.mirrors[message.pk] = RemoteAnswer(message)
        return self.mirrors[message.pk]

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the process, of no request's context, which is not forgotten while it runs."""
        task = self.loop.create_task(work, context=contextvars.Context())
        self.tasks.add(task)
        task.add_done_callback(self.ended)
        return task

    def ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("A task of the worker ended", exc_info=error)

    async def __aenter__(self) -> "AnswerRunner":
        global _current
        _current = self
        self.spawn(self.beat())
        self.spawn(self.sweep())
        self.spawn(self.watch_access())
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let the runs end within SHUTDOWN_TIMEOUT, then end them; all that was received is stored."""
        global _current
        self.closing = True
        await self.all_stored(settings.SHUTDOWN_TIMEOUT)
        self.hurry()
        await self.all_stored(STORING_TIMEOUT)
        await asyncio.sleep(LAST_WORDS)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.http:
            await self.http.close()
        self.executor.shutdown(wait=False)
        self.keeper.shutdown(wait=False)
        _current = None

    async def all_titled(self) -> None:
        """Wait until every title that was asked for is there, or has failed; `titles` has the bounds."""
        if self.titling:
            await asyncio.wait(self.titling)

    async def all_stored(self, seconds: float) -> None:
        """Wait until every answer has ended and is stored, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.runs:
                    self.emptied.clear()
                    await self.emptied.wait()

    def let_readers_go(self) -> None:
        """Those who read have had their time: end what they read, but not at another worker."""
        self.closing = True
        for run in self.runs.values():
            if run.readers:
                run.stop(INTERRUPTED)
        for mirror in self.mirrors.values():
            mirror.cut_off()

    def hurry(self) -> None:
        """The time to stop is up: end what still runs."""
        self.let_readers_go()
        for run in self.runs.values():
            run.stop(INTERRUPTED)

    # what goes on all the time

    async def beat(self) -> None:
        """Store what arrived: every BEAT, and GATHERING after an answer has ended."""
        while True:
            self.beaten_at = monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self.wakened.wait()
            await asyncio.sleep(GATHERING)
            self.wakened.clear()
            try:
                self.show_signs_of_life()
                is_due = self.is_due("beat", BEAT * 0.8)  # else an answer has ended, which does not wait
                if self.concluded:
                    await self.store_ended()
                if is_due and self.runs:
                    await self.store_growing()
                    await self.look_after()
            except DatabaseError as error:
                log.warning("What arrived is not stored now, but the next time: %s", error)
                await asyncio.sleep(BEAT)
            except Exception:  # whatever it is, the other answers must be kept
                log.exception("The worker's beat failed")
                await asyncio.sleep(BEAT)

    async def store_ended(self) -> None:
        """Store the answers that have ended, and tell their readers."""
        ended, self.concluded = self.concluded, []
        try:
            others = await self.stored(lambda: conversation.end(worker=self.id, ended=[run.message for run in ended]))
        except BaseException:
            self.concluded = ended + self.concluded
            raise
        for run in ended:
            del self.runs[run.message.pk]
            run.finish(others.get(run.message.pk, run.message))
            if run.exchange.wants_title and run.message.status == Message.Status.COMPLETE and not self.closing:
                making = self.spawn(titles.make(run.exchange, self.http, self.in_database))
                self.titling.add(making)
                making.add_done_callback(self.titling.discard)
        if not self.runs:
            self.emptied.set()

    async def store_growing(self) -> None:
        """Store what has come of the others, and see which of them are to end."""
        growing = [(run, len(run.fresh), "".join(run.fresh)) for run in self.runs.values() if run.is_growing]
        pieces = [(run.message.pk, len(run.stored), text) for run, _, text in growing]
        begun, moment, losses = set(self.runs), monotonic(), self.hold.losses
        standing = await self.stored(lambda: conversation.keep(worker=self.id, pieces=pieces))
        self.kept_at = moment
        for run, count, text in growing:
            run.stored += text
            del run.fresh[:count]
        for message_id in self.runs.keys() & (begun - standing.own):
            self.runs[message_id].stop(INTERRUPTED)  # it was deleted, or its worker taken for dead
        self.hold.regain(losses)
        for message_id in self.runs.keys() & standing.to_stop:
            self.runs[message_id].stop(STOPPED)

    async def stored(self, work: Callable[[], T]) -> T:
        timer = perf_counter()
        result = await self.in_database(work, self.keeper)
        for watcher in instrumentations:
            watcher.stored(perf_counter() - timer)
        return result

    @property
    def lag(self) -> float:
        """Seconds that the oldest text waits that is not stored."""
        now = monotonic()
        waiting = [run for run in self.runs.values() if run.fresh or run.message.status != Message.Status.STREAMING]
        return max((now - run.kept_since(self.kept_at) for run in waiting), default=0.0)

    async def look_after(self) -> None:
        """See to it that runs are known to live, and have not stalled."""
        now = monotonic()
        for run in self.runs.values():
            run.check(now)
        if self.is_due("lease", LEASE_RENEWAL):
            answers = list(self.runs)
            await self.in_database(lambda: conversation.renew_leases(worker=self.id, answers=answers), self.keeper)

    async def watch_access(self) -> None:
        """End what its owner may ask no more. Apart from the beat: while what it reads is locked, keeping goes on."""
        while True:
            await asyncio.sleep(ACCESS_CHECK)
            try:
                if not (answers := list(self.runs)):
                    continue
                closed = await self.in_database(partial(conversation.closed_to_owner, answers=answers))
                for message_id in self.runs.keys() & closed:
                    self.runs[message_id].stop(Outcome(Message.Status.FAILED, "access_revoked", REVOKED))
            except DatabaseError as error:
                log.warning("Whether answers are still allowed is not known now: %s", error)
            except Exception:
                log.exception("Whether answers are still allowed cannot be seen")

    def show_signs_of_life(self) -> None:
        if not self.is_due("signs of life", 1):
            return
        now = self.loop.time()
        for feed in (*self.runs.values(), *self.mirrors.values()):
            for reader in feed.readers:
                if now - reader.last_read >= SIGN_OF_LIFE:
                    reader.wake(alive=True)

    def is_due(self, what: str, interval: float) -> bool:
        now = monotonic()
        due = now - self.done_at.get(what, -interval) >= interval
        if due:
            self.done_at[what] = now
        return due

    async def poll(self) -> None:
        """Read what other workers store, as long as someone reads it here."""
        while self.mirrors:
            try:
                await self.read_mirrors()
            except DatabaseError as error:
                log.warning("Answers of other workers cannot be read now: %s", error)
            except Exception:  # whatever it is, those who read must not wait for ever
                log.exception("Answers of other workers cannot be read")
            await asyncio.sleep(POLL)
            for message_id in [key for key, mirror in self.mirrors.items() if mirror.ended or not mirror.readers]:
                del self.mirrors[message_id]

    async def read_mirrors(self) -> None:
        offsets = {message_id: len(mirror.stored) for message_id, mirror in self.mirrors.items()}
        grown, ended = await self.in_database(lambda: conversation.grown(offsets))
        for message_id, fresh in grown.items():
            self.mirrors[message_id].grow(fresh)
        for message_id, message in ended.items():
            self.mirrors[message_id].finish(message)
        if self.is_due("access of mirrors", ACCESS_CHECK):
            for message_id in await self.in_database(lambda: conversation.closed_to_owner(answers=list(offsets))):
                self.mirrors[message_id].lose()

    async def sweep(self) -> None:
        """End the answers of workers that are gone: their leases have been over for SUSPICION, and are still the same.

        That they are over says little: so are all after the database stood still, or the clock was set.
        """
        suspected: dict[conversation.Lease, float] = {}
        while True:
            try:
                over, now = await self.in_database(conversation.leases_over), monotonic()
                suspected = {lease: suspected.get(lease, now) for lease in over if lease[0] not in self.runs}
                for message_id, until in [lease for lease, since in suspected.items() if now - since >= SUSPICION]:
                    if await self.in_database(partial(conversation.end_orphan, message_id, until)):
                        log.warning("The worker of answer %d is gone: it was ended as interrupted", message_id)
            except DatabaseError as error:
                suspected = {}
                log.warning("Whether workers are gone is not known now: %s", error)
            except Exception:
                log.exception("The worker's sweep failed")
            await asyncio.sleep(SWEEP)

    async def in_database(self, work: Callable[[], T], executor: ThreadPoolExecutor | None = None) -> T:
        """Run it in a thread, one for what may wait by default, which holds no connection of a pool afterwards."""

        def run() -> T:
            try:
                return work()
            finally:
                close_old_connections()

        return await run_in_pool(executor or self.executor, run)


_current: AnswerRunner | None = None


def current() -> AnswerRunner:
    """The worker of this process; Unavailable where it has none."""
    if _current is None:
        raise Unavailable(NO_ANSWERS)
    return _current


def current_id() -> uuid.UUID:
    """The id of this process's worker, for an answer that it is to give; Unavailable where it gives no more."""
    if current().closing:
        raise Unavailable(NO_ANSWERS)
    return current().id


def begin(exchange: Exchange) -> None:
    """Give the answer, which is stored as this process's own. If it just ended, another's sweep ends the answer."""
    if _current:
        _current.begin(exchange)


def obstacle() -> str:
    """Why this process should be asked nothing, in words for its operator; empty where it can be."""
    if _current is None:
        return "its worker does not run."
    if _current.closing:
        return "it is about to stop."
    if monotonic() - _current.beaten_at > STALLED:
        return f"its worker has stored nothing for more than {STALLED} seconds."
    return ""


def state() -> tuple[int, float]:
    """How many answers are being made here or not stored yet, and the seconds that their oldest text waits to be."""
    return (len(_current.runs), _current.lag) if _current else (0, 0.0)


def stop(message_id: int) -> None:
    """Stop an answer at once if this process makes it; its worker reads of it in the database if another does."""
    if _current:
        _current.stop(message_id)


def let_readers_go() -> None:
    """The time that this process waits for open streams is up: what is read ends at once."""
    if _current:
        _current.let_readers_go()
