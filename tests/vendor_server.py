"""An OpenAI-compatible server on a real socket, that does what the model's name says, good or bad.

`ok` streams ANSWER, `ok:any text` that text. An error status is a number, `429-once` is one that is gone at the next
request, `429:60` has that Retry-After. The others are in BEHAVIOURS; no other model is known (404).
"""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Self

import pytest

ANSWER = "The quick brown fox jumps over the lazy dog."
HALF = "The quick brown fox"  # what `stall`, `close` and `garbage` send before they do it
PATIENCE = 600  # seconds that `hang` and `stall` last


@dataclass(frozen=True)
class Received:
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float  # by time.monotonic()


class VendorServer:
    """A server in a thread of its own, up within `with`."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.open = 0  # connections that are open now
        self.accepted = 0  # connections that ever were
        self.closed_at: list[float] = []  # when connections ended, whoever ended them; by time.monotonic()
        self.cut_at: list[float] = []  # those that the client closed within an answer
        self.times_asked: Counter[str] = Counter()  # by model
        self._loop = asyncio.new_event_loop()
        self._transports: set[asyncio.Transport] = set()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="vendor", daemon=True)
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *exception: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def models(self) -> list[str]:
        """Of the requests, as they came."""
        return [request.body["model"] for request in self.requests]

    def wait_until(self, is_so: Callable[[], bool], timeout: float = 1) -> None:
        deadline = time.monotonic() + timeout
        while not is_so():
            assert time.monotonic() < deadline, "It did not come to be in time."
            time.sleep(0.005)

    async def _start(self) -> None:
        self._server = await self._loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for transport in tuple(self._transports):
            transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    with VendorServer() as server:
        yield server


def unused_port() -> int:
    """A port at which a connection is refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Connection(asyncio.Protocol):
    """One client: reads requests, answers them one after the other."""

    transport: asyncio.Transport

    def __init__(self, server: VendorServer) -> None:
        self.server = server
        self.received = b""
        self.answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server._transports.add(transport)
        self.server.open += 1
        self.server.accepted += 1

    def connection_lost(self, error: Exception | None) -> None:
        now = time.monotonic()
        self.server._transports.discard(self.transport)
        self.server.closed_at.append(now)
        if self.answering and not self.answering.done() and not self.answering.cancelling():
            self.server.cut_at.append(now)
            self.answering.cancel()
        self.server.open -= 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, rest = self.received.partition(b"\r\n\r\n")
        if not blank:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        method, target, _ = first.split(" ")
        body = json.loads(rest[:length] or b"{}")
        self.received = rest[length:]
        self.server.requests.append(Received(method, target, headers, body, time.monotonic()))
        self.answering = asyncio.get_running_loop().create_task(self.answer(body))

    async def answer(self, body: dict[str, Any]) -> None:
        model = str(body.get("model", ""))
        self.server.times_asked[model] += 1
        name, _, argument = model.partition(":")
        if name.endswith("-once"):
            name = name.removesuffix("-once") if self.server.times_asked[model] == 1 else "ok"
            argument = argument if name != "ok" else ""
        if behaviour := BEHAVIOURS.get(name):
            await behaviour(self, argument, body)
        else:
            self.refuse(int(name) if name.isdigit() else 404, argument)

    # what behaviours are made of

    def send(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def begin(self, content_type: str = "text/event-stream") -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())

    def send_event(self, **values: Any) -> None:
        event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", **values}
        self.send(b"data: " + json.dumps(event).encode() + b"\n\n")

    def send_delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        self.send_event(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}], usage=None)

    async def send_words(self, text: str, delay: float = 0) -> None:
        self.send_delta({"role": "assistant", "content": ""})
        for number, word in enumerate(text.split(" ")):
            self.send_delta({"content": f" {word}" if number else word})
            await asyncio.sleep(delay)

    def finish(self, words: int, asked: dict[str, Any]) -> None:
        counted = sum(len(message["content"].split()) for message in asked["messages"])
        self.send_delta({}, "stop")
        usage = {"prompt_tokens": counted, "completion_tokens": words, "total_tokens": counted + words}
        self.send_event(choices=[], usage=usage)

    async def end(self) -> None:
        self.send(b"data: [DONE]\n\n")
        await asyncio.sleep(0.005)  # the end of the body comes on its own, as it does elsewhere
        self.transport.write(b"0\r\n\r\n")

    def answer_whole(self, status: int, body: bytes, *headers: str) -> None:
        lines = (f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *headers)
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def refuse(self, status: int, retry_after: str) -> None:
        headers = ["Content-Type: application/json"]
        if status == 429 or retry_after:
            headers.append(f"Retry-After: {retry_after or 1}")
        sent = self.server.requests[-1].headers.get("authorization", "nothing")
        message = f"You sent {sent}, and I say {status}."  # vendors do echo keys
        error = {"error": {"message": message, "type": "some_error", "param": None, "code": None}}
        self.answer_whole(status, json.dumps(error).encode(), *headers)


async def ok(connection: Connection, text: str, asked: dict[str, Any], delay: float = 0) -> None:
    text = text or ANSWER
    connection.begin()
    await connection.send_words(text, delay)
    connection.finish(len(text.split(" ")), asked)
    await connection.end()


async def echo(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """The last message of the user."""
    questions = [message["content"] for message in asked["messages"] if message["role"] == "user"]
    await ok(connection, questions[-1], asked)


async def slow(connection: Connection, words: str, asked: dict[str, Any]) -> None:
    """A word each 50 ms, for a long time; `slow:20` says how many."""
    await ok(connection, " ".join(map(str, range(1, int(words or 10_000) + 1))), asked, delay=0.05)


async def count(connection: Connection, words: str, asked: dict[str, Any]) -> None:
    """As many words as `count:1000` says, as fast as they go."""
    await ok(connection, " ".join(map(str, range(1, int(words or 100) + 1))), asked)


async def whole(connection: Connection, text: str, asked: dict[str, Any]) -> None:
    """Does not stream."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text or ANSWER}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 9}
    body = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    connection.answer_whole(200, body, "Content-Type: application/json")


async def error_in_stream(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.begin()
    await connection.send_words(HALF)
    connection.send_event(error={"message": "The server is overloaded", "type": "server_error"})
    await connection.end()


async def hang(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Never answers."""
    await asyncio.sleep(PATIENCE)


async def stall(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, then silence."""
    connection.begin()
    await connection.send_words(HALF)
    await asyncio.sleep(PATIENCE)


async def close(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, and the connection is gone."""
    connection.begin()
    await connection.send_words(HALF)
    connection.transport.close()


async def reset(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, and the connection is torn."""
    connection.begin()
    await connection.send_words(HALF)
    await asyncio.sleep(0.05)
    connection.transport.abort()


async def hang_up(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Closes before it has said anything."""
    connection.transport.close()


async def end_early(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, and a proper end."""
    connection.begin()
    await connection.send_words(HALF)
    connection.transport.write(b"0\r\n\r\n")


async def garbage(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.begin()
    await connection.send_words(HALF)
    connection.send(b'data: {"choices": [{"del\x00\xff\n\n')
    await connection.end()


async def broken_framing(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, then bytes that are no chunk."""
    connection.begin()
    await connection.send_words(" ".join(HALF.split(" ")[:-1]))
    await asyncio.sleep(0.05)
    event = b'data: {"choices":[{"delta":{"content":" fox"}}]}\n\n'
    connection.transport.write(b"%x\r\n%b\r\nthis is no chunk\r\n" % (len(event), event))
    await asyncio.sleep(PATIENCE)


async def not_http(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.transport.write(b"220 mail.example.com ESMTP\r\n")
    connection.transport.close()


async def web_page(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.answer_whole(200, b"<!doctype html><title>Welcome</title>", "Content-Type: text/html; charset=utf-8")


async def long_line(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """10 MB without an end of line."""
    connection.begin()
    await connection.send_words(HALF)
    connection.send(b"data: ")
    for _ in range(160):
        connection.send(b"x" * 64 * 1024)
        await asyncio.sleep(0)
    connection.send(b"\n\n")
    await connection.end()


async def redirect(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.answer_whole(307, b"", f"Location: {connection.server.url}/chat/completions?key=secret")


async def keepalive_only(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Comments, and nothing else, for ever."""
    connection.begin()
    while True:
        connection.send(b": keepalive\n\n")
        await asyncio.sleep(0.05)


async def finish_then_open(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """The whole answer, but neither [DONE] nor an end."""
    connection.begin()
    await connection.send_words(ANSWER)
    connection.finish(len(ANSWER.split(" ")), asked)
    await asyncio.sleep(PATIENCE)


async def done_then_open(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """The whole answer with its [DONE], but no end."""
    connection.begin()
    await connection.send_words(ANSWER)
    connection.finish(len(ANSWER.split(" ")), asked)
    connection.send(b"data: [DONE]\n\n")
    await asyncio.sleep(PATIENCE)


BEHAVIOURS: dict[str, Callable[[Connection, str, dict[str, Any]], Awaitable[None]]] = {
    "ok": ok,
    "echo": echo,
    "slow": slow,
    "count": count,
    "whole": whole,
    "error-in-stream": error_in_stream,
    "hang": hang,
    "stall": stall,
    "close": close,
    "reset": reset,
    "hang-up": hang_up,
    "end-early": end_early,
    "garbage": garbage,
    "broken-framing": broken_framing,
    "not-http": not_http,
    "web-page": web_page,
    "long-line": long_line,
    "redirect": redirect,
    "keepalive-only": keepalive_only,
    "finish-then-open": finish_then_open,
    "done-then-open": done_then_open,
}
