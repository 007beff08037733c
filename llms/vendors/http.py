"""HTTP to the vendors: one client for a process and its event loop."""

import asyncio
import ipaddress
import os
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL  # aiohttp's own class, so that we check the same host that it connects to

from llms.vendors.content_encoding import INFLATED, UNREADABLE, Inflater, content_coding, describe_unreadable
from llms.vendors.errors import WEB_PAGE, VendorError, error_message, status_error
from llms.vendors.sse import BYTE_ORDER_MARK, END_OF_STREAM, SSEDecoder
from llms.vendors.types import SILENT_END

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Refusal = Callable[[Address, str, int], str | None]  # of an address, and the host and port of the URL

HEADERS = {
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "AI-Studio",
}
RETRIED = frozenset({"unreachable", "timeout", "rate_limited", "vendor_error"})
BACKOFF = (0.25, 0.5)  # seconds before each further attempt
LONGEST_RETRY_AFTER = 10  # seconds; if a vendor asks for more, there is no further attempt
LONGEST_EXPLANATION = 64 * 1024  # bytes that are read of an error's body
EXPLANATION_TIMEOUT = 5  # seconds
SECONDS = re.compile(r"([0-9]+(\.[0-9]+)?)")
RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"([0-9]{1,9}(?:\.[0-9]{1,9})?)s"')  # Google's, in an error's details
PROXIES = re.compile(r"squid|tinyproxy|privoxy|zscaler|blue ?coat|web ?gateway", re.IGNORECASE)  # servers by name
END_TIMEOUT = 0.05  # seconds from a complete answer to the end of its body
LOSS_CHECK_INTERVAL = 1.0  # seconds


class Client:
    """Sends requests to vendors and keeps connections open for the next ones. Belongs to one event loop.

    `refusal` says why an address must not be connected to, or None. It is asked about every address that a host name
    has and about an address in the URL itself, and gets the URL's host and port too. It is not asked about proxies
    (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), which are the operator's choice and resolve names themselves. Without `retries`
    each request is sent once. `pause` gives the seconds for which `Answer.read(can_wait=True)` lets bytes gather.
    """

    def __init__(
        self,
        *,
        refusal: Refusal,
        connect_timeout: float = 10.0,
        retries: bool = True,
        pause: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._refusal = refusal
        self._pause = pause
        self._pauses = BACKOFF if retries else ()
        self._direct = open_session(connect_timeout, Resolver(refusal))
        self._proxied = open_session(connect_timeout, aiohttp.ThreadedResolver())
        self._proxies = getproxies()

    async def close(self) -> None:
        await self._direct.close()
        await self._proxied.close()

    @asynccontextmanager
    async def send(
        self, url: str, body: bytes | None = None, *, headers: Mapping[str, str], secret: str
    ) -> AsyncIterator["Answer"]:
        """POST the body, or GET without one, and give the 2xx answer.

        Any other answer raises VendorError once the retries have failed. Leaving the block closes the connection,
        unless the answer was read to its end. No error contains `secret`.
        """
        pauses = list(self._pauses)
        while isinstance(response := await self._attempt(url, body, headers, secret), VendorError):
            error = response
            can_wait = pauses and (error.retry_after or 0) <= LONGEST_RETRY_AFTER
            if error.code not in RETRIED or not error.retryable or not can_wait:
                error.taken = False
                raise error
            pause = pauses.pop(0) * random.uniform(0.75, 1.25)  # noqa: S311 it spreads load and guards nothing
            await asyncio.sleep(pause if error.retry_after is None else error.retry_after)
        try:
            answer = open_answer(response, self._pause)
            try:
                yield answer
                await answer.end()
            finally:
                answer.connection_check.cancel()
        finally:
            response.close()  # does nothing if the connection went back to the pool

    async def _attempt(
        self, url: str, body: bytes | None, headers: Mapping[str, str], secret: str
    ) -> aiohttp.ClientResponse | VendorError:
        """The 2xx answer, or why there is none. The error is returned: what aiohttp raises contains the headers."""
        if not (secret.isascii() and secret.isprintable()):
            return VendorError("unauthorized", "The API key has characters that no header can carry.")
        proxy = None
        try:
            target = URL(url)
            host = target.host or ""
            address = parse_address(host)
            if address and (
                reason := self._refusal(address, host, target.port or 0)
            ):  # for an address aiohttp asks no resolver
                return VendorError("refused_address", reason)
            proxy = None if proxy_bypass(host) else self._proxies.get(target.scheme)
            if proxy and "://" not in proxy:
                proxy = f"http://{proxy}"
            response = await (self._proxied if proxy else self._direct).request(
                "GET" if body is None else "POST",
                target,
                data=body,
                headers={**HEADERS, **headers},
                proxy=proxy,
                allow_redirects=False,
            )
        except VendorError as error:
            return error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return connection_failure(error, "proxy" if proxy else "vendor")
        if 200 <= response.status < 300:
            return response
        try:
            if is_from_proxy(response):
                return proxy_failure(response.status)
            return await read_failure(response, secret)
        finally:
            response.close()


class Answer:
    """The body of a 2xx answer, as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse, pause: Callable[[], float]) -> None:
        self._response = response
        self._content = response.content
        self._pause = pause
        self.connection_check = asyncio.get_running_loop().call_later(LOSS_CHECK_INTERVAL, self._check_connection)

    def _check_connection(self) -> None:
        """End the waiting of `read` when the connection is lost.

        Where aiohttp itself closes the connection, because of broken framing, it does not tell its reader.
        """
        connection = self._response.connection  # None once the body is complete
        if connection is None or self._content.is_eof() or self._content.exception():
            return
        if connection.transport is None:
            self._content.set_exception(aiohttp.ClientPayloadError("The connection was lost before the end."))
        else:
            self.connection_check = asyncio.get_running_loop().call_later(LOSS_CHECK_INTERVAL, self._check_connection)

    async def read(self, *, can_wait: bool = False) -> bytes:
        """The bytes that have arrived, empty at the end; raises VendorError if the connection is lost before that."""
        if can_wait and (pause := self._pause()):
            await asyncio.sleep(pause)
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError):  # RuntimeError: aiohttp closed it, over its framing
            rest = self._content._read_nowait(-1)  # aiohttp has no public way to what arrived just before the loss
        if not rest:
            raise VendorError("incomplete", "The vendor closed the connection before the end of the answer.")
        return rest

    async def read_or_end(self) -> bytes:
        """As `read`, but empty if nothing comes within SILENT_END."""
        for seconds in (SILENT_END, END_TIMEOUT):  # the second reads what came while this process was suspended
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self.read()
        return b""

    async def read_all(self, limit: int) -> bytes:
        """The whole body; raises VendorError if it has more than `limit` bytes."""
        body = bytearray()
        while chunk := await self.read():
            body += chunk
            if len(body) > limit:
                raise VendorError("invalid_response", f"The vendor sent more than {limit:,} bytes at once.")
        return bytes(body)

    async def end(self) -> None:
        """Wait a moment for the end of the body, so that the connection can be used again."""
        if self._content.at_eof():
            return
        with suppress(VendorError, TimeoutError):
            async with asyncio.timeout(END_TIMEOUT):
                await self.read()


class InflatedAnswer(Answer):
    """The body of an answer that came compressed."""

    def __init__(self, response: aiohttp.ClientResponse, pause: Callable[[], float], coding: str) -> None:
        super().__init__(response, pause)
        self._inflater = Inflater(coding)
        self._pieces: Iterator[bytes] = iter(())

    async def read(self, *, can_wait: bool = False) -> bytes:
        while not (piece := next(self._pieces, b"")):
            chunk = await super().read(can_wait=can_wait)
            if not chunk:
                return b""
            self._pieces = self._inflater.feed(chunk)
        return piece


def open_answer(response: aiohttp.ClientResponse, pause: Callable[[], float]) -> Answer:
    """The body of a 2xx answer; raises VendorError if it is compressed so that we cannot read it."""
    coding = content_coding(response.headers.get("Content-Encoding", ""))
    if coding in UNREADABLE:
        raise VendorError("invalid_response", f"The vendor sent {describe_unreadable(coding)}.", retryable=False)
    return InflatedAnswer(response, pause, coding) if coding else Answer(response, pause)


class Resolver(aiohttp.ThreadedResolver):
    """Drops the addresses that must not be connected to."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self._refusal = refusal

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await super().resolve(host, port, family)
        reasons = [self._refusal(ipaddress.ip_address(each["host"]), host, port) for each in addresses]
        allowed = [each for each, reason in zip(addresses, reasons, strict=True) if not reason]
        if addresses and not allowed:
            raise VendorError("refused_address", str(reasons[0]))
        if not allowed:
            raise OSError("The name has no address.")  # aiohttp trips over an empty list
        return allowed


def open_session(connect_timeout: float, resolver: AbstractResolver) -> aiohttp.ClientSession:
    """A session that limits nothing but the time to connect: its user knows how long an answer may take.

    Not `trust_env`, which would also send the passwords of a `.netrc`.
    """
    return aiohttp.ClientSession(
        auto_decompress=False,  # which would raise, and hide the status, where it cannot decompress
        connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(connect=connect_timeout),
    )


@lru_cache(1_000)
def parse_address(host: str) -> Address | None:
    """The IP address that a host consists of, also in the old forms that resolvers accept (127.1); None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.ip_address(socket.inet_aton(host))
    except OSError:
        return None


def connection_failure(error: Exception, peer: str) -> VendorError:
    """Why there was no answer at all. `peer` is what we connect to, "vendor" or "proxy".

    Does not name the endpoint, which not every reader may know.
    """
    match error:
        case aiohttp.ConnectionTimeoutError():
            return VendorError("timeout", f"The {peer} did not take the connection in time.")
        case aiohttp.ClientConnectorDNSError():
            return VendorError("unreachable", f"The name of the {peer}'s host has no address.")
        case aiohttp.ClientConnectorCertificateError():
            return VendorError("untrusted", "The vendor has no certificate that is valid for it.")
        case aiohttp.ClientSSLError():
            return VendorError("unreachable", "The vendor does not speak TLS as it should.", retryable=False)
        case aiohttp.ClientHttpProxyError():
            return proxy_failure(error.status)
        case aiohttp.ClientResponseError():
            return VendorError("invalid_response", "What is at the endpoint does not speak HTTP.")
        case aiohttp.ClientConnectorError():
            reason = os.strerror(error.errno) if error.errno else "no connection"
            return VendorError("unreachable", f"The {peer} cannot be reached: {reason}.")
        case ValueError():  # aiohttp's InvalidURL too
            return VendorError("unreachable", "The endpoint is no URL that can be asked.", retryable=False)
    return VendorError("unreachable", f"The {peer} closed the connection before it answered.")


def is_from_proxy(response: aiohttp.ClientResponse) -> bool:
    """Whether a proxy gave this answer itself: it says so by the status, as the server, or in a header of RFC 9209."""
    headers = response.headers
    is_named = PROXIES.search(headers.get("Server", "")) or "error=" in headers.get("Proxy-Status", "")
    return response.status == 407 or (response.status >= 400 and bool(is_named or "X-Squid-Error" in headers))


def proxy_failure(status: int) -> VendorError:
    """The error for an answer of the proxy, which may refuse the host or want a password, or not reach the vendor."""
    detail = f"The proxy refused the request with {status}, so it did not reach the vendor."
    if status == 407:
        detail += " The proxy wants a user name and a password."
    return VendorError("unreachable", detail, retryable=status >= 500)


async def read_failure(response: aiohttp.ClientResponse, secret: str) -> VendorError:
    """The error of an answer that is not 2xx, with the vendor's words, as far as they come in time."""
    arrived = bytearray()
    with suppress(aiohttp.ClientError, OSError):  # TimeoutError is one
        async with asyncio.timeout(EXPLANATION_TIMEOUT):
            while len(arrived) < LONGEST_EXPLANATION and (chunk := await response.content.readany()):
                arrived += chunk
    body, coding, events = bytes(arrived), content_coding(response.headers.get("Content-Encoding", "")), list[bytes]()
    if coding in INFLATED:
        with suppress(VendorError):
            body = next(Inflater(coding).feed(body), b"")
    body = body[:LONGEST_EXPLANATION].removeprefix(BYTE_ORDER_MARK)
    if coding in UNREADABLE:
        words, body = describe_unreadable(coding), b""
    elif response.content_type in ("text/html", "application/xhtml+xml"):
        words = WEB_PAGE
    else:
        decoder = SSEDecoder()
        events = [*decoder.feed(body), *decoder.feed(END_OF_STREAM)]
        words = error_message((events or [body])[0].decode(errors="replace"))
    for document in (body, *events):  # the words can be in JSON, alone or in an event
        with suppress(orjson.JSONDecodeError):
            words = error_message(orjson.loads(document))
            break
    delay = find_delay(response.headers, body)
    failure = status_error(response.status, words, secret=secret, retry_after=delay)
    if response.headers.get("x-should-retry") == "false":
        failure.retryable = False
    return failure


def find_delay(headers: Mapping[str, str], body: bytes) -> float | None:
    """The seconds that the vendor asks to wait: in Azure's header or the usual one, or, of Google, in the body."""
    milliseconds = parse_retry_after(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    delay = parse_retry_after(headers.get("Retry-After", ""))
    if delay is None and (match := RETRY_DELAY.search(body)):
        return float(match[1])
    return delay


def parse_retry_after(retry_after: str) -> float | None:
    """The seconds that a Retry-After asks for, as a number or as a date; None if it is neither."""
    if number := SECONDS.fullmatch(retry_after.strip()):
        return float(number[1][:9])
    try:
        date = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
