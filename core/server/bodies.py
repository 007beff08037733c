"""Bodies of callers who must be signed in are read only if they are, but for the little that comes at once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from core.server.responses import Message, Receive, Scope, Send

EARLY_SIZE = 65_536  # bytes that are read in any case
EARLY_TIME = 0.1  # seconds for these; most bodies arrive whole, and cost no further query for the caller


async def receive_if_admitted(scope: Scope, receive: Receive, admits: Callable[[], Awaitable[bool]]) -> Receive | None:
    """A `receive` that begins with what came early; None if more would come and the caller is not admitted."""
    headers, early = dict(scope["headers"]), list[Message]()
    if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
        return receive

    def has_more() -> bool:
        return not early or bool(early[-1].get("more_body"))

    async def receive_again() -> Message:
        return early.pop(0) if early else await receive()

    if b"expect" not in headers:  # to receive is to tell the client that it may send
        with suppress(TimeoutError):
            async with asyncio.timeout(EARLY_TIME):
                while has_more() and sum(len(message.get("body", b"")) for message in early) < EARLY_SIZE:
                    early.append(await receive())
    return receive_again if not has_more() or await admits() else None


def last_on_connection(send: Send) -> Send:
    """A `send` whose response ends the connection, because the rest of the request is not read."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return send_last
