"""Django's ASGI handler with one hop to a thread for each request, and threads that stay.

Django's own makes a thread for each request, hops to it for every signal and back and forth around the view, and ends
it; with the thread go its database connections; an open stream holds one as long as it lasts. Here the whole
synchronous part is one call in one of a few threads. What then streams asynchronously needs none of them, and no
database connection.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from contextvars import copy_context
from io import BytesIO
from time import perf_counter
from typing import Any, NamedTuple

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.urls import set_script_prefix

from core.server.threads import run_in_pool
from core.telemetry.hooks import current_request

LAST_WORDS_TIMEOUT = 5  # seconds
THREADS = 8  # PostgreSQL's pool has a connection for each, and some for the worker: see CONNECTIONS of the settings


class StreamedResponse(NamedTuple):
    """An answer whose parts come one by one."""

    status: int
    headers: list[tuple[bytes, bytes]]
    parts: AsyncGenerator[bytes]


class ThreadPoolASGIHandler(ASGIHandler):
    """`on_stop` is called when the time for open streams is up: it lets them end."""

    def __init__(self, *, on_stop: Callable[[], None]) -> None:
        self.on_stop = on_stop
        self.idle = [ThreadPoolExecutor(1, f"request-{number}") for number in range(THREADS)]
        self.free = asyncio.Semaphore(THREADS)
        self.streams = 0  # that are open
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, body: bytes, receive: Any, send: Any) -> None:  # type: ignore[override]
        begun = perf_counter()
        async with self.free:
            if seen := current_request.get():
                seen.waited = perf_counter() - begun
            worker = self.idle.pop()  # the one that was busy last, whose connection is the likeliest to be open
            try:
                # not `sync_to_async`: nothing here calls back into the loop, and its care for that takes as long as
                # a query
                answer = await run_in_pool(worker, copy_context().run, self.respond, scope, body)
            finally:
                self.idle.append(worker)
        # it is sent without a thread: those who read slowly keep nobody from being answered
        if not isinstance(answer, StreamedResponse):
            with suppress(asyncio.CancelledError):
                await self.send_response(answer, send)
            return
        self.streams += 1
        try:
            await self.stream(scope, answer, receive, send)
        finally:
            self.streams -= 1

    def respond(self, scope: Any, body: bytes) -> Any:
        """All that is synchronous, in one thread: signals, middleware and view."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, BytesIO(body))
        response: Any = self.get_response(request) if request else refusal
        response._handler_class = self.__class__
        if seen := current_request.get():
            seen.status = response.status_code
            response.setdefault("X-Request-ID", seen.id)  # a refusal did not pass the middleware
        parts = None
        if response.streaming:
            # the iterator itself: what Django wraps around it is not closed when this is
            parts = response._iterator if response.is_async else whole(response.getvalue())
        response.close()
        return StreamedResponse(response.status_code, headers_of(response), parts) if parts else response

    async def stream(self, scope: Any, answer: StreamedResponse, receive: Any, send: Any) -> None:
        """Send what comes until it ends or the client goes away."""
        parts = nothing() if scope["method"] == "HEAD" else answer.parts
        sent = asyncio.ensure_future(self.send_parts(answer._replace(parts=parts), send))
        gone = asyncio.ensure_future(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait((gone, sent), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # only a server whose time to stop is up does this: what is left is the end
            self.on_stop()
            await asyncio.wait((sent,), timeout=LAST_WORDS_TIMEOUT)
        finally:
            for task in (sent, gone):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await sent
            with suppress(asyncio.CancelledError, RequestAborted):
                await gone

    @staticmethod
    async def send_parts(answer: StreamedResponse, send: Any) -> None:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        async with aclosing(answer.parts) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


def headers_of(response: Any) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    return headers + [(b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]


async def nothing() -> AsyncGenerator[bytes]:
    return
    yield b""


async def whole(content: bytes) -> AsyncGenerator[bytes]:
    yield content
