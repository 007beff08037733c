"""What machines ask of this process: whether it lives, whether it is ready, and its metrics."""

import asyncio
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from importlib import import_module
from time import monotonic
from types import FrameType

import orjson
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor

from core.database.connections import is_half_moved
from core.server.http_protocol import DRAINING
from core.server.responses import Receive, Scope, Send, address_of, send_error, send_response
from core.telemetry.hooks import instrumentations

log = logging.getLogger(__name__)

KEPT = 1  # seconds that an answer of the database is good for, however many ask
TIMEOUT = 5  # seconds the database has
SHOWN = 1  # seconds: how often a worker shows how it stands to those that answer for it
ALIVE, READY, UNREADY = (orjson.dumps({"status": status}) for status in ("alive", "ready", "not ready"))


class Probes:
    """The health and metrics endpoints of one process.

    `streams` says how many streams are open; `work_obstacle` why the process can do no work (empty: it can);
    `work_state` how many answers are made here, and how many seconds their oldest unsaved text has waited.
    """

    def __init__(
        self,
        *,
        streams: Callable[[], int],
        work_obstacle: Callable[[], str],
        work_state: Callable[[], tuple[int, float]],
    ) -> None:
        self.streams, self.work_obstacle, self.work_state = streams, work_obstacle, work_state
        self.is_ready = Readiness(self.obstacle)
        self.stopping = False
        self.paths = {"/health/live": self.live, "/health/ready": self.ready}
        if settings.METRICS_TOKEN or settings.METRICS_NETWORKS:
            self.module = import_module("core.telemetry.metrics")
            self.metrics = self.module.Metrics()
            instrumentations.append(self.metrics)
            self.paths["/metrics"] = self.scrape

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_response(send, HTTPStatus.OK, ALIVE)

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whether requests should be sent here; the reason why not is for the log."""
        self.stopping |= DRAINING in scope.get("state", ())
        if await self.is_ready():
            await send_response(send, HTTPStatus.OK, READY)
        else:
            await send_response(send, HTTPStatus.SERVICE_UNAVAILABLE, UNREADY)

    def obstacle(self) -> str:
        return "it was asked to stop." if self.stopping else self.work_obstacle()

    async def scrape(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The metrics, to those who may have them."""
        headers = dict(scope["headers"])
        authorization, accept = (headers.get(name, b"").decode("latin1") for name in (b"authorization", b"accept"))
        if not self.module.may_scrape(authorization, address_of(scope)):
            log.warning("The metrics were refused to %s", address_of(scope))
            detail = "The metrics are for those whom METRICS_TOKEN and METRICS_NETWORKS let in."
            await send_error(send, HTTPStatus.FORBIDDEN, "permission_denied", detail)
            return
        self.show()
        body, media_type = await asyncio.to_thread(self.metrics.scrape, accept)
        await send_response(send, HTTPStatus.OK, body, media_type)

    async def keep_showing(self) -> None:
        """Tell the workers that answer for this one how it stands."""
        while "/metrics" in self.paths:
            self.show()
            await asyncio.sleep(SHOWN)

    def show(self) -> None:
        running, lag = self.work_state()
        self.metrics.show(streams=self.streams(), running=running, lag=lag)

    def drain_first(self) -> None:
        """From SIGTERM on this process is not ready. It stops DRAIN_TIME later, when others have seen that."""
        stop, loop = signal.getsignal(signal.SIGTERM), asyncio.get_running_loop()
        if not callable(stop):  # nobody but the system would end it
            return

        def drain(number: int, frame: FrameType | None) -> None:
            delay = 0 if self.stopping else settings.DRAIN_TIME
            self.stopping = True
            loop.call_soon_threadsafe(lambda: loop.call_later(delay, stop, number, frame))

        signal.signal(signal.SIGTERM, drain)


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
