"""Django's ASGI handler with one hop to a thread for each request, and threads that stay.

Django's own makes a thread for each request, hops to it for every signal and back and forth around the view, and ends
it; with the thread go its database connections. Here the whole synchronous part is one call in a thread that serves
one request after the other.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.urls import set_script_prefix


class Handler(ASGIHandler):
    def __init__(self) -> None:
        self.idle: list[ThreadPoolExecutor] = []  # each of one thread; as many as requests were ever served at once
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        worker = self.idle.pop() if self.idle else ThreadPoolExecutor(1, "request")
        try:
            async with ThreadSensitiveContext(executor=worker):
                await self.handle(scope, receive, send)
        finally:
            self.idle.append(worker)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        response = await sync_to_async(self.respond)(scope, body)
        if response.streaming:
            await self.stream(response, receive, send)
        else:
            with suppress(asyncio.CancelledError):
                await self.send_response(response, send)

    def respond(self, scope: Any, body: Any) -> Any:
        """All that is synchronous, in one thread: signals, middleware and view."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = self.get_response(request) if request else refusal
        response._handler_class = self.__class__
        body.close()
        if not response.streaming:
            response.close()
        return response

    async def stream(self, response: Any, receive: Any, send: Any) -> None:
        """Send what the view yields until it ends or the client goes away."""
        gone = asyncio.create_task(self.listen_for_disconnect(receive))
        sent = asyncio.create_task(self.send_response(response, send))
        await asyncio.wait((gone, sent), return_when=asyncio.FIRST_COMPLETED)
        try:
            for task in (gone, sent):
                if not task.done():
                    task.cancel()
                with suppress(asyncio.CancelledError, RequestAborted):
                    await task
        finally:
            await sync_to_async(response.close)()
