"""uvicorn, which takes its leave politely: who is about to ask as it begins to stop is still answered."""

import asyncio
import multiprocessing
from typing import Any

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINGER = 2  # seconds that a connection without a request has to send one, once the server leaves
DRAINING = "draining"  # in the `state` of every scope, from when the server begins to stop
OFFER = {b"upgrade", b"http2-settings"}


class Parser(HttpRequestParser):
    """One to which an offer of another protocol (`Upgrade`) is nothing, as RFC 9110 (7.8) allows.

    httptools takes a request with one for ended at its head, and its body for the next request: a client that offers
    HTTP/2, as Java's does, could send none, and one behind a proxy could send another's request.
    """

    def __init__(self, connection: "Connection") -> None:
        super().__init__(connection)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.connection = connection

    def feed_data(self, data: Any) -> None:
        parser = self
        while True:
            try:
                return HttpRequestParser.feed_data(parser, data)
            except HttpParserUpgrade as offer:
                if parser.get_method() == b"CONNECT":
                    raise HttpParserError("This is no proxy.") from None
                head, data = parser.head_without_offer(), memoryview(data)[offer.args[0] :]
                parser = self.connection.parser = Parser(self.connection)
                HttpRequestParser.feed_data(parser, head)

    def head_without_offer(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.get_method(), self.connection.url, self.get_http_version().encode())]
        for name, value in self.connection.headers:
            if name == b"connection":
                value = b",".join(each for each in value.split(b",") if each.strip().lower() not in OFFER)
            if name not in OFFER:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])


class Connection(HttpToolsProtocol):
    """One that is not closed under a request on its way: the answer says that it is the last (`Connection: close`).

    uvicorn closes at once what has no request at the moment: a client that was about to send one, or whose connection
    has just been accepted, would get a reset for an answer. And where a client that has sent several requests goes
    away, uvicorn does not tell the one that is being answered, which would write on.
    """

    answering: Any = None  # uvicorn knows only the newest request, which may wait behind the one that is answered

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = Parser(self)

    def shutdown(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()  # which makes this answer the last
        else:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(LINGER, self.timeout_keep_alive_handler)

    def _should_upgrade(self) -> bool:
        return True  # asked where there is an offer: it is passed over, and comes again without

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.answering is not None and not self.answering.response_complete:
            self.answering.disconnected = True
            self.answering.message_event.set()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if DRAINING in self.app_state and self.cycle is not None:
            self.cycle.keep_alive = False


class Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if parent := multiprocessing.parent_process():
            asyncio.get_running_loop().add_reader(parent.sentinel, self.leave_orphaned, parent.sentinel)

    def leave_orphaned(self, sentinel: int) -> None:
        """Stop as if asked to: a worker whose master is gone would keep the port from the next one."""
        asyncio.get_running_loop().remove_reader(sentinel)
        self.should_exit = True

    async def shutdown(self, sockets: Any = None) -> None:
        self.lifespan.state[DRAINING] = True
        await super().shutdown(sockets)
