"""Runs jobs on untrusted bytes in processes of their own, without secrets, that end at a limit: see docs/workers.md.

register("colour", "some_app.colour_job:colour")
html = await extractors.run("colour", code, deadline=0.5, memory=256 * MIB, arguments={"language": "python"})
"""

import asyncio
import atexit
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from core.workers.process import (
    MIB,
    Busy,
    Crashed,
    Extractor,
    ExtractorCall,
    JobFailed,
    JSONValue,
    Result,
)

IDLE = 60.0  # seconds after which an unused process is ended

JOBS: dict[str, str] = {}


def register(job: str, function: str) -> None:
    """Allow a job: its name and `package.module:function`.

    The function gets the data and, by keyword, the arguments; it returns a JSON value or bytes. Its module must not
    import Django.
    """
    JOBS[job] = function


class ExtractorPool:
    """Runs at most `size` processes, started when a call needs one. At most `queue` calls wait.

    `isolation` says which protections the last process has: `network_is_cut`, `files_are_hidden`.
    """

    def __init__(self, size: int = 2, *, queue: int = 100, idle: float = IDLE) -> None:
        self.size, self.queue, self.idle = size, queue, idle
        self.isolation: Mapping[str, JSONValue] = {}
        self.changed = threading.Condition()  # guards all of the following
        self.waiting: deque[ExtractorCall] = deque()
        self.running: set[ExtractorCall] = set()
        self.unused: list[Extractor] = []
        self.threads: list[threading.Thread] = []
        self.is_closed = False

    async def run(
        self,
        job: str,
        data: bytes,
        *,
        deadline: float,
        memory: int,
        wait: float = 10.0,
        output: int = 4 * MIB,
        arguments: Mapping[str, JSONValue] | None = None,
    ) -> Result:
        """The job's result. Raises an ExtractorError.

        `deadline` counts seconds from when the process has the call, `wait` those in the queue before; `memory` and
        `output` are bytes. A caller that is cancelled ends the process.
        """
        call = self.submit(ExtractorCall(job, data, arguments or {}, deadline, memory, output))
        future = asyncio.wrap_future(call.future)
        try:
            await asyncio.wait({future}, timeout=wait)
            if self.withdraw(call):
                raise Busy("No process became free in time")
            return await future
        except asyncio.CancelledError:
            future.cancel()
            self.abandon(call)
            raise

    def run_sync(
        self,
        job: str,
        data: bytes,
        *,
        deadline: float,
        memory: int,
        wait: float = 10.0,
        output: int = 4 * MIB,
        arguments: Mapping[str, JSONValue] | None = None,
    ) -> Result:
        """`run` for threads without an event loop."""
        call = self.submit(ExtractorCall(job, data, arguments or {}, deadline, memory, output))
        try:
            with suppress(TimeoutError):
                return call.future.result(wait)
            if self.withdraw(call):
                raise Busy("No process became free in time")
            return call.future.result()
        except KeyboardInterrupt:
            self.abandon(call)
            raise

    def submit(self, call: ExtractorCall) -> ExtractorCall:
        if call.job not in JOBS:
            raise LookupError(f"No job is registered as {call.job}")
        with self.changed:
            if self.is_closed or len(self.waiting) >= self.queue:
                raise Busy("The pool is closed" if self.is_closed else "Too many calls wait")
            self.waiting.append(call)
            self.changed.notify()
            if len(self.threads) < min(self.size, len(self.waiting) + len(self.running)):
                # Daemons, because the interpreter waits for other threads before it calls `close`.
                thread = threading.Thread(target=self.work, name="extractors", daemon=True)
                self.threads.append(thread)
                thread.start()
                atexit.register(self.close)
        return call

    def withdraw(self, call: ExtractorCall) -> bool:
        """Take a call out of the queue. False if it is not there any more."""
        with self.changed, suppress(ValueError):
            self.waiting.remove(call)
            return True
        return False

    def abandon(self, call: ExtractorCall) -> None:
        call.is_abandoned = True
        self.withdraw(call)

    def work(self) -> None:
        """Run calls in this thread until the pool is closed."""
        while call := self.next_call():
            extractor = None
            try:
                extractor = self.take(call)
                result = extractor.run(call)
            except Exception as error:
                self.give_back(call, extractor, is_sound=isinstance(error, JobFailed))
                call.future.set_exception(Crashed(str(error)) if isinstance(error, OSError) else error)
            else:
                self.give_back(call, extractor, is_sound=True)
                call.future.set_result(result)

    def next_call(self) -> ExtractorCall | None:
        with self.changed:
            while not self.is_closed:
                if self.waiting:
                    call = self.waiting.popleft()
                    if call.future.set_running_or_notify_cancel():
                        self.running.add(call)
                        return call
                    continue
                self.changed.wait(self.idle / 2 if self.unused else None)
                for extractor in [one for one in self.unused if monotonic() - one.idle_since > self.idle]:
                    self.unused.remove(extractor)
                    extractor.end()
        return None

    def take(self, call: ExtractorCall) -> Extractor:
        """An unused process for this job, or a new one; then one of another job ends if there would be too many."""
        with self.changed:
            found = next((one for one in reversed(self.unused) if one.job == call.job), None)
            if found is None and len(self.unused) + len(self.running) > self.size:
                found = self.unused[0]
            if found:
                self.unused.remove(found)
        if found and found.job == call.job and found.is_usable(call):
            return found
        if found:
            found.end()
        return Extractor(call.job, JOBS[call.job])

    def give_back(self, call: ExtractorCall, extractor: Extractor | None, *, is_sound: bool) -> None:
        is_usable = extractor and is_sound and extractor.is_usable(call)
        if extractor and not is_usable:
            extractor.end()
        with self.changed:
            self.running.discard(call)
            if extractor and is_usable:
                self.isolation = extractor.isolation
                extractor.idle_since = monotonic()
                self.unused.append(extractor)

    def close(self) -> None:
        """End all processes and calls. A later call starts new ones."""
        with self.changed:
            self.is_closed = True
            for call in self.waiting:
                if call.future.set_running_or_notify_cancel():
                    call.future.set_exception(Busy("The pool is closed"))
            self.waiting.clear()
            for call in self.running:
                call.is_abandoned = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()
        with self.changed:
            while self.unused:
                self.unused.pop().end()
            self.threads.clear()
            self.is_closed = False
        atexit.unregister(self.close)


extractors = ExtractorPool()
