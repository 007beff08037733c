"""The master of several workers: it holds the port, starts another where one dies, and replaces all at SIGHUP."""

import signal
import time
from logging import getLogger
from socket import socket

from uvicorn import Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from core.server.http_protocol import Server

START_TIMEOUT = 60  # seconds
SILENCE = 20  # seconds without a sign of life after which a worker is taken for dead
PAUSE = 1  # seconds before a worker that did not start is started again
STOP = {signal.SIGTERM, signal.SIGINT}

log = getLogger(__name__)


class Worker(Process):
    has_served = False

    @property
    def server(self) -> Server:
        """Made in the worker's own process."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server  # type: ignore[return-value]

    def start(self) -> None:
        super().start()
        self.child_conn.close()  # or the end of the process would not end the wait for its sign of life

    def is_alive(self, timeout: float = 5) -> bool:
        """Whether it gives a sign of life in time."""
        if not self.process.is_alive():
            return False
        answer = self._healthcheck(timeout)
        self.has_served |= answer is True
        return answer is not None


class Supervisor(Multiprocess):
    """uvicorn's, but the old workers end while the new ones serve, and meanwhile it can be stopped and sees others die.

    Nobody is refused: the port is the master's, and a connection waits there until a worker takes it.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self.processes: list[Worker] = []  # type: ignore[assignment]
        self.leaving: list[Worker] = []
        self.has_served = False

    def started(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

    def init_processes(self) -> None:
        for _ in range(self.processes_num):
            self.processes.append(self.started())

    def restart_all(self) -> None:
        """Put a new worker in the place of each; where one does not start, the old ones go on."""
        for index, old in enumerate(self.processes):
            new = self.started()
            if not self.begins_to_serve(new):
                new.kill()
                new.join()
                if not self.is_to_stop():
                    log.error("A new worker did not start. The old ones go on.")
                return
            self.processes[index] = new
            self.retire(old)

    def retire(self, worker: Worker) -> None:
        """Let it end what it does; nobody waits for it."""
        worker.terminate()
        self.leaving.append(worker)

    def begins_to_serve(self, worker: Worker) -> bool:
        """Wait until it serves; False when it ended, took too long, or all is to stop."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and not self.is_to_stop():
            if not worker.is_alive(timeout=1) and not worker.process.is_alive():
                return False
            if worker.has_served:
                return True
            time.sleep(0.1)
        return False

    def is_to_stop(self) -> bool:
        return bool(STOP & set(self.signal_queue))

    def keep_subprocess_alive(self) -> None:
        """Start another worker for each that is gone or says nothing."""
        self.leaving = [worker for worker in self.leaving if worker.process.is_alive()]
        # those that live first: they say whether any has served
        for index, worker in sorted(enumerate(self.processes), key=lambda place: not place[1].process.is_alive()):
            if self.should_exit.is_set():
                return
            if worker.is_alive(timeout=SILENCE):
                self.has_served |= worker.has_served
                continue
            worker.kill()
            worker.join()
            if not self.has_served:
                log.error("Worker %s did not start, so none will.", worker.pid)
                self.should_exit.set()
                return
            log.warning("Worker %s is gone (exit status %s); another one is started.", worker.pid, worker.exitcode)
            if not worker.has_served:
                time.sleep(PAUSE)
            self.processes[index] = self.started()

    def terminate_all(self) -> None:
        super().terminate_all()
        self.processes += self.leaving  # for whose end is waited, too

    def handle_ttin(self) -> None:
        """One worker more."""
        self.processes.append(self.started())

    def handle_ttou(self) -> None:
        """One worker less, unless it is the only one."""
        if len(self.processes) > 1:
            self.retire(self.processes.pop())
