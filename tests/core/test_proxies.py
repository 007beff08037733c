"""What a proxy says of the caller is believed of those that are trusted, and of nobody else."""

import asyncio
from typing import Any

import pytest
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest

from core.server.proxy_headers import TrustedProxyMiddleware

TRUSTED = ["10.0.0.1", "192.0.2.0/24", "2001:db8::1"]
CALLER, SPOOFED = "203.0.113.9", "198.51.100.66"


def request_from(peer: str, *headers: tuple[str, str]) -> ASGIRequest:
    """The request as Django sees it behind `Proxied`."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(ASGIRequest(scope, None))

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "scheme": "http",
        "client": (peer, 1234),
        "server": ("127.0.0.1", 8080),
        "headers": [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in headers)],
    }
    asyncio.run(TrustedProxyMiddleware(application, TRUSTED)(scope, None, None))  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("10.0.0.1", [CALLER], CALLER),
        ("192.0.2.77", [f"{CALLER}:4711"], CALLER),
        ("2001:db8::1", ["2001:db8:5::9"], "2001:db8:5::9"),
        ("10.0.0.1", [f"{SPOOFED}, {CALLER}"], CALLER),
        ("10.0.0.1", [f"10.0.0.1, {CALLER}"], CALLER),  # one who claims to be our proxy
        ("10.0.0.1", [SPOOFED, CALLER], CALLER),  # two headers are one list
        ("10.0.0.1", [f"{SPOOFED}, {CALLER}, 192.0.2.5"], CALLER),  # two proxies
        ("10.0.0.1", [f"{SPOOFED}, , {CALLER},", ","], CALLER),  # empty elements count for nothing
        ("10.0.0.1", [","], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.5, 10.0.0.1"], "192.0.2.5"),  # a proxy that asks for itself
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [f"{CALLER}, {'x' * 300}"], "10.0.0.1"),  # no address is none, and longer than one can be stored
        ("10.0.0.1", ["fe80::1%" + "z" * 60], "10.0.0.1"),
        (CALLER, [SPOOFED], CALLER),
        (CALLER, ["10.0.0.1"], CALLER),
    ],
)
def test_the_caller_is_the_rightmost_address_that_is_not_trusted(
    peer: str, forwarded_for: list[str], address: str
) -> None:
    request = request_from(peer, *(("x-forwarded-for", value) for value in forwarded_for))
    assert request.META["REMOTE_ADDR"] == address


@pytest.mark.parametrize(("peer", "is_secure"), [("10.0.0.1", True), (CALLER, False)])
def test_https_is_what_a_trusted_proxy_says_it_is(peer: str, is_secure: bool) -> None:
    headers = ("x-forwarded-proto", "https"), ("x-forwarded-for", CALLER)
    assert request_from(peer, *headers).is_secure() is is_secure


@pytest.mark.parametrize(
    ("callers", "schemes", "is_secure"),
    [
        ([CALLER], ["HTTPS"], True),
        ([CALLER], ["https,"], True),
        ([CALLER], [" , https ,, "], True),
        ([CALLER], [","], False),
        ([CALLER], ["https, https"], True),
        ([CALLER], ["https, http"], False),  # the last proxy was called without TLS; who wrote the other is unknown
        ([CALLER], ["http", "https"], True),
        ([f"{CALLER}, 192.0.2.5"], ["https, http"], True),  # each of two proxies wrote both: the caller's has TLS
        ([f"{CALLER}, 192.0.2.5"], ["http,https"], False),
        ([f"{SPOOFED}, {CALLER}"], ["https, http"], False),  # the caller claims to be a proxy
        ([f"{SPOOFED}, {CALLER}, 192.0.2.5"], ["http", "https, http"], True),
        ([], ["https"], True),
        ([CALLER], ["https, gopher"], False),
    ],
)
def test_the_scheme_may_be_a_list(callers: list[str], schemes: list[str], is_secure: bool) -> None:
    headers = [("x-forwarded-for", value) for value in callers] + [("x-forwarded-proto", value) for value in schemes]
    assert request_from("10.0.0.1", *headers).is_secure() is is_secure


@pytest.mark.parametrize(
    ("peer", "values", "host"),
    [
        ("10.0.0.1", ["testserver"], "testserver"),
        ("10.0.0.1", ["evil.example.com, testserver"], "testserver"),
        ("10.0.0.1", ["evil.example.com", "testserver"], "testserver"),
        ("10.0.0.1", [""], "localhost"),
        ("10.0.0.1", ["testserver, ,"], "testserver"),
        ("10.0.0.1", [","], "localhost"),
        ("10.0.0.1", [], "localhost"),
        (CALLER, ["testserver"], "localhost"),
    ],
)
def test_the_host_is_what_a_trusted_proxy_says_it_is(peer: str, values: list[str], host: str) -> None:
    assert request_from(peer, *(("x-forwarded-host", value) for value in values)).get_host() == host


def test_a_host_that_is_not_allowed_is_refused_whoever_says_it() -> None:
    with pytest.raises(DisallowedHost):
        request_from("10.0.0.1", ("x-forwarded-host", "evil.example.com")).get_host()
