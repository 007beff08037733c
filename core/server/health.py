"""What machines ask a server process: whether it is alive, whether it is ready, and its metrics."""

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
from django.db import DatabaseError, close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from core.database.connections import MOVE_UNDER_WAY
from core.server.http_protocol import DRAINING
from core.server.responses import ASGIApplication, Receive, Scope, Send, address_of, send_error, send_response
from core.telemetry.hooks import instrumentations

log = logging.getLogger(__name__)

MAX_AGE = 1  # seconds for which the database's state is known, however many ask
DATABASE_TIMEOUT = 5  # seconds
GAUGE_INTERVAL = 1  # seconds between two updates of the gauges that other workers report for this one
ALIVE, READY, NOT_READY = (orjson.dumps({"status": status}) for status in ("alive", "ready", "not ready"))


def health(request: HttpRequest) -> JsonResponse:
    """200 while a request is answered the usual way: through a thread, the middleware and the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})


class Probes:
    """The health and metrics endpoints of one process, by path. They need neither Django's threads nor middleware.

    `open_streams` returns the number of open streams; `work_obstacle` why the process can do no work (empty: it can);
    `work_state` how many answers are made here, and for how many seconds their oldest unsaved text has waited.
    """

    def __init__(
        self,
        *,
        open_streams: Callable[[], int],
        work_obstacle: Callable[[], str],
        work_state: Callable[[], tuple[int, float]],
    ) -> None:
        self.open_streams, self.work_obstacle, self.work_state = open_streams, work_obstacle, work_state
        self.database = DatabaseProbe()
        self.stopping = False
        self.last_obstacle = ""
        self.paths: dict[str, ASGIApplication] = {"/health/live": self.live, "/health/ready": self.ready}
        if settings.METRICS_TOKEN or settings.METRICS_NETWORKS:
            self.module = import_module("core.telemetry.metrics")  # needs prometheus_client, and time
            self.metrics = self.module.Metrics()
            instrumentations.append(self.metrics)
            self.paths["/metrics"] = self.scrape

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_response(send, HTTPStatus.OK, ALIVE)

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say whether requests should be sent here. Why not is said only in the log, once for each change."""
        obstacle = "it was asked to stop." if self.stopping else self.work_obstacle() or await self.database.obstacle()
        if obstacle != self.last_obstacle:
            log.warning("Not ready: %s", obstacle) if obstacle else log.info("Ready")
            self.last_obstacle = obstacle
        status, body = (HTTPStatus.SERVICE_UNAVAILABLE, NOT_READY) if obstacle else (HTTPStatus.OK, READY)
        await send_response(send, status, body)

    async def scrape(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the metrics to a client that METRICS_TOKEN and METRICS_NETWORKS admit."""
        headers = dict(scope["headers"])
        authorization, accept = (headers.get(name, b"").decode("latin1") for name in (b"authorization", b"accept"))
        if not self.module.may_scrape(authorization, address_of(scope)):
            log.warning("The metrics were refused to %s", address_of(scope))
            detail = "The metrics are for those whom METRICS_TOKEN and METRICS_NETWORKS let in."
            await send_error(send, HTTPStatus.FORBIDDEN, "permission_denied", detail)
            return
        self.update_gauges()
        body, media_type = await asyncio.to_thread(self.metrics.scrape, accept)
        await send_response(send, HTTPStatus.OK, body, media_type)

    async def keep_gauges_current(self) -> None:
        """For the other workers, any of which may be asked for the metrics of all."""
        while "/metrics" in self.paths:
            self.update_gauges()
            await asyncio.sleep(GAUGE_INTERVAL)

    def update_gauges(self) -> None:
        running, lag = self.work_state()
        self.metrics.open_streams.set(self.open_streams())
        self.metrics.running.set(running)
        self.metrics.lag.set(lag)

    def handle_stop_signals(self, state: Scope) -> None:
        """Be not ready from SIGTERM or SIGINT on, and hand the signal to the server.

        SIGTERM is handed on after DRAIN_TIME, in which load balancers see that this process is not ready. `state` is
        that of the lifespan: the connections read there that the server stops.
        """
        loop = asyncio.get_running_loop()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def drain(number: int, frame: FrameType | None) -> None:
            delay = settings.DRAIN_TIME if number == signal.SIGTERM and not self.stopping else 0
            self.stopping = True
            loop.call_soon_threadsafe(loop.call_later, delay, stop, number, frame)

        def stop(number: int, frame: FrameType | None) -> None:
            state[DRAINING] = True
            handler = handlers[signal.Signals(number)]
            assert callable(handler)
            handler(number, frame)

        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, drain)


class DatabaseProbe:
    """Says why the database cannot serve requests. It is asked at most once in MAX_AGE."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, "readiness")  # its own thread: requests may occupy all others
        self.answer: asyncio.Future[str] | None = None
        self.asked_at = 0.0
        self.is_migrated = False

    async def obstacle(self) -> str:
        """The reason, for the log; empty when the database is ready."""
        if self.answer is None or (self.answer.done() and monotonic() - self.asked_at >= MAX_AGE):
            self.answer = asyncio.get_running_loop().run_in_executor(self.executor, self.query)
            self.asked_at = monotonic()
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT):
                return await asyncio.shield(self.answer)
        except TimeoutError:
            return "the database does not answer."

    def query(self) -> str:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            if self.is_migrated:
                return ""
            if MOVE_UNDER_WAY in connection.introspection.table_names():
                return "a move to the database is under way; manage.py move_database."
            executor = MigrationExecutor(connection)
            self.is_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError as error:
            return f"the database fails: {error}"
        finally:
            close_old_connections()
        return "" if self.is_migrated else "there are migrations that the database does not have; manage.py migrate."
