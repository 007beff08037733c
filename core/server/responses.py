"""What is answered without Django: it needs no thread, and no database."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson

from core.rest.errors import error_object
from core.telemetry.hooks import current_request

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def send_response(
    send: Send, status: HTTPStatus, body: bytes, media_type: str = "application/json", *, close: bool = False
) -> None:
    """`close` where not all was read that the client sends."""
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(b"cache-control", b"no-store")]
    if close:
        headers += [(b"connection", b"close")]
    if request := current_request.get():
        request.status = status
        headers += [(b"x-request-id", request.id.encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, status: HTTPStatus, code: str, detail: str) -> None:
    await send_response(send, status, orjson.dumps({"errors": [error_object(status, code, detail)]}), close=True)


def address_of(scope: Scope) -> str:
    """Of the caller: a proxy's word for it has been taken already where that is trusted."""
    return str(scope["client"][0]) if scope.get("client") else ""
