"""Where a token is needed, the body of a caller without one is not waited for."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core.server.bodies import EARLY_SIZE, EARLY_TIME
from tests.core.test_request_limits import connected, received
from tests.talking import Studio, opened

CREDENTIALS = {
    "no token": "",
    "wrong token": "Authorization: Bearer ais_wrong\r\n",
    "no form of a token": "Authorization: Digest a b c\r\n",
    "wrong session": "Cookie: aistudio_session=wrong; csrftoken=x\r\nX-CSRFToken: x\r\n",
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(tmp_path_factory.mktemp("bodies"), servers=1) as studio:
        yield studio


def head(path: str, *lines: str, length: int | None = 500_000) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", size, *lines)
    return "".join(f"{line.strip()}\r\n" for line in lines).encode() + b"\r\n"


def body(name: str) -> bytes:
    """Of a group, whose description is long."""
    return json.dumps({"data": {"attributes": {"name": name}}}).encode() + b" " * 3 * EARLY_SIZE


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("begun", [b"", b"{", b"{" + b" " * 2 * EARLY_SIZE], ids=["nothing", "little", "much"])
@pytest.mark.parametrize("path", ["/api/v1/groups", "/api/v1/sessions/1b4e28ba-2fa1-11d2-883f-0016d3cca427/messages"])
def test_a_stranger_is_refused_before_the_body_comes(studio: Studio, path: str, credentials: str, begun: bytes) -> None:
    with connected(studio.urls[0], head(path, *credentials.split("\r\n")[:-1]), begun) as client:
        answer, _, document = received(client).partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"www-authenticate: " in answer and b"connection: close" in answer
        assert json.loads(document)["errors"][0]["status"] == "401"


def test_a_body_without_a_known_length_is_not_waited_for(studio: Studio) -> None:
    with connected(studio.urls[0], head("/api/v1/groups", length=None), b"1\r\n{\r\n") as client:
        assert client.recv(65_536).startswith(b"HTTP/1.1 401")


def test_nobody_is_told_to_send_what_is_not_read(studio: Studio) -> None:
    sent = body("Continued")
    expectation = "Expect: 100-continue"
    with connected(studio.urls[0], head("/api/v1/groups", expectation, "Authorization: wrong")) as client:
        assert received(client).startswith(b"HTTP/1.1 401")
    own = head("/api/v1/groups", expectation, f"Authorization: {studio.key}", length=len(sent))
    with connected(studio.urls[0], own) as client:
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(sent)
        assert client.recv(65_536).startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize("length", [0, 1])
def test_who_is_known_may_send_slowly(studio: Studio, length: int) -> None:
    sent = body(f"Slow {length}")
    pieces = [sent[: 3 * EARLY_SIZE // 2], sent[3 * EARLY_SIZE // 2 :]]
    if length:
        pieces = [pieces[0][:10], pieces[0][10:], pieces[1]]
    own = head("/api/v1/groups", f"Authorization: {studio.key}", "Connection: close", length=len(sent))
    with connected(studio.urls[0], own) as client:
        for piece in pieces:
            time.sleep(2 * EARLY_TIME)
            client.sendall(piece)
        assert received(client).startswith(b"HTTP/1.1 201")


def test_a_session_is_known_too(studio: Studio) -> None:
    studio.make("users", email="dora@example.com", is_admin=True, password="a long pass phrase")
    with httpx.Client(base_url=studio.urls[0], trust_env=False, timeout=60) as person:
        person.get("/api/v1/auth/login")
        credentials: Any = {"data": {"attributes": {"email": "dora@example.com", "password": "a long pass phrase"}}}
        content = json.dumps(credentials).encode()

        def slowly() -> Iterator[bytes]:
            for part in (content[:5], content[5:]):
                time.sleep(2 * EARLY_TIME)
                yield part

        def post(path: str) -> httpx.Response:
            headers = {"X-CSRFToken": person.cookies["csrftoken"], "Content-Type": "application/json"}
            return person.post(path, content=slowly(), headers=headers)

        assert post("/api/v1/auth/login").status_code == 200  # needs no token
        content = body("Of a session")
        assert post("/api/v1/groups").status_code == 201


def test_what_comes_at_once_keeps_the_connection(studio: Studio) -> None:
    refused = head("/api/v1/groups", length=2) + b"{}"
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connected(studio.urls[0], refused + last) as client:
        assert [part[:3] for part in received(client).split(b"HTTP/1.1 ")[1:]] == [b"401", b"200"]
