"""What machines ask of this process: whether it lives, whether it is ready, and its metrics."""

import asyncio
import logging
import signal
from collections.abc import Callable
from http import HTTPStatus
from importlib import import_module
from types import FrameType

import orjson
from django.conf import settings

from aistudio.bare import Receive, Scope, Send, address_of, answer, refuse
from aistudio.health import Readiness
from aistudio.server import DRAINING
from aistudio.watch import watchers
from chats import worker

log = logging.getLogger(__name__)

SHOWN = 1  # seconds: how often a worker shows how it stands to those that answer for it
ALIVE, READY, UNREADY = (orjson.dumps({"status": status}) for status in ("alive", "ready", "not ready"))


class Probes:
    """Of one process. `streams` says how many are open."""

    def __init__(self, streams: Callable[[], int]) -> None:
        self.streams = streams
        self.is_ready = Readiness(self.obstacle)
        self.stopping = False
        self.paths = {"/health/live": self.live, "/health/ready": self.ready}
        if settings.METRICS_TOKEN or settings.METRICS_NETWORKS:
            self.module = import_module("aistudio.metrics")
            self.metrics = self.module.Metrics()
            watchers.append(self.metrics)
            self.paths["/metrics"] = self.scrape

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, HTTPStatus.OK, ALIVE)

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whether requests should be sent here; the reason why not is for the log."""
        self.stopping |= DRAINING in scope.get("state", ())
        if await self.is_ready():
            await answer(send, HTTPStatus.OK, READY)
        else:
            await answer(send, HTTPStatus.SERVICE_UNAVAILABLE, UNREADY)

    def obstacle(self) -> str:
        return "it was asked to stop." if self.stopping else worker.obstacle()

    async def scrape(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The metrics, to those who may have them."""
        headers = dict(scope["headers"])
        authorization, accept = (headers.get(name, b"").decode("latin1") for name in (b"authorization", b"accept"))
        if not self.module.may_scrape(authorization, address_of(scope)):
            log.warning("The metrics were refused to %s", address_of(scope))
            detail = "The metrics are for those whom METRICS_TOKEN and METRICS_NETWORKS let in."
            await refuse(send, HTTPStatus.FORBIDDEN, "permission_denied", detail)
            return
        self.show()
        body, media_type = await asyncio.to_thread(self.metrics.scrape, accept)
        await answer(send, HTTPStatus.OK, body, media_type)

    async def keep_showing(self) -> None:
        """Tell the workers that answer for this one how it stands."""
        while "/metrics" in self.paths:
            self.show()
            await asyncio.sleep(SHOWN)

    def show(self) -> None:
        running, lag = worker.state()
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
