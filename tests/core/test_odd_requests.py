"""What is asked of a server that is not one: to go on with another protocol, to be another host, to be a proxy."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from urllib.parse import urlsplit

import pytest

from tests.talking import Studio, ask, bearer, opened, text_of

OFFERS = {
    "HTTP/2": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "WebSocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "unknown": "connection: upgrade\r\nupgrade: something/1, h2c\r\n",
    "none": "",
}
INNER = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(tmp_path_factory.mktemp("upgrade"), servers=1) as studio:
        yield studio


def exchange(url: str, *parts: bytes) -> list[bytes]:
    """The answers to what is sent in parts, up to the end of the connection."""
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=120)) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(0.1)
        received = b""
        while chunk := client.recv(65_536):
            received += chunk
    return [b"HTTP/1.1" + answer for answer in received.split(b"HTTP/1.1")[1:]]


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("cut", [0, 20, None], ids=["body later", "cut", "at once"])
def test_a_body_comes_with_an_offer_of_another_protocol(studio: Studio, offer: str, cut: int | None) -> None:
    body = json.dumps({"data": {"attributes": {"name": f"Engineers {time.monotonic_ns()}"}}}).encode()
    headers = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": len(body)}
    headers |= bearer(studio.key)
    head = "POST /api/v1/groups HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"{head}{offer}\r\n".encode() + body
    parts = [request] if cut is None else [request[: len(request) - len(body) + cut], request[-len(body) + cut :]]
    created, last = exchange(studio.urls[0], *parts, INNER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert created.startswith(b"HTTP/1.1 201")
    assert last.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_body_is_no_request(studio: Studio, offer: str) -> None:
    head = f"POST /nothing HTTP/1.1\r\nHost: localhost\r\n{offer}Content-Length: {len(INNER)}\r\n\r\n".encode()
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = exchange(studio.urls[0], head, INNER, last)
    assert [answer[9:12] for answer in answers] == [b"404", b"200"]


def test_many_offers_come_at_once(studio: Studio) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    answers = exchange(studio.urls[0], request * 2_500 + request.replace(b": upgrade", b": close, upgrade"))
    assert [answer[9:12] for answer in answers] == [b"200"] * 2_501


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/health", "evil.example.com", 200),  # the target says which host is meant
        ("HTTP://someone@localhost:8080/health?x=/y", "localhost", 200),
        ("https://localhost/health", "localhost", 200),
        ("http://evil.example.com/health", "localhost", 400),
        ("http://localhost", "localhost", 302),
        ("http://localhost?next=/health", "localhost", 302),
        ("/health?from=http://evil.example.com/", "localhost", 200),
    ],
)
def test_a_target_may_be_absolute(studio: Studio, target: str, host: str, status: int, offer: str) -> None:
    """As clients send it that take the server for a proxy."""
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{offer}\r\n"
    last = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: , close,\r\n\r\n"
    answers = exchange(studio.urls[0], f"{request}{last}".encode())
    assert [int(answer[9:12]) for answer in answers] == [status, 200]


def test_another_host_is_not_answered_for(studio: Studio) -> None:
    answer = studio.send("GET", "/chats", Host="evil.example.com")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"], error["title"]) == (400, "unknown_host", "Unknown host")
    assert "ALLOWED_HOSTS" in error["detail"]
    assert "'evil.example.com'" in studio.log  # and no traceback, which would let anyone fill the log


def test_a_body_that_does_not_come_ends_with_the_server(studio: Studio) -> None:
    with studio.server(SHUTDOWN_TIMEOUT="1") as (url, server):
        address = urlsplit(url)
        with closing(socket.create_connection((address.hostname, address.port), timeout=120)) as client:
            client.sendall(b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            assert client.recv(65_536).startswith(b"HTTP/1.1 503")
        server.stop()


def test_it_is_no_proxy(studio: Studio) -> None:
    (answer,) = exchange(studio.urls[0], b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


def test_an_offer_does_not_keep_the_server_from_leaving_in_order(studio: Studio) -> None:
    session = studio.session(studio.chat())
    with studio.server(SHUTDOWN_TIMEOUT="20") as (url, server):
        address = urlsplit(url)
        stream = ask(url, studio.key, session, "/count 60")
        begun = list(islice(stream, 5))
        with closing(socket.create_connection((address.hostname, address.port))) as client:
            head = f"POST / HTTP/1.1\r\nHost: localhost\r\n{OFFERS['WebSocket']}Content-Length: 5\r\n\r\n"
            client.sendall(head.encode() + b"hello")
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            read = begun + list(stream)
        server.stop()
    assert read[-1].data["status"] == "complete"
    assert text_of(read) == studio.answer(session)["text"] == " ".join(map(str, range(1, 61)))
