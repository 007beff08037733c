"""The one entry point: Django, behind a limit on bodies, with a start and an end to the process."""

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import django
import orjson
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aistudio.settings")
django.setup(set_prefix=False)

from aistudio.errors import error_object  # noqa: E402  (Django is set up above)
from aistudio.handler import Handler  # noqa: E402
from chats import runs  # noqa: E402
from groups import token_use  # noqa: E402
from groups.models import User  # noqa: E402
from groups.people import first_run_code  # noqa: E402

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

log = logging.getLogger(__name__)

TOKEN_USE_INTERVAL = 60  # seconds

django_application = Handler(on_stop=runs.hurry)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await limited(scope, receive, send)
    else:  # a WebSocket: there is none
        await send({"type": "websocket.close"})


async def limited(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, at most as much as is allowed, and hand it on whole: with a length, as DRF wants it."""
    body = None
    if announced_length(scope) <= settings.MAX_BODY_SIZE:
        try:
            body = await read_body(receive)
        except ConnectionAbortedError:
            return
    if body is None:
        await refuse(send)
        return
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
    messages = [{"type": "http.request", "body": body}]

    async def replay() -> Any:
        return messages.pop() if messages else await receive()

    await django_application(scope, replay, send)


async def read_body(receive: Receive) -> bytes | None:
    """The body, or None when it is too large; raises ConnectionAbortedError when the client went away."""
    body = bytearray()
    while len(body) <= settings.MAX_BODY_SIZE:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body) if len(body) <= settings.MAX_BODY_SIZE else None


def announced_length(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


async def refuse(send: Send) -> None:
    detail = f"The body has more than {settings.MAX_BODY_SIZE:,} bytes."
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    body = orjson.dumps({"errors": [error_object(status, "payload_too_large", detail)]})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """What this process does beside answering requests, from its start to its end."""
    await receive()
    gc.collect()
    gc.freeze()  # what was loaded stays: looking through it again and again would make every request wait
    async with runs.Worker():
        task = asyncio.create_task(write_token_use())
        await in_database(say_first_run_code)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await store_token_use()
    await send({"type": "lifespan.shutdown.complete"})


def say_first_run_code() -> None:
    with suppress(DatabaseError):  # not migrated yet
        if not User.objects.exists():
            log.warning(
                "There is no user yet. The page /first-run makes the administrator; its code: %s", first_run_code()
            )


async def write_token_use() -> None:
    while True:
        await asyncio.sleep(TOKEN_USE_INTERVAL)
        await store_token_use()


async def store_token_use() -> None:
    try:
        await in_database(token_use.write)
    except DatabaseError as error:
        log.warning("When tokens were last used is not stored now, but the next time: %s", error)


async def in_database(work: Callable[[], None]) -> None:
    """Run it in a thread, and keep no connection afterwards."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    await sync_to_async(run)()
