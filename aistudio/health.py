"""Whether requests should be sent to this process."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from django.db import DEFAULT_DB_ALIAS, DatabaseError, close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor

from aistudio.databases import is_half_moved

log = logging.getLogger(__name__)

KEPT = 1  # seconds that an answer of the database is good for, however many ask
TIMEOUT = 5  # seconds the database has


class Readiness:
    """Of one process and its event loop. `obstacle` says why the process itself cannot take requests, if it cannot."""

    def __init__(self, obstacle: Callable[[], str]) -> None:
        self.obstacle = obstacle
        self.executor = ThreadPoolExecutor(1, "readiness")  # its own: requests may have all others
        self.asked: asyncio.Future[str] | None = None
        self.asked_at = 0.0
        self.is_migrated = False
        self.said = ""

    async def __call__(self) -> bool:
        """Whether it is ready. The reason why not is for the log alone."""
        reason = self.obstacle() or await self.obstacle_of_database()
        if reason != self.said:
            log.warning("Not ready: %s", reason) if reason else log.info("Ready")
            self.said = reason
        return not reason

    async def obstacle_of_database(self) -> str:
        if self.asked is None or (self.asked.done() and monotonic() - self.asked_at >= KEPT):
            self.asked = asyncio.get_running_loop().run_in_executor(self.executor, self.ask)
            self.asked_at = monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                return await asyncio.shield(self.asked)
        except TimeoutError:
            return "the database does not answer."

    def ask(self) -> str:
        """What the database lacks; empty when it lacks nothing."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            if not self.is_migrated and is_half_moved(DEFAULT_DB_ALIAS):
                return "a move to the database is under way; manage.py move_database."
            self.is_migrated = self.is_migrated or not unapplied()
        except DatabaseError as error:
            return f"the database fails: {error}"
        finally:
            close_old_connections()
        return "" if self.is_migrated else "there are migrations that the database does not have; manage.py migrate."


def unapplied() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
