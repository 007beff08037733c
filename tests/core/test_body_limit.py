"""A body over the limit is refused while it comes in."""

import asyncio
import http.client
import json
from contextlib import closing
from typing import Any

import pytest
from django.conf import settings

from aistudio.asgi import application
from core.server.responses import MOST_DRAINED

CHUNK = b"x" * 65_536


def post(headers: list[tuple[bytes, bytes]], chunks: int) -> tuple[int, int]:
    """The status of a POST of so many chunks, and how many of them were read."""
    read = 0
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        nonlocal read
        if read == chunks:
            await asyncio.sleep(60)  # the client waits for its answer
        read += 1
        return {"type": "http.request", "body": CHUNK, "more_body": read < chunks}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/nothing",
        "raw_path": b"/nothing",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(application(scope, receive, send))
    return statuses[0], read


def test_an_announced_body_is_read_and_forgotten() -> None:
    """So that the client, which reads its answer after it has sent all, finds no broken connection."""
    length = settings.MAX_BODY_SIZE + 1
    assert post([(b"content-length", str(length).encode())], chunks := length // len(CHUNK) + 1) == (413, chunks)
    assert post([(b"content-length", b"1000000000")], 1000) == (413, MOST_DRAINED // len(CHUNK))


def test_a_client_that_waits_to_be_told_to_send_it_is_told_at_once() -> None:
    headers = [(b"content-length", b"2000000"), (b"expect", b"100-continue")]
    assert post(headers, 1000) == (413, 0)


def test_a_body_of_unknown_length_is_read_up_to_the_limit() -> None:
    limit = (settings.MAX_BODY_SIZE + MOST_DRAINED) // len(CHUNK) + 1
    assert post([(b"transfer-encoding", b"chunked")], 1000) == (413, limit)


@pytest.mark.parametrize("chunks", [1, settings.MAX_BODY_SIZE // len(CHUNK)])
def test_a_body_within_the_limit_passes(chunks: int) -> None:
    assert post([], chunks)[0] == 404


@pytest.mark.parametrize("has_length", [True, False])
def test_the_refusal_reaches_a_client_that_sends_first_and_reads_then(live: Any, has_length: bool) -> None:
    """Over a real socket. What had not been read would make the connection end with a reset."""
    body = b"x" * (7 * 2**20)
    for _ in range(5):
        with closing(http.client.HTTPConnection(live.url.removeprefix("http://"), timeout=60)) as connection:
            headers = {"Authorization": live.token, "Content-Type": "application/json"}
            connection.request("POST", "/api/v1/chats", body if has_length else iter([body]), headers)
            answer = connection.getresponse()
            (error,) = json.loads(answer.read())["errors"]
        assert (answer.status, error["code"], answer.headers["Connection"]) == (413, "payload_too_large", "close")


def test_a_body_of_unknown_length_arrives(live: Any) -> None:
    """Over a real socket, in chunks, without a Content-Length."""
    headers = {"Authorization": live.token, "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(live.url.removeprefix("http://"))) as connection:
        connection.request("POST", "/api/v1/chats", iter([b'{"data": {', b'"attributes": {"colour": 1}}}']), headers)
        errors = json.loads(connection.getresponse().read())["errors"]
    assert {error["code"] for error in errors} == {"required", "unknown_attribute"}
