"""Clients that do not read what they asked for keep nobody else from being answered."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from core.server.asgi_handler import THREADS
from tests.talking import HTTP, Studio, ask, opened, text_of

FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"  # of more than a megabyte
LONG = "x" * 199_000
AT_ONCE = 8  # requests of each, so that they do not fit into what the system holds


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(tmp_path_factory.mktemp("slow"), servers=1) as studio:
        yield studio


@pytest.fixture(scope="module")
def messages(studio: Studio) -> str:
    """Where a list of more than a megabyte is."""
    session = studio.session(studio.chat())
    for _ in range(4):
        assert text_of(ask(studio.urls[0], studio.key, session, f"/echo {LONG}")) == LONG
    return f"/api/v1/sessions/{session}/messages"


@pytest.mark.parametrize("kind", ["file", "list"])
def test_those_who_do_not_read_keep_nobody_waiting(studio: Studio, messages: str, kind: str) -> None:
    path = FILE if kind == "file" else messages
    address = urlsplit(studio.urls[0])
    head = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {studio.key}\r\n\r\n"
    whole = HTTP.get(studio.urls[0] + path, headers={"Authorization": f"Bearer {studio.key}"})
    assert (whole.status_code, len(whole.content) > 1_000_000) == (200, True)
    with ExitStack() as stack:
        for _ in range(THREADS * 2):
            client = stack.enter_context(socket.socket())
            client.settimeout(120)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((address.hostname, address.port))
            client.sendall(head.encode() * AT_ONCE)
            assert client.recv(12) == b"HTTP/1.1 200"
        for _ in range(THREADS):
            assert HTTP.get(f"{studio.urls[0]}/health", timeout=120).status_code == 200
        again = HTTP.get(studio.urls[0] + path, headers={"Authorization": f"Bearer {studio.key}"}, timeout=120)
        assert again.content == whole.content
