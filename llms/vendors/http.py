"""HTTP to the vendors: one client for a process and its event loop."""

import asyncio
import ipaddress
import os
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL  # what aiohttp reads URLs with: no other reading than the one that is connected to

from llms.vendors.errors import WEB_PAGE, VendorError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Refusal = Callable[[Address], str | None]

HEADERS = {
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "AI-Studio",
}
ASKED_AGAIN = frozenset({"unreachable", "timeout", "rate_limited", "vendor_error"})
BACKOFF = (0.25, 0.5)  # seconds before each further attempt
LONGEST_RETRY_AFTER = 10  # seconds; a vendor that asks for more is not asked again
LONGEST_EXPLANATION = 64 * 1024  # bytes that are read of an error's body
EXPLANATION_TIMEOUT = 5  # seconds
LONGEST_DETAIL = 300  # characters of a vendor's own words
MASK = re.compile(r"[*…•]|\.{3}")  # what vendors put for the middle of a key that they quote
END_TIMEOUT = 0.05  # seconds from a complete answer to the end of its body
CODES_OF_STATUS = {401: "unauthorized", 403: "unauthorized", 408: "timeout", 429: "rate_limited"}
OWN_WORDS = {  # where a vendor's own may have a part of the key
    401: "The vendor refuses the API key.",
    403: "The vendor does not allow this API key to do that.",
}


class Client:
    """Asks vendors, over connections that it keeps. Made and closed in the event loop that uses it.

    `refusal` says why an address must not be connected to. It is asked for every address that a name has, and for one
    that a URL spells out. Proxies (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) are the operator's choice and not asked about; a
    proxy resolves names by itself. Without `retries` each question is asked once. `pause` says how many seconds an
    answer that is read at leisure is left to gather.
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
        self._direct = session(connect_timeout, Resolver(refusal))
        self._proxied = session(connect_timeout, aiohttp.ThreadedResolver())
        self._proxies = getproxies()  # as the process was started with

    async def close(self) -> None:
        await self._direct.close()
        await self._proxied.close()

    @asynccontextmanager
    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str], secret: str) -> AsyncIterator["Answer"]:
        """Give the 2xx answer; raises VendorError for any other, once asking again has not helped.

        Leaving the block closes the connection, unless the answer was read to its end. `secret` is in no error.
        """
        async with self._answer("POST", url, body, headers, secret) as answer:
            yield answer

    @asynccontextmanager
    async def get(self, url: str, *, headers: Mapping[str, str], secret: str) -> AsyncIterator["Answer"]:
        """As `post`, for what is only read."""
        async with self._answer("GET", url, None, {"Accept": "application/json", **headers}, secret) as answer:
            yield answer

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], secret: str
    ) -> AsyncIterator["Answer"]:
        response = await self._ask(method, url, body, headers, secret)
        try:
            if response.content_type == "text/html":
                raise VendorError("invalid_response", "There is a web page at the endpoint, not an API.")
            answer = Answer(response.content, self._pause)
            yield answer
            await answer.end()
        finally:
            response.close()  # nothing, when the connection went back to the pool

    async def _ask(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], secret: str
    ) -> aiohttp.ClientResponse:
        pauses = list(self._pauses)
        while True:
            answer = await self._attempt(method, url, body, headers, secret)
            if isinstance(answer, aiohttp.ClientResponse):
                return answer
            can_wait = pauses and (answer.retry_after or 0) <= LONGEST_RETRY_AFTER
            if answer.code not in ASKED_AGAIN or not answer.retryable or not can_wait:
                answer.taken = False
                raise answer
            pause = pauses.pop(0) * random.uniform(0.75, 1.25)  # noqa: S311 it spreads load and guards nothing
            await asyncio.sleep(pause if answer.retry_after is None else answer.retry_after)

    async def _attempt(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], secret: str
    ) -> aiohttp.ClientResponse | VendorError:
        """The 2xx answer, or why there is none. Returned and not raised: what aiohttp raises has the headers in it."""
        if not (secret.isascii() and secret.isprintable()):
            return VendorError("unauthorized", "The API key has characters that no header can carry.")
        try:
            target = URL(url)
            proxy = self._proxy_of(target)
            self._check(target.host or "")
            response = await (self._proxied if proxy else self._direct).request(
                method, target, data=body, headers={**HEADERS, **headers}, proxy=proxy, allow_redirects=False
            )
        except VendorError as error:
            return error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return connection_failure(error)
        if 200 <= response.status < 300:
            return response
        try:
            return failure(
                response.status,
                await explanation(response),
                secret=secret,
                retry_after=seconds_of(response.headers.get("Retry-After", "")),
            )
        finally:
            response.close()

    def _proxy_of(self, url: URL) -> str | None:
        proxy = self._proxies.get(url.scheme)
        if not proxy or proxy_bypass(url.host or ""):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _check(self, host: str) -> None:
        """aiohttp asks no resolver for an address."""
        address = literal_address(host)
        if address and (reason := self._refusal(address)):
            raise VendorError("refused_address", reason)


class Answer:
    """The body of a 2xx answer, as it arrives."""

    def __init__(self, content: aiohttp.StreamReader, pause: Callable[[], float]) -> None:
        self._content = content
        self._pause = pause

    async def read(self, *, at_leisure: bool = False) -> bytes:
        """What has arrived, nothing at the end; raises VendorError when the connection is lost before that."""
        if at_leisure and (pause := self._pause()):
            await asyncio.sleep(pause)
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError):  # the last when aiohttp itself closed it, over its framing
            rest = self._content._read_nowait(-1)  # aiohttp has no other way to what arrived just before the loss
        if not rest:
            raise VendorError("incomplete", "The vendor closed the connection before the end of the answer.")
        return rest

    async def whole(self, most: int) -> bytes:
        """All of it; raises VendorError where that is more than `most` bytes."""
        body = bytearray()
        while chunk := await self.read():
            body += chunk
            if len(body) > most:
                raise VendorError("invalid_response", f"The vendor sent more than {most:,} bytes at once.")
        return bytes(body)

    async def end(self) -> None:
        """Wait a moment for the end, so that the connection can serve again."""
        if self._content.at_eof():
            return
        with suppress(VendorError, TimeoutError):
            async with asyncio.timeout(END_TIMEOUT):
                await self.read()


class Resolver(aiohttp.ThreadedResolver):
    """Leaves out the addresses that must not be connected to."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self._refusal = refusal

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        reasons = [self._refusal(ipaddress.ip_address(each["host"])) for each in found]
        allowed = [each for each, reason in zip(found, reasons, strict=True) if not reason]
        if found and not allowed:
            raise VendorError("refused_address", str(reasons[0]))
        if not allowed:
            raise OSError("The name has no address.")  # aiohttp trips over an empty list
        return allowed


class Connection(ResponseHandler):
    """One that goes on only after a pause: aiohttp's own looks through its parser again after each read.

    And one that tells who reads when it is lost: aiohttp's own leaves him waiting where it closed it over its framing.
    """

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        body = self._payload
        super().connection_lost(exc)
        if body and not body.is_eof() and not body.exception():
            body.set_exception(aiohttp.ClientPayloadError("The connection was lost before the end."))


class Connector(aiohttp.TCPConnector):
    """Makes such connections; aiohttp has no other way to say what they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(Connection, loop=self._loop)  # type: ignore[assignment]


def session(connect_timeout: float, resolver: AbstractResolver) -> aiohttp.ClientSession:
    """Without any limit but on connecting: who reads an answer knows how long it may take.

    Not `trust_env`, which would also send what stands in a `.netrc`.
    """
    return aiohttp.ClientSession(
        connector=Connector(limit=0, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(connect=connect_timeout),
    )


@lru_cache(1_000)
def literal_address(host: str) -> Address | None:
    """The address that a host spells out, also in the old forms that a resolver reads (127.1); None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.ip_address(socket.inet_aton(host))
    except OSError:
        return None


def connection_failure(error: Exception) -> VendorError:
    """Why there was no answer at all. Where the vendor is, is not everyone's to know who reads this."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return VendorError("timeout", "The vendor did not take the connection in time.")
        case aiohttp.ClientConnectorDNSError():
            return VendorError("unreachable", "The name of the vendor's host has no address.")
        case aiohttp.ClientConnectorCertificateError():
            return VendorError("untrusted", "The vendor has no certificate that is valid for it.")
        case aiohttp.ClientSSLError():
            return VendorError("unreachable", "The vendor does not speak TLS as it should.", retryable=False)
        case aiohttp.ClientHttpProxyError():
            return VendorError("unreachable", f"The proxy answered {error.status}.")
        case aiohttp.ClientResponseError():
            return VendorError("invalid_response", "What is at the endpoint does not speak HTTP.")
        case aiohttp.ClientConnectorError():
            reason = os.strerror(error.errno) if error.errno else "no connection"
            return VendorError("unreachable", f"The vendor cannot be reached: {reason}.")
        case ValueError():  # aiohttp's InvalidURL too
            return VendorError("unreachable", "The endpoint is no URL that can be asked.", retryable=False)
    return VendorError("unreachable", "The vendor closed the connection before it answered.")


def failure(status: int, words: str, *, secret: str, retry_after: float | None = None) -> VendorError:
    """What a status means. `words` are the vendor's own, and shown where they cannot have the secret."""
    if 300 <= status < 400:
        return VendorError("redirected", "The vendor has moved; the endpoint must name where to.", status=status)
    code = CODES_OF_STATUS.get(status) or ("vendor_error" if status >= 500 else "bad_request")
    said = shown(words, secret)
    detail = OWN_WORDS.get(status) or (f"The vendor answered {status}" + (f": {said}" if said else "."))
    return VendorError(code, detail, retry_after=retry_after, status=status)


def shown(words: str, secret: str) -> str:
    """A vendor's own words on one line, cut, and without the secret, what begins like it, or what it is masked as."""
    words = "".join(character if character.isprintable() else " " for character in words)
    if secret:
        words = words.replace(secret, "***")
    return " ".join("***" if secret and gives_away(word, secret) else word for word in words.split())[:LONGEST_DETAIL]


def gives_away(word: str, secret: str) -> bool:
    masked = MASK.search(word) and (secret[:4] in word or secret[-4:] in word)
    return bool(masked) or secret[:8] in word


async def explanation(response: aiohttp.ClientResponse) -> str:
    """The vendor's own words in the body of an error."""
    body = bytearray()
    with suppress(aiohttp.ClientError, OSError):  # TimeoutError is one
        async with asyncio.timeout(EXPLANATION_TIMEOUT):
            while len(body) < LONGEST_EXPLANATION and (chunk := await response.content.readany()):
                body += chunk
    text = bytes(body[:LONGEST_EXPLANATION])
    try:
        return message_in(orjson.loads(text))
    except orjson.JSONDecodeError:
        return WEB_PAGE if response.content_type == "text/html" else text.decode(errors="replace")


def message_in(document: Any) -> str:
    """The message in what a vendor sent as an error, in any of the usual forms; empty when there is none."""
    for _ in range(5):  # as deep as they go
        if isinstance(document, str):
            return document
        if isinstance(document, list):
            document = document[0] if document else None
        elif isinstance(document, dict):
            document = next((document[key] for key in ("error", "message", "detail", "msg") if document.get(key)), None)
    return ""


def seconds_of(retry_after: str) -> float | None:
    """What a Retry-After asks for, in seconds or as a date; None when it asks for nothing that can be read."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        date = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
