"""What a connection may send: heads of a size, in a time; bodies at a pace; and so many heads that do not end."""

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urlsplit

import pytest

from core.server.request_limits import HEAD_TIME, LARGEST_HEAD, MOST_FIELDS, PACE, PACE_INTERVAL
from tests.talking import Studio, ask, opened, text_of

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
LAST = GET + b"Connection: close\r\n\r\n"
PATIENCE = 60  # seconds
FREE = 256  # file descriptors
FILES = 60  # that a server has open without a connection, at most


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(tmp_path_factory.mktemp("limits"), servers=1) as studio:
        yield studio


@contextmanager
def connected(url: str, *parts: bytes) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=PATIENCE)) as client:
        for part in parts:
            client.sendall(part)
        yield client


def received(client: socket.socket) -> bytes:
    """All up to the end of the connection."""
    answer = b""
    try:
        while chunk := client.recv(65_536):
            answer += chunk
    except ConnectionResetError:
        pass
    return answer


def exchange(url: str, *parts: bytes) -> list[bytes]:
    """The status of each response."""
    with connected(url, *parts) as client:
        return [part[:3] for part in received(client).split(b"HTTP/1.1 ")[1:]]


def fields(number: int) -> bytes:
    return b"".join(b"X-%d: x\r\n" % index for index in range(number))


def test_a_head_has_so_many_bytes(studio: Studio) -> None:
    url = studio.urls[0]
    short = b"X: " + b"x" * (LARGEST_HEAD - len(GET) - 100) + b"\r\n"
    assert exchange(url, GET + short + b"Connection: close\r\n\r\n") == [b"200"]
    long = b"X: " + b"x" * LARGEST_HEAD + b"\r\n"
    assert exchange(url, GET + long + b"\r\n") == [b"431"]  # at once
    assert exchange(url, GET[:-2] + b"x" * 10 * LARGEST_HEAD) == [b"431"]  # without an end
    assert exchange(url, b"GET /" + b"x" * 10 * LARGEST_HEAD) == [b"431"]
    assert exchange(url, GET + b"\r\n", GET + long + b"\r\n") in ([b"200", b"431"], [b"431"])  # the second one
    with connected(url, GET + long + b"\r\n") as client:
        head, _, body = received(client).partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert json.loads(body)["errors"][0]["code"] == "head_too_large"


def test_a_head_has_so_many_fields(studio: Studio) -> None:
    url = studio.urls[0]
    assert exchange(url, GET + fields(MOST_FIELDS - 2) + b"Connection: close\r\n\r\n") == [b"200"]
    assert exchange(url, GET + fields(MOST_FIELDS) + b"\r\n") == [b"431"]
    assert exchange(url, GET, *[fields(2)] * MOST_FIELDS) == [b"431"]  # before it ends
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    assert exchange(url, chunked, fields(MOST_FIELDS)) == [b"431"]  # after the body
    assert exchange(url, chunked + b"X: ", b"x" * 3 * LARGEST_HEAD) == [b"431"]


def test_heads_that_come_in_pieces_are_answered(studio: Studio) -> None:
    pieces = [LAST[index : index + 1] for index in range(len(LAST))]
    assert exchange(studio.urls[0], GET + b"\r\n\r\n", *pieces) == [b"200", b"200"]
    assert exchange(studio.urls[0], (GET + b"\r\n") * 5_000 + LAST) == [b"200"] * 5_001  # more than a head may have


@pytest.mark.slow
def test_heads_and_bodies_have_so_much_time(studio: Studio) -> None:
    """All at once: a client that says nothing, one that stops, three that trickle; and one that is slow enough."""
    url, begun = studio.urls[0], time.monotonic()
    body = POST + b"Content-Length: 1000000\r\n\r\n"
    with ExitStack() as stack:
        silent, stopped, trickling, empty, stuck, slow, steady = (
            stack.enter_context(connected(url, *parts))
            for parts in ((), (GET,), (GET,), (GET + b"\r\n",), (body,), (body,), (body,))
        )
        ended: dict[socket.socket, float] = {}
        while time.monotonic() - begun < HEAD_TIME + 3 * PACE_INTERVAL:
            time.sleep(0.25)
            for client, part in ((trickling, b"X-1: x\r\n"), (empty, b"\r\n"), (slow, b"x"), (steady, b"x" * 3 * PACE)):
                if client not in ended:
                    try:
                        client.sendall(part)
                    except (BrokenPipeError, ConnectionResetError):
                        ended[client] = time.monotonic() - begun
            if sum(client in ended for client in (trickling, empty, slow)) == 3:
                break
        assert min(ended.values()) > HEAD_TIME - 5
        assert received(silent) == b""
        assert [received(each)[9:12] for each in (stopped, stuck)] == [b"408", b"408"]
        assert trickling in ended and empty in ended and slow in ended and steady not in ended


@pytest.mark.slow
def test_an_answer_goes_on_beside_a_head_that_does_not_end(studio: Studio) -> None:
    session = studio.session(studio.chat())
    path = f"POST /api/v1/sessions/{session}/messages HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
    body = json.dumps({"data": {"type": "messages", "attributes": {"text": "/count 1600"}}})
    head = f"{path}Authorization: {studio.key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with connected(studio.urls[0], f"{head}{body}\r\n".encode(), b"GET /") as client:
        answer, begun = b"", time.monotonic()
        while b"event: done" not in answer:
            answer += client.recv(65_536)
        assert time.monotonic() - begun > HEAD_TIME + PACE_INTERVAL
        assert b"complete" in answer


def test_heads_that_do_not_end_keep_nobody_out(studio: Studio) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FREE + FILES, usual[1]))
        try:
            started = studio.server()
            url, _ = stack.enter_context(started)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        half_sent = [stack.enter_context(connected(url, GET)) for _ in range(400)]
        begun = time.monotonic()
        assert exchange(url, LAST) == [b"200"]
        assert time.monotonic() - begun < 30
        session = studio.session(studio.chat())
        assert text_of(ask(url, studio.key, session, "/echo hello")) == "hello"
        half_sent[-1].sendall(b"Connection: close\r\n\r\n")  # the newest were kept
        assert received(half_sent[-1])[9:12] == b"200"
