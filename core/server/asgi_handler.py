"""Runs Django's synchronous request cycle in a pool of threads that stay, one hop to a thread for each request.

Django's own ASGI handler starts a thread for each request, changes to it for each signal and around the view, and ends
it, and with it its database connections. Here middleware and view are one call in one of a few threads, whose
connections stay open. A stream is sent by the event loop: it needs no thread and no database connection.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
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

from core.server.responses import Message, Receive, Scope, Send, StreamedResponse
from core.server.threads import run_in_pool
from core.telemetry.hooks import current_request

FINAL_EVENTS_TIMEOUT = 5  # seconds
P = ParamSpec("P")
T = TypeVar("T")
THREADS = 8  # each has a database connection: CONNECTIONS of core/database/url.py counts them


class ThreadPoolASGIHandler:
    """Answers requests whose body was read. `on_stop` is called when the server cancels a stream to stop."""

    def __init__(self, *, on_stop: Callable[[], None]) -> None:
        self.on_stop = on_stop
        self.django = WSGIHandler()  # the handler with synchronous middleware
        self.idle = [ThreadPoolExecutor(1, f"request-{number}") for number in range(THREADS)]
        self.free = asyncio.Semaphore(THREADS)
        self.open_streams = 0

    async def __call__(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        head, content = await self.run(self.get_response, scope, body)
        # sent without a thread: a client that reads slowly must not keep others waiting
        if isinstance(content, bytes):
            with suppress(asyncio.CancelledError):
                await send(head)
                await send({"type": "http.response.body", "body": content})
            return
        self.open_streams += 1
        try:
            await self.stream(scope, head, content, receive, send)
        finally:
            self.open_streams -= 1

    async def run(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run synchronous work in one of the threads, in the context of the request."""
        start = perf_counter()
        async with self.free:
            if record := current_request.get():
                record.waited += perf_counter() - start
            thread = self.idle.pop()  # the last used, which is the likeliest to have an open database connection
            try:
                # not `sync_to_async`: its support for calls back into the loop takes as long as a query
                return await run_in_pool(thread, partial(copy_context().run, work, *arguments, **options))
            finally:
                self.idle.append(thread)

    def get_response(self, scope: Scope, body: bytes) -> tuple[Message, bytes | AsyncGenerator[bytes]]:
        """Call signals, middleware and view in this thread; returns the head of the response and its whole or parts."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        response: HttpResponseBase
        try:
            response = self.django.get_response(ASGIRequest(scope, BytesIO(body)))
        except UnicodeDecodeError:  # in the query
            response = HttpResponseBadRequest()
        if record := current_request.get():
            record.status = response.status_code
            response.setdefault("X-Request-ID", record.id)  # a refused request did not pass the middleware
        headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
        headers += [(b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
        content = response.parts if isinstance(response, StreamedResponse) else response.getvalue()
        response.close()
        return {"type": "http.response.start", "status": response.status_code, "headers": headers}, content

    async def stream(
        self, scope: Scope, head: Message, parts: AsyncGenerator[bytes], receive: Receive, send: Send
    ) -> None:
        """Send the parts until they end or the client goes away."""

        async def send_parts() -> None:
            async with aclosing(parts):
                await send(head)
                if scope["method"] != "HEAD":
                    async for part in parts:
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body"})

        sending = asyncio.ensure_future(send_parts())
        leaving = asyncio.ensure_future(receive())  # the body was read, so the next message is http.disconnect
        try:
            await asyncio.wait((leaving, sending), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server's time to stop is up: the final events are still sent
            self.on_stop()
            await asyncio.wait((sending,), timeout=FINAL_EVENTS_TIMEOUT)
        finally:
            for task in (sending, leaving):
                task.cancel()
            for task in (sending, leaving):
                with suppress(asyncio.CancelledError):
                    await task
