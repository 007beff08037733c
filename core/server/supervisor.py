"""The master of several workers: uvicorn's, which does not wait for old workers when it replaces all (SIGHUP)."""

import asyncio
import multiprocessing
import signal
from logging import getLogger

from uvicorn.supervisors.multiprocess import Multiprocess, Process

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}

log = getLogger(__name__)


class Supervisor(Multiprocess):
    """An old worker may have answers to finish for minutes. Meanwhile the master obeys signals and sees workers die.

    The master holds the port, and a connection waits there until a worker takes it: nobody is refused.
    """

    leaving: tuple[Process, ...] = ()  # old workers that still answer

    def restart_all(self) -> None:
        """Replace each worker by a new one that serves; where a new one does not start, the old ones go on."""
        for index, old in enumerate(self.processes):
            if STOP_SIGNALS & set(self.signal_queue):
                return
            new = Process(self.config, self.sockets)
            new.start()
            if not new.wait_until_ready(self.config.timeout_worker_healthcheck):
                new.kill()
                new.join()
                log.error("A new worker did not start. The old ones go on.")
                return
            self.processes[index] = new
            old.terminate()
            self.leaving = (*(worker for worker in self.leaving if worker.exitcode is None), old)

    def join_all(self) -> None:
        super().join_all()
        for worker in self.leaving:
            worker.join()

    @property
    def exit_status(self) -> int:
        """The status of a worker that could not start, or 0."""
        return max([0, *(worker.exitcode or 0 for worker in self.processes)])


def stop_with_master() -> None:
    """Stop this process when its master is gone: it would keep the port from the next server."""
    master = multiprocessing.parent_process()
    if master is None:
        return
    loop, sentinel = asyncio.get_running_loop(), master.sentinel

    def stop() -> None:
        loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sentinel, stop)
