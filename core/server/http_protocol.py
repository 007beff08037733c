"""uvicorn's HTTP/1.1 protocol, which ignores offers of other protocols and closes no connection under a request."""

import re
from array import array
from asyncio import Transport
from typing import TypeAlias

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from core.server.request_limits import LimitedProtocol

LINGER = 2  # seconds that an idle connection has to send a request after the server began to stop
DRAINING = "draining"  # in the state of the lifespan and of every scope, from when the server begins to stop
Data: TypeAlias = "bytes | bytearray | memoryview | array[int]"

# A target as clients of proxies send it. Its authority counts, and not that of the `Host` (RFC 9112, 3.2.2).
ABSOLUTE = re.compile(rb"[a-z][a-z0-9+.-]*://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
OFFER = {b"upgrade", b"http2-settings"}


class UpgradeTolerantParser(HttpRequestParser):
    """Ignores an offer of another protocol (`Upgrade`), as RFC 9110 (7.8) allows.

    httptools ends a request with an offer at its head, and takes its body for the next request: a client that offers
    HTTP/2, as Java's does, could send no body, and a client behind a proxy could send another's request.
    """

    def __init__(self, protocol: "GracefulProtocol") -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.protocol = protocol

    def feed_data(self, data: Data) -> None:
        parser = self
        while True:
            try:
                return HttpRequestParser.feed_data(parser, data)
            except HttpParserUpgrade as offer:
                if parser.get_method() == b"CONNECT":
                    raise HttpParserError("This is no proxy.") from None
                head, data = parser.head_without_offer(), memoryview(data)[offer.args[0] :]
                parser = self.protocol.parser = UpgradeTolerantParser(self.protocol)
                HttpRequestParser.feed_data(parser, head)

    def head_without_offer(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.get_method(), self.protocol.url, self.get_http_version().encode())]
        for name, value in self.protocol.headers:
            if name == b"connection":
                value = b",".join(each for each in value.split(b",") if each.strip().lower() not in OFFER)
            if name not in OFFER:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])


class GracefulProtocol(LimitedProtocol):
    """Answers a request that arrives while the server stops, with `Connection: close`.

    uvicorn closes an idle connection at once: a client that is about to send a request, or whose connection was just
    accepted, would get a reset. And if a client that has sent several requests goes away, uvicorn tells only the newest
    request, which may wait behind the one that is being answered.
    """

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.parser = UpgradeTolerantParser(self)
        self.answering = self.cycle  # the request that is being answered

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # the request comes again, without the offer
            return
        if absolute := ABSOLUTE.fullmatch(self.url):
            authority, target = absolute.groups()
            self.url = target if target.startswith(b"/") else b"/" + target
            self.headers[:] = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers.append((b"host", authority.rpartition(b"@")[2]))
        super().on_headers_complete()
        if not self.pipeline:
            self.answering = self.cycle
        if DRAINING in self.app_state:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self.answering = self.pipeline[-1][0]
        super().on_response_complete()

    def shutdown(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()  # makes this response the last
        else:
            if self.timeout_keep_alive_task is not None:
                self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = self.loop.call_later(LINGER, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.answering is not None and not self.answering.response_complete:
            self.answering.disconnected = True
            self.answering.message_event.set()
