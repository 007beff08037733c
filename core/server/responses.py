"""Types of ASGI, and responses that are sent without Django: they need neither a thread nor the database."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from django.http import StreamingHttpResponse

from core.rest.errors import error_object
from core.rest.sse import MEDIA_TYPE
from core.telemetry.hooks import current_request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MOST_DRAINED = 8 * 2**20  # bytes
DRAIN_TIMEOUT = 30  # seconds

ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class Reader(NamedTuple):
    """Who made a request: a user, with a token or in a browser's session."""

    user_id: int | None = None
    token_id: int | None = None
    session_key: str | None = None


def error_document(status: HTTPStatus, code: str, detail: str) -> bytes:
    """An error as JSON:API writes it."""
    return orjson.dumps({"errors": [error_object(status, code, detail)]})


class StreamedResponse(StreamingHttpResponse):
    """A Django response whose body the ASGI handler reads from `parts`, which it closes when the client leaves.

    Django wraps the iterator of a streaming response in another, and does not close the inner one.
    """

    reader = Reader()  # the handler sets it
    # the end of the body if the reader's token or session ends before
    last_words = error_document(HTTPStatus.UNAUTHORIZED, "authentication_failed", "Your token or session has ended.")

    def __init__(self, parts: AsyncGenerator[bytes], *, status: HTTPStatus, content_type: str) -> None:
        super().__init__(parts, status=status, content_type=content_type)
        self.parts = parts


class EventStream(StreamedResponse):
    """Server-sent events as they come; `core.rest.sse` writes them."""

    last_words = b""  # the client opens the stream again, and is told why it may not

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(events, status=HTTPStatus.OK, content_type=MEDIA_TYPE)
        self["Cache-Control"] = "private, no-cache"
        self["X-Accel-Buffering"] = "no"  # nginx would keep them back


async def send_response(
    send: Send,
    status: HTTPStatus,
    body: bytes,
    media_type: str = "application/json",
    *,
    close: bool = False,
    retry_after: int | None = None,
    unread: Receive | None = None,
) -> None:
    """Send a whole response; `close` ends the connection, after the beginning of an `unread` body has been read.

    A client that still sends would find the connection reset, and lose the response.
    """
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(b"cache-control", b"no-store")]
    if retry_after is not None:
        headers += [(b"retry-after", b"%d" % retry_after)]
    if close:
        headers += [(b"connection", b"close")]
    if request := current_request.get():
        request.status = status
        headers += [(b"x-request-id", request.id.encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": unread is not None})
    if unread is not None:
        with suppress(TimeoutError, asyncio.CancelledError):  # the latter when the server's time to stop is up
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await drain(unread)
        await send({"type": "http.response.body"})


async def drain(receive: Receive) -> None:
    """Read the rest of a request's body, as far as MOST_DRAINED, and forget it."""
    count = 0
    while count < MOST_DRAINED:
        message = await receive()
        count += len(message.get("body", b""))
        if not message.get("more_body"):  # it has ended, or the client has left
            return


async def send_error(send: Send, status: HTTPStatus, code: str, detail: str, *, unread: Receive | None = None) -> None:
    """Send an error document of JSON:API, and close the connection; of an `unread` body see `send_response`."""
    await send_response(send, status, error_document(status, code, detail), close=True, unread=unread)


def address_of(scope: Scope) -> str:
    """The client's IP address; proxy_headers.py has replaced a trusted proxy's address with its client's."""
    return str(scope["client"][0]) if scope.get("client") else ""
