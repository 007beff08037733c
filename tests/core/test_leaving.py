"""A server that begins to stop answers those who are about to ask, and tells them that it is the last answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from core.server.http_protocol import DRAINING, LINGER, GracefulProtocol
from tests.live import free_port

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says whether its server stops."""
    body = str(scope["state"].get(DRAINING, False)).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def while_it_stops(behaviour: Callable[[list[Streams]], Awaitable[None]]) -> None:
    """Open two connections, one of which has been used, begin to stop the server, and do it."""

    async def run() -> None:
        port = free_port()
        config = uvicorn.Config(
            application, port=port, http=GracefulProtocol, lifespan="off", log_config=None, timeout_graceful_shutdown=20
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())  # without its handlers of signals
        while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert await answer_on(connections[0]) == (False, "False")
        server.lifespan.state[DRAINING] = True  # as the application does at SIGTERM
        server.should_exit = True
        while server.servers[0].is_serving():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await behaviour(connections)
        await asyncio.wait_for(serving, 5)
        for _, writer in connections:
            writer.close()

    asyncio.run(run())


async def answer_on(connection: Streams) -> tuple[bool, str]:
    """Whether it is the last one, and its body."""
    reader, writer = connection
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return b"connection: close\r\n" in head, (await reader.readexactly(length)).decode()


def test_who_asks_on_an_open_connection_is_answered_for_the_last_time() -> None:
    async def ask(connections: list[Streams]) -> None:
        for connection in connections:
            assert await answer_on(connection) == (True, "True")
            assert await asyncio.wait_for(connection[0].read(), LINGER / 2) == b""  # the end, without more waiting

    while_it_stops(ask)


def test_who_does_not_ask_is_not_waited_for() -> None:
    async def wait(connections: list[Streams]) -> None:
        for reader, _ in connections:
            assert await asyncio.wait_for(reader.read(), LINGER + 2) == b""

    while_it_stops(wait)
