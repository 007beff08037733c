"""A vendor on a real socket, that does what the model's name says, good or bad.

It speaks as the path wants it: like Anthropic at /v1/messages, Google AI at :streamGenerateContent, Ollama at
/api/chat, and like OpenAI anywhere else.

Asked with GET where a wire format has its list of models, it gives `offers`, two a page where there are pages; a key
with `wrong` in it is refused, and so is every path that is not in `paths`, where those are set.

`ok` streams ANSWER, `ok:any text` that text, `recorded:text` the bytes of that name in RECORDED. An error status is a
number, `429-once` is one that is gone at the next request, `429:60` has that Retry-After. The others are in BEHAVIOURS;
no other model is known (404).
"""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import pytest

ANSWER = "The quick brown fox jumps over the lazy dog."
HALF = "The quick brown fox"  # what `stall`, `close` and `garbage` send before they do it
RECORDED = Path(__file__).parent / "llms" / "vendors" / "recorded"
BREAK = -1.0
PATIENCE = 600  # seconds that `hang` and `stall` last


@dataclass(frozen=True)
class Received:
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes  # the body
    at: float  # by time.monotonic()

    @property
    def model(self) -> str:
        """What Google AI is told in the path, and others in the body."""
        _, below, name = self.target.partition("/models/")
        return unquote(name.rpartition(":")[0]) if below else str(self.body.get("model", ""))

    @property
    def key(self) -> str:
        """What came where a key comes."""
        names = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
        return next((self.headers[name] for name in names if name in self.headers), "nothing")


class VendorServer:
    """A server in a thread of its own, up within `with`."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.open = 0  # connections that are open now
        self.accepted = 0  # connections that ever were
        self.closed_at: list[float] = []  # when connections ended, whoever ended them; by time.monotonic()
        self.cut_at: list[float] = []  # those that the client closed within an answer
        self.times_asked: Counter[str] = Counter()  # by model
        self.offers = ["ok", "small", "large"]
        self.paths: set[str] = set()
        self.scripts: dict[str, list[bytes | float]] = {}  # what `scripted` sends, by its argument
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
        return f"{self.root}/v1"

    @property
    def root(self) -> str:
        """The endpoint for those that are not OpenAI's."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def models(self) -> list[str]:
        """Of the requests, as they came."""
        return [request.model for request in self.requests]

    def wait_until(self, is_so: Callable[[], bool], timeout: float = 120) -> None:
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


def text_in(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a message, which may have other parts too."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


class OpenAI:
    """How an answer looks on the wire: the bytes of its parts, in the order in which they come."""

    vendor = "openai"
    content_type = "text/event-stream"
    garbage = b'data: {"choices": [{"del\x00\xff\n\n'
    last = b"data: [DONE]\n\n"

    def asked(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        """Who said what in a request."""
        return [(message["role"], text_in(message["content"])) for message in body["messages"]]

    def event(self, values: dict[str, Any]) -> bytes:
        event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", **values}
        return b"data: " + json.dumps(event).encode() + b"\n\n"

    def delta(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        return self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": None})

    def first(self, taken_in: int) -> bytes:
        return self.delta({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        return self.delta({"content": text})

    def finish(self, taken_in: int, given_out: int) -> bytes:
        usage = {"prompt_tokens": taken_in, "completion_tokens": given_out, "total_tokens": taken_in + given_out}
        return self.delta({}, "stop") + self.event({"choices": [], "usage": usage})

    def error(self, message: str) -> bytes:
        return self.event({"error": {"message": message, "type": "server_error"}})

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "some_error", "param": None, "code": None}}


class Anthropic:
    vendor = "anthropic"
    content_type = "text/event-stream; charset=utf-8"
    garbage = b'event: content_block_delta\ndata: {"type": "content_block_del\x00\xff\n\n'
    last = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'

    def asked(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        system = [("system", body["system"])] if "system" in body else []
        return system + [(message["role"], text_in(message["content"])) for message in body["messages"]]

    def event(self, kind: str, **values: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n".encode()

    def first(self, taken_in: int) -> bytes:
        usage = {"input_tokens": taken_in, "output_tokens": 1, "service_tier": "standard"}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
        message |= {"stop_reason": None, "stop_sequence": None}
        begun = self.event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        return self.event("message_start", message=message) + begun + self.event("ping")

    def text(self, text: str) -> bytes:
        return self.event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def finish(self, taken_in: int, given_out: int) -> bytes:
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        counted = self.event("message_delta", delta=delta, usage={"output_tokens": given_out})
        return self.event("content_block_stop", index=0) + counted

    def error(self, message: str) -> bytes:
        return self.event("error", error={"type": "overloaded_error", "message": message}, request_id="req_1")

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": "some_error", "message": message}, "request_id": "req_1"}


class GoogleAI:
    vendor = "google_ai"
    content_type = "text/event-stream"
    garbage = b'data: {"candidates": [{"con\x00\xff\n\n'
    last = b""

    def asked(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        turns = [("system", body["systemInstruction"])] if "systemInstruction" in body else []
        turns += [(content["role"], content) for content in body["contents"]]
        return [(role, text_in(content["parts"])) for role, content in turns]

    def event(self, **values: Any) -> bytes:
        event = {**values, "modelVersion": "m", "responseId": "r-1"}
        return b"data: " + json.dumps(event).encode() + b"\r\n\r\n"

    def first(self, taken_in: int) -> bytes:
        return b""

    def text(self, text: str, **values: Any) -> bytes:
        content = {"parts": [{"text": text}], "role": "model"}
        return self.event(candidates=[{"content": content, "index": 0, **values}])

    def finish(self, taken_in: int, given_out: int) -> bytes:
        counts = {"promptTokenCount": taken_in, "candidatesTokenCount": given_out}
        content = {"parts": [{"text": ""}], "role": "model"}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return self.event(candidates=[candidate], usageMetadata={**counts, "totalTokenCount": taken_in + given_out})

    def error(self, message: str) -> bytes:
        error = {"code": 503, "message": message, "status": "UNAVAILABLE"}
        return b"data: " + json.dumps({"error": error}).encode() + b"\r\n\r\n"

    def refusal(self, status: int, message: str) -> list[dict[str, Any]]:
        """Google puts errors into a list where a stream was asked for."""
        return [{"error": {"code": status, "message": message, "status": "SOME_STATUS"}}]


class Ollama:
    vendor = "ollama"
    content_type = "application/x-ndjson"
    garbage = b'{"message": {"con\x00\xff\n'
    last = b""

    def asked(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in body["messages"]]

    def line(self, **values: Any) -> bytes:
        return json.dumps({"model": "m", "created_at": "2026-10-26T17:15:24.097767Z", **values}).encode() + b"\n"

    def first(self, taken_in: int) -> bytes:
        return b""

    def text(self, text: str) -> bytes:
        return self.line(message={"role": "assistant", "content": text}, done=False)

    def finish(self, taken_in: int, given_out: int) -> bytes:
        counts = {"total_duration": 1, "prompt_eval_count": taken_in, "eval_count": given_out}
        return self.line(message={"role": "assistant", "content": ""}, done=True, done_reason="stop", **counts)

    def error(self, message: str) -> bytes:
        return json.dumps({"error": message}).encode() + b"\n"

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        return {"error": message}


Wire = OpenAI | Anthropic | GoogleAI | Ollama


def wire_of(target: str) -> Wire:
    if target.startswith("/v1/messages"):
        return Anthropic()
    if ":streamGenerateContent" in target:  # below /v1beta, or /v1 as Google's own client has it
        return GoogleAI()
    return Ollama() if target.startswith("/api/chat") else OpenAI()


class Connection(asyncio.Protocol):
    """One client: reads requests, answers them one after the other."""

    transport: asyncio.Transport
    wire: Wire

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
        request = Received(method, target, headers, body, rest[:length], time.monotonic())
        self.server.requests.append(request)
        self.wire = wire_of(target)
        work = self.list_models(request) if method == "GET" else self.answer(request.model, body)
        self.answering = asyncio.get_running_loop().create_task(work)

    async def list_models(self, request: Received) -> None:
        path, _, query = request.target.partition("?")
        start = int(query.rpartition("=")[2]) if "after_id" in query or "pageToken" in query else 0
        end = start + 2
        names, more = self.server.offers[start:end], end < len(self.server.offers)
        documents: dict[str, Any] = {
            "/api/tags": {"models": [{"name": name, "size": 1} for name in self.server.offers]},
            "/v1beta/models": {
                "models": [
                    {"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]} for name in names
                ]
                + [{"name": "models/embedding", "supportedGenerationMethods": ["embedContent"]}],
                **({"nextPageToken": str(end)} if more else {}),
            },
            "/v1/models": {"object": "list", "data": [{"id": name} for name in self.server.offers]},
        }
        if "anthropic-version" in request.headers:
            listed = [{"id": name, "type": "model"} for name in names]
            documents["/v1/models"] = {"data": listed, "has_more": more, "last_id": str(end)}
        if "wrong" in request.key:
            self.refuse(401, "")
        elif path not in documents or path not in (self.server.paths or documents):
            self.refuse(404, "")
        else:
            self.answer_whole(200, json.dumps(documents[path]).encode(), "Content-Type: application/json")

    async def answer(self, model: str, body: dict[str, Any]) -> None:
        self.server.times_asked[model] += 1
        asked = self.server.requests[-1]
        if "wrong" in asked.key or (self.server.paths and asked.target not in self.server.paths):
            self.refuse(401 if "wrong" in asked.key else 404, "")
            return
        await self.behave(model, body)

    async def behave(self, model: str, body: dict[str, Any]) -> None:
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
        if data:  # an empty chunk is the end
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def begin(self) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {self.wire.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())

    async def send_words(self, text: str, asked: dict[str, Any], delay: float = 0) -> None:
        self.send(self.wire.first(self.counted(asked)))
        for number, word in enumerate(text.split(" ")):
            self.send(self.wire.text(f" {word}" if number else word))
            await asyncio.sleep(delay)

    def finish(self, words: int, asked: dict[str, Any]) -> None:
        self.send(self.wire.finish(self.counted(asked), words))

    def counted(self, asked: dict[str, Any]) -> int:
        return sum(len(text.split()) for _, text in self.wire.asked(asked))

    async def end(self) -> None:
        self.send(self.wire.last)
        await asyncio.sleep(0.005)  # the end of the body comes on its own, as it does elsewhere
        self.transport.write(b"0\r\n\r\n")

    def answer_whole(self, status: int, body: bytes, *headers: str) -> None:
        lines = (f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *headers)
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def refuse(self, status: int, retry_after: str) -> None:
        headers = ["Content-Type: application/json"]
        if status == 429 or retry_after:
            headers.append(f"Retry-After: {retry_after or 1}")
        message = f"You sent {self.server.requests[-1].key}, and I say {status}."  # vendors do echo keys
        self.answer_whole(status, json.dumps(self.wire.refusal(status, message)).encode(), *headers)


async def ok(connection: Connection, text: str, asked: dict[str, Any], delay: float = 0) -> None:
    text = text or ANSWER
    connection.begin()
    await connection.send_words(text, asked, delay)
    connection.finish(len(text.split(" ")), asked)
    await connection.end()


async def echo(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """The last message of the user."""
    questions = [text for role, text in connection.wire.asked(asked) if role == "user"]
    await ok(connection, questions[-1], asked)


async def titling(connection: Connection, behaviour: str, asked: dict[str, Any]) -> None:
    """Behaves as `titling:slow:20` says when it is asked for a title, and well otherwise."""
    if is_for_title(connection.wire.asked(asked)):
        await connection.behave(behaviour, asked)
    else:
        await ok(connection, ANSWER, asked)


def is_for_title(asked: list[tuple[str, str]]) -> bool:
    return any("A title of two to six words" in text for _, text in asked)


async def patient(connection: Connection, times: str, asked: dict[str, Any]) -> None:
    """Answers once the model has been asked so many times."""
    while connection.server.times_asked[asked["model"]] < int(times):  # noqa: ASYNC110  (nobody tells when)
        await asyncio.sleep(0.01)
    await ok(connection, ANSWER, asked)


async def think(connection: Connection, text: str, asked: dict[str, Any]) -> None:
    """Thinks before it answers, as models behind OpenAI's format do."""
    connection.begin()
    connection.send(connection.wire.event({"choices": [{"index": 0, "delta": {"reasoning_content": HALF}}]}))
    await connection.send_words(text or ANSWER, asked)
    connection.finish(9, asked)
    await connection.end()


async def slow(connection: Connection, words: str, asked: dict[str, Any]) -> None:
    """A word each 50 ms, for a long time; `slow:20` says how many."""
    await ok(connection, " ".join(map(str, range(1, int(words or 10_000) + 1))), asked, delay=0.05)


async def counting(connection: Connection, words: str, asked: dict[str, Any]) -> None:
    """As `slow`, each word with the counts so far, as vLLM sends them with `continuous_usage_stats`."""
    connection.begin()
    for number in range(1, int(words) + 1):
        choices = [{"index": 0, "delta": {"content": f" {number}" if number > 1 else "1"}, "finish_reason": None}]
        usage = {"prompt_tokens": 2, "completion_tokens": number, "total_tokens": number + 2}
        connection.send(OpenAI().event({"choices": choices, "usage": usage}))
        await asyncio.sleep(0.05)
    connection.finish(int(words), asked)
    await connection.end()


async def count(connection: Connection, words: str, asked: dict[str, Any]) -> None:
    """As many words as `count:1000` says, as fast as they go."""
    await ok(connection, " ".join(map(str, range(1, int(words or 100) + 1))), asked)


async def whole(connection: Connection, text: str, asked: dict[str, Any]) -> None:
    """Does not stream."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text or ANSWER}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 9}
    body = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    connection.answer_whole(200, body, "Content-Type: application/json")


async def scripted(connection: Connection, name: str, asked: dict[str, Any]) -> None:
    """Sends what `scripts` has under this name, and ends the body. A number is a pause in seconds; BREAK breaks off."""
    connection.begin()
    for step in connection.server.scripts[name]:
        if step == BREAK:
            connection.transport.close()
        elif isinstance(step, bytes):
            connection.send(step)
        else:
            await asyncio.sleep(step)
    connection.transport.write(b"0\r\n\r\n")


async def recorded(connection: Connection, name: str, asked: dict[str, Any]) -> None:
    """What a vendor streamed once, or answered at once where it is not divided into events."""
    [path] = (path for path in (RECORDED / connection.wire.vendor).glob(f"{name}.*") if path.suffix != ".json")
    body = path.read_bytes()
    if path.suffix == ".sse" and body.lstrip().startswith((b"{", b"[")):
        connection.answer_whole(200, body, "Content-Type: application/json")
        return
    connection.begin()
    connection.send(body)
    connection.transport.write(b"0\r\n\r\n")


async def error_in_stream(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.begin()
    await connection.send_words(HALF, asked)
    connection.send(connection.wire.error("The server is overloaded"))
    await connection.end()


async def hang(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Never answers."""
    await asyncio.sleep(PATIENCE)


async def stall(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, then silence."""
    connection.begin()
    await connection.send_words(HALF, asked)
    await asyncio.sleep(PATIENCE)


async def stall_in_thought(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half a thought, then silence."""
    connection.begin()
    connection.send(connection.wire.event({"choices": [{"index": 0, "delta": {"reasoning_content": HALF}}]}))
    await asyncio.sleep(PATIENCE)


async def close(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, and the connection is gone."""
    connection.begin()
    await connection.send_words(HALF, asked)
    connection.transport.close()


async def reset(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, and the connection is torn."""
    connection.begin()
    await connection.send_words(HALF, asked)
    await asyncio.sleep(0.05)
    connection.transport.abort()


async def hang_up(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Closes before it has said anything."""
    connection.transport.close()


async def answers(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """As `answers:400:These words` says, and as a web page where there are no words."""
    status, _, words = argument.partition(":")
    body, kind = json.dumps(connection.wire.refusal(int(status), words)).encode(), "application/json"
    if not words:
        body, kind = b"<html>The plain HTTP request was sent to HTTPS port</html>", "text/html"
    connection.answer_whole(int(status), body, f"Content-Type: {kind}")


async def busy(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Refuses with 429, the header in front of `|`, and the body behind it."""
    header, _, body = argument.partition("|")
    connection.answer_whole(429, body.encode(), *filter(None, [header]))


async def reply(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """As `reply:400|Content-Encoding: br|0b0a80` says: the status, a header for each line, and the body in hex."""
    status, headers, body = argument.split("|")
    connection.answer_whole(int(status), bytes.fromhex(body), *headers.splitlines())


async def event_error(connection: Connection, body: str, asked: dict[str, Any]) -> None:
    """Refuses with 400 and this body, as an event stream."""
    connection.answer_whole(400, body.encode(), "Content-Type: text/event-stream")


async def typed(connection: Connection, kind: str, asked: dict[str, Any]) -> None:
    """Answers with events, under this content type or none."""
    body = connection.wire.text("Rain.") + connection.wire.finish(1, 1) + connection.wire.last
    connection.answer_whole(200, body, *([f"Content-Type: {kind}"] if kind else []))


async def filtered(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.begin()
    connection.send(connection.wire.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}))
    await connection.end()


async def end_early(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, and a proper end."""
    connection.begin()
    await connection.send_words(HALF, asked)
    connection.transport.write(b"0\r\n\r\n")


async def garbage(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    connection.begin()
    await connection.send_words(HALF, asked)
    connection.send(connection.wire.garbage)
    await connection.end()


async def broken_framing(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """Half the answer, then bytes that are no chunk."""
    connection.begin()
    await connection.send_words(" ".join(HALF.split(" ")[:-1]), asked)
    await asyncio.sleep(0.5)  # or a busy reader gets it with the head, and no answer at all
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
    await connection.send_words(HALF, asked)
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
    await connection.send_words(ANSWER, asked)
    connection.finish(len(ANSWER.split(" ")), asked)
    await asyncio.sleep(PATIENCE)


async def done_then_open(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    """The whole answer with its [DONE], but no end."""
    connection.begin()
    await connection.send_words(ANSWER, asked)
    connection.finish(len(ANSWER.split(" ")), asked)
    connection.send(connection.wire.last)
    await asyncio.sleep(PATIENCE)


BEHAVIOURS: dict[str, Callable[[Connection, str, dict[str, Any]], Awaitable[None]]] = {
    "ok": ok,
    "echo": echo,
    "titling": titling,
    "patient": patient,
    "think": think,
    "slow": slow,
    "counting": counting,
    "count": count,
    "whole": whole,
    "recorded": recorded,
    "scripted": scripted,
    "error-in-stream": error_in_stream,
    "hang": hang,
    "stall": stall,
    "stall-in-thought": stall_in_thought,
    "close": close,
    "reset": reset,
    "hang-up": hang_up,
    "end-early": end_early,
    "answers": answers,
    "busy": busy,
    "reply": reply,
    "event": event_error,
    "typed": typed,
    "filtered": filtered,
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
