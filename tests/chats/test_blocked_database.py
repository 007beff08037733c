"""While something else holds SQLite's lock, those who ask wait for it; those who read an answer read on."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.talking import Studio, ask, opened, text_of

LOCKED = 3  # seconds
WAITING = 24  # who ask meanwhile: more than the server has threads


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with opened(tmp_path, servers=1) as studio:
        yield studio


def test_streams_go_on_while_requests_wait_for_the_database(studio: Studio) -> None:
    chat, url = studio.chat(), studio.urls[0]
    read, asking = studio.session(chat), [studio.session(chat) for _ in range(WAITING)]
    path = studio.variables["DATABASE_URL"].removeprefix("sqlite:///")
    with (
        ThreadPoolExecutor(WAITING) as threads,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(ask(url, studio.key, read, "/count 1000")) as stream,
    ):
        next(event for event in stream if event.name == "delta")
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        answers = [threads.submit(lambda key=key: list(ask(url, studio.key, key, "/echo Hello"))) for key in asking]  # type: ignore[misc]
        deltas = 0
        for event in stream:
            deltas += event.name == "delta"
            if time.monotonic() - begun > LOCKED:
                break
        assert not any(answer.done() for answer in answers)
        other.execute("ROLLBACK")
        assert [text_of(answer.result()) for answer in answers] == ["Hello"] * WAITING
    assert deltas > LOCKED * 10  # of some 30 in a second
