"""Limits of what a connection sends: each holds a file descriptor, and what has arrived is in memory."""

import resource
from asyncio import TimerHandle, Transport
from enum import Enum
from http import HTTPStatus
from typing import ClassVar

import orjson
from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.rest.errors import error_object

LARGEST_HEAD = 65_536  # bytes
MOST_FIELDS = 100
HEAD_TIME = 20  # seconds from the start of a connection, or the first byte of a later head, to the end of the head
BODY_TIME = 20  # seconds in which a body may come as slowly as it likes
PACE = 1_000  # bytes of a body a second, after BODY_TIME
PACE_INTERVAL = 5  # seconds
LINGER = 2  # seconds that a client has to read why it was refused; closing at once would reset what it reads
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MOST_WAITING = min(10_000, FILES // 4) if FILES > 0 else 10_000  # connections without a head; others need files, too

Phase = Enum("Phase", ["IDLE", "HEAD", "BODY"])


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits of size and time. If too many connections wait, it closes the oldest of them."""

    waiting: ClassVar[dict["LimitedProtocol", None]] = {}

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timer: TimerHandle | None = None
        self.is_refused = False
        self.entered = 0  # how often a phase has begun
        self.enter(Phase.HEAD)
        self.watch()

    def data_received(self, data: bytes) -> None:
        if self.is_refused:
            return
        if self.phase is Phase.IDLE:
            self.enter(Phase.HEAD)
        before = self.entered, self.body_size
        super().data_received(data)
        if self.phase is Phase.IDLE or self.is_refused:
            return
        if before == (self.entered, self.body_size):  # all of it belongs to one head, or is no body
            self.rest += len(data)
        if self.rest > LARGEST_HEAD or len(self.headers or ()) > MOST_FIELDS:
            self.refuse_head()
        elif self.timer is None:
            self.watch()

    def enter(self, phase: Phase) -> None:
        self.phase, self.rest, self.body_size = phase, 0, 0
        self.entered += 1
        self.waiting.pop(self, None)
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def watch(self) -> None:
        """Begin to count the time, which what arrives at once does not need."""
        is_head = self.phase is Phase.HEAD
        self.timer = self.loop.call_later(HEAD_TIME if is_head else BODY_TIME + PACE_INTERVAL, self.check_time)
        if is_head:
            self.waiting[self] = None
            if len(self.waiting) > MOST_WAITING:
                next(iter(self.waiting)).refuse_slowness()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.phase is not Phase.HEAD:  # the data of another request has its beginning, too
            self.enter(Phase.HEAD)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > LARGEST_HEAD or len(self.headers) > MOST_FIELDS:
            self.refuse_head()
            raise HttpParserError("The head is too large.")  # ends the parser; data_received catches it
        self.enter(Phase.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.body_size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.enter(Phase.IDLE)

    def send_400_response(self, msg: str) -> None:
        if not self.is_refused:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self.enter(Phase.IDLE)
        super().connection_lost(exc)

    def check_time(self) -> None:
        """Refuse a head that is late, or a body that comes slowly, unless it is this server that is slow."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.phase is Phase.BODY:
            is_answering = is_answering and (self.flow.read_paused or self.cycle.waiting_for_100_continue)
        if is_answering or self.body_size >= PACE * PACE_INTERVAL:
            self.body_size = 0
            self.timer = self.loop.call_later(PACE_INTERVAL, self.check_time)
        else:
            self.refuse_slowness()

    def refuse_slowness(self) -> None:
        if self.phase is Phase.BODY or self.rest:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request came too slowly.")
        self.transport.close()

    def refuse_head(self) -> None:
        detail = f"The head has more than {LARGEST_HEAD:,} bytes or {MOST_FIELDS} fields."
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)
        self.timeout_keep_alive_task = self.loop.call_later(LINGER, self.timeout_keep_alive_handler)

    def refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        """Take no more of the connection, and say why, unless a response is on its way."""
        self.enter(Phase.IDLE)
        self.is_refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        body = orjson.dumps({"errors": [error_object(status, code, detail)]})
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
