"""Runs Django's synchronous request cycle in a pool of threads that stay, one hop to a thread for each request.

Django's own ASGI handler starts a thread for each request, changes to it for each signal and around the view, and ends
it, and with it its database connections. Here middleware and view are one call in one of a few threads, whose
connections stay open. A stream is sent by the event loop: it needs no thread and no database connection.
"""

import asyncio
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from contextvars import copy_context
from functools import partial
from io import BytesIO
from time import perf_counter
from typing import ParamSpec, TypeVar

from django.core import signals
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from core.server.responses import Message, Reader, Receive, Scope, Send, StreamedResponse
from core.server.threads import run_in_pool
from core.telemetry.hooks import current_request

FINAL_EVENTS_TIMEOUT = 5  # seconds
LAST_WORDS_TIMEOUT = 1  # seconds
P = ParamSpec("P")
T = TypeVar("T")
THREADS = 8  # for most requests; each has a database connection: CONNECTIONS of core/database/url.py counts them


class ThreadPoolASGIHandler:
    """Answers requests whose body was read. `on_stop` is called when the server cancels a stream to stop.

    `pools` are threads, by name, for requests that take long, so that these never make others wait.
    """

    def __init__(
        self,
        *,
        on_stop: Callable[[], None],
        pools: Mapping[str, int],
    ) -> None:
        self.on_stop = on_stop
        self.django = WSGIHandler()  # the handler with synchronous middleware
        sizes = {"request": THREADS, **pools}
        self.idle = {
            name: [ThreadPoolExecutor(1, f"{name}-{number}") for number in range(size)] for name, size in sizes.items()
        }
        self.free = {name: asyncio.Semaphore(size) for name, size in sizes.items()}
        self.streams: dict[asyncio.Future[None], Reader] = {}  # those that are open; a result ends one

    async def __call__(self, scope: Scope, body: bytes, receive: Receive, send: Send, pool: str) -> None:
        head, content = await self.run(pool, self.get_response, scope, body)
        # sent without a thread: a client that reads slowly must not keep others waiting
        if isinstance(content, bytes):
            with suppress(asyncio.CancelledError):
                await send(head)
                await send({"type": "http.response.body", "body": content})
            return
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.streams[ended] = content.reader
        try:
            await self.stream(scope, head, content, ended, receive, send)
        finally:
            del self.streams[ended]

    def end_streams(self, readers: Container[Reader]) -> None:
        """End the open streams of these readers."""
        for ended, reader in self.streams.items():
            if reader in readers and not ended.done():
                ended.set_result(None)

    async def run(self, pool: str, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run synchronous work in one of the threads of a pool, in the context of the request."""
        start, pool = perf_counter(), pool or "request"
        async with self.free[pool]:
            if record := current_request.get():
                record.waited += perf_counter() - start
            thread = self.idle[pool].pop()  # the last used, which is the likeliest to have an open database connection
            try:
                # not `sync_to_async`: its support for calls back into the loop takes as long as a query
                return await run_in_pool(thread, partial(copy_context().run, work, *arguments, **options))
            finally:
                self.idle[pool].append(thread)

    def get_response(self, scope: Scope, body: bytes) -> tuple[Message, bytes | StreamedResponse]:
        """Call signals, middleware and view in this thread; returns the response's head, and its body or itself."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        response: HttpResponseBase
        try:
            request = ASGIRequest(scope, BytesIO(body))
            response = self.django.get_response(request)
        except UnicodeDecodeError:  # in the query
            response = HttpResponseBadRequest()
        if record := current_request.get():
            record.status = response.status_code
            response.setdefault("X-Request-ID", record.id)  # a refused request did not pass the middleware
        headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
        headers += [(b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
        content: bytes | StreamedResponse = response if isinstance(response, StreamedResponse) else response.getvalue()
        if isinstance(response, StreamedResponse):
            token_id = getattr(request, "auth", None)  # as REST framework sets it
            session_key = request.session.session_key if token_id is None else None
            response.reader = Reader(request.user.pk, token_id, session_key)
        response.close()
        return {"type": "http.response.start", "status": response.status_code, "headers": headers}, content

    async def stream(
        self,
        scope: Scope,
        head: Message,
        response: StreamedResponse,
        ended: asyncio.Future[None],
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the parts until they end, the client goes away, or the stream is `ended` from outside."""

        async def send_parts() -> None:
            async with aclosing(response.parts) as parts:
                await send(head)
                if scope["method"] != "HEAD":
                    async for part in parts:
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body"})

        sending = asyncio.ensure_future(send_parts())
        leaving = asyncio.ensure_future(receive())  # the body was read, so the next message is http.disconnect
        try:
            await asyncio.wait((leaving, sending, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and sending.cancel():
                await asyncio.wait((sending,))
                with suppress(TimeoutError):  # a client that does not read is hung up on
                    async with asyncio.timeout(LAST_WORDS_TIMEOUT):
                        await send({"type": "http.response.body", "body": response.last_words})
        except asyncio.CancelledError:  # the server's time to stop is up: the final events are still sent
            self.on_stop()
            await asyncio.wait((sending,), timeout=FINAL_EVENTS_TIMEOUT)
        finally:
            for task in (sending, leaving):
                task.cancel()
            for task in (sending, leaving):
                with suppress(asyncio.CancelledError):
                    await task
