"""Where the client connects to, and how often."""

import asyncio
import ipaddress
from typing import Any

import pytest

from llms.vendors import http
from llms.vendors.registry import adapter, client
from llms.vendors.types import Text, Vendor
from tests.llms.vendors.asking import ask, call
from tests.vendor_server import ANSWER, VendorServer, unused_port

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def private(address: Any, host: str, port: int) -> str | None:
    return None if address.is_global else f"{address} is private."


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "１２７.0.0.1", "0x7f.1"])
def test_an_address_that_is_refused_is_not_connected_to(vendor: VendorServer, host: str) -> None:
    asked = ask(call(f"http://{host}:{vendor.port}/v1", "ok"), refusal=private)
    assert asked.code == "refused_address"
    assert asked.error
    assert "is private." in asked.error.detail
    assert not asked.error.retryable
    assert vendor.accepted == 0


def test_of_several_addresses_those_that_are_allowed_are_used(vendor: VendorServer) -> None:
    only = {ipaddress.ip_address("127.0.0.1")}
    asked = ask(
        call(f"http://localhost:{vendor.port}/v1", "ok"),
        refusal=lambda address, host, port: None if address in only else "no",
    )
    assert asked.text == ANSWER


def test_a_name_is_checked_again_when_it_is_resolved_again(vendor: VendorServer) -> None:
    asked: list[tuple[str, str, int]] = []
    for host in ("localhost", "LocalHost", "127.0.0.1"):
        ask(
            call(f"http://{host}:{vendor.port}/v1", "ok"),
            refusal=lambda address, host, port: asked.append((str(address), host, port)),
        )
    assert asked.count(("127.0.0.1", "localhost", vendor.port)) == 2
    assert ("127.0.0.1", "127.0.0.1", vendor.port) in asked


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch, vendor: VendorServer) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_is_used(vendor: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be where no LLM may, and it resolves the name."""
    monkeypatch.setenv("HTTP_PROXY", f"http://someone:secret@127.0.0.1:{vendor.port}")
    asked = ask(call("http://llm.invalid/v1", "ok"), refusal=private)
    assert asked.text == ANSWER
    assert vendor.requests[0].target == "http://llm.invalid/v1/chat/completions"
    assert vendor.requests[0].headers["proxy-authorization"].startswith("Basic ")


@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_is_asked_to_connect(vendor: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{vendor.port}")
    asked = ask(call("https://llm.invalid/v1", "ok"), connect_timeout=0.2)
    assert vendor.requests[0].method == "CONNECT"
    assert "authorization" not in vendor.requests[0].headers
    assert asked.code == "unreachable"


@pytest.mark.usefixtures("no_proxies")
def test_behind_a_proxy_an_address_is_refused_all_the_same(
    vendor: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", vendor.url)
    assert ask(call("http://127.1:80/v1", "ok"), refusal=private).code == "refused_address"
    assert not vendor.requests


@pytest.mark.usefixtures("no_proxies")
def test_a_host_that_needs_no_proxy(vendor: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    assert ask(call(vendor.url, "ok")).code == "unreachable"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,example.com")
    assert ask(call(vendor.url, "ok")).text == ANSWER


def test_a_netrc_has_no_say(vendor: VendorServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert ask(call(vendor.url, "ok", api_key="")).text == ANSWER
    assert "authorization" not in vendor.requests[0].headers


def test_a_connection_serves_again(vendor: VendorServer) -> None:
    async def work() -> None:
        http = client(refusal=lambda *target: None)
        for _ in range(3):
            assert await text_of(adapter("openai"), vendor.url, "ok", http) == ANSWER
        await asyncio.gather(*(text_of(adapter("openai"), vendor.url, "slow:5", http) for _ in range(20)))
        await http.close()

    asyncio.run(work())
    assert len(vendor.requests) == 23
    assert vendor.accepted == 20


def test_a_connection_that_the_vendor_closed_meanwhile_costs_nothing(vendor: VendorServer) -> None:
    async def work() -> None:
        http = client(refusal=lambda *target: None)
        assert await text_of(adapter("openai"), vendor.url, "ok", http) == ANSWER
        for transport in tuple(vendor._transports):
            vendor._loop.call_soon_threadsafe(transport.abort)
        assert await text_of(adapter("openai"), vendor.url, "ok", http) == ANSWER
        await http.close()

    asyncio.run(work())


async def text_of(adapter: Vendor, url: str, model: str, client: http.Client) -> str:
    return "".join([value.text async for value in adapter.stream(call(url, model), client) if type(value) is Text])


def test_a_pause_grows(vendor: VendorServer) -> None:
    ask(call(vendor.url, "503"))
    first, second, third = (request.at for request in vendor.requests)
    assert 0.18 < second - first < 30
    assert 0.37 < third - second < 30


def test_a_pause_that_the_vendor_asks_for(vendor: VendorServer) -> None:
    assert ask(call(vendor.url, "429-once")).text == ANSWER
    first, second = (request.at for request in vendor.requests)
    assert 1 <= second - first < 30


@pytest.mark.parametrize(
    ("model", "seconds", "requests"),
    [
        ("busy:Retry-After: 60.5", 60.5, 1),
        ("busy:Retry-After:  0.01 ", 0.01, 3),
        ("busy:retry-after-ms: 70500", 70.5, 1),
        ('busy:|{"error": {"details": [{"retryDelay": "33.5s"}], "message": "m"}}', 33.5, 1),
        ('busy:|data: {"error": {"details": [{"retryDelay":"0s"}]}}', 0, 3),
        ("busy:x-should-retry: false", None, 1),
    ],
)
def test_a_pause_in_other_forms(vendor: VendorServer, model: str, seconds: float | None, requests: int) -> None:
    asked = ask(call(vendor.url, model))
    assert asked.error
    assert (asked.code, asked.error.retry_after, len(vendor.requests)) == ("rate_limited", seconds, requests)
    assert asked.error.retryable is (model != "busy:x-should-retry: false")


YEAR = f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5e3", "9" * 400, "Mon, 99 Nov 2026 08:49:37 GMT", YEAR, "١"])
def test_a_retry_after_of_any_kind(text: str) -> None:
    assert http.parse_retry_after(text) in (None, 999999999.0)
