"""The threads in which answers are stored and read, apart from the threads that answer requests."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from django.db import close_old_connections

from core.server.threads import run_in_pool

T = TypeVar("T")


class DatabaseThreads:
    """One thread is only for the journal, which goes on whatever else waits for the database."""

    def __init__(self) -> None:
        self.general = ThreadPoolExecutor(2, "answers")
        self.journal = ThreadPoolExecutor(1, "journal")

    async def run(self, work: Callable[[], T], *, is_journal: bool = False) -> T:
        """The result of the work, which may wait for other work unless it is the journal's."""
        return await run_in_pool(self.journal if is_journal else self.general, with_connection, work)

    def shutdown(self) -> None:
        executors: tuple[Executor, ...] = (self.general, self.journal)
        for executor in executors:
            executor.shutdown(wait=False)


def with_connection(work: Callable[[], T]) -> T:
    """The result of the work. Gives the database connection back to its pool afterwards."""
    try:
        return work()
    finally:
        close_old_connections()
