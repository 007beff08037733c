"""What a process needs to produce answers itself: a runner in a thread, and signals that end it in order."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread

from chats.answering.runner import AnswerRunner

END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def answer_runner() -> Iterator[AnswerRunner]:
    """A runner in a thread with an event loop of its own. Answers that it still produces at the end are interrupted.

    Titles in production are waited for, because they are paid for; Ctrl-C ends the wait.
    """
    ready: Future[tuple[AnswerRunner, asyncio.Event]] = Future()

    async def live() -> None:
        async with AnswerRunner() as runner:
            leave = asyncio.Event()
            ready.set_result((runner, leave))
            await leave.wait()

    thread = Thread(target=lambda: asyncio.run(live()), name="answers")
    thread.start()
    try:
        yield ready.result()[0]
        with suppress(KeyboardInterrupt):
            asyncio.run_coroutine_threadsafe(ready.result()[0].wait_for_titles(), ready.result()[0].loop).result()
    finally:
        runner, leave = ready.result()
        runner.loop.call_soon_threadsafe(runner.interrupt)
        runner.loop.call_soon_threadsafe(leave.set)
        thread.join()


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Within the context, Ctrl-C calls `stop` and raises no KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def exit_on_signals() -> None:
    """Exit through SystemExit when the terminal or the system ends the process, so that answers are stored."""

    def leave(number: int, frame: object) -> None:
        for each in END_SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second signal would disturb the orderly end
        sys.exit(128 + number)

    for each in END_SIGNALS:
        signal.signal(each, leave)
