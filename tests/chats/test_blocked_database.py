"""While something else holds SQLite's lock, those who ask wait for it; those who read an answer read on."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chats.answering.journal import LEASE
from tests.talking import Studio, ask, new_database, opened, question, text_of

pytestmark = pytest.mark.slow

LOCKED = LEASE.total_seconds() + 2  # when all leases are over
WAITING = 24  # who ask meanwhile: more than the server has threads


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with opened(tmp_path, servers=2) as studio:
        yield studio


def test_a_database_that_fails_is_temporary(studio: Studio) -> None:
    session = studio.session(studio.chat())
    path = studio.variables["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE chats_activeanswer RENAME TO gone")
        path = f"/sessions/{session}/messages"
        answer = studio.send("POST", path, question("/echo Hello"), Accept="text/event-stream")
        other.execute("ALTER TABLE gone RENAME TO chats_activeanswer")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["errors"][0]["code"] == "unavailable"
    assert text_of(ask(studio.urls[0], studio.key, session, "/echo Hello")) == "Hello"
    assert len(studio.call("GET", f"/sessions/{session}/messages")) == 2


def test_streams_go_on_while_requests_wait_for_the_database(studio: Studio) -> None:
    """And no server takes the other, or itself, for dead, because neither could say that it lives."""
    chat, url = studio.chat(), studio.urls[0]
    read, asking = studio.session(chat), [studio.session(chat) for _ in range(WAITING)]
    path = studio.variables["DATABASE_URL"].removeprefix("sqlite:///")
    with (
        ThreadPoolExecutor(WAITING) as threads,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(ask(url, studio.key, read, "/count 700")) as stream,
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
        *_, done = stream
    assert deltas > LOCKED * 10  # of some 30 in a second
    assert done.data["status"] == studio.answer(read)["status"] == "complete"
    assert studio.answer(read)["text"] == " ".join(map(str, range(1, 701)))


HOLD = 3  # seconds


@pytest.mark.parametrize("locked", ["a session that many ask in", "who is a user"])
def test_what_comes_is_kept_whatever_else_waits_for_postgresql(postgres: str, tmp_path: Path, locked: str) -> None:
    """All threads that answer requests wait for one row; or what access depends on is locked, as an ALTER does."""
    url = new_database(postgres)
    with (
        opened(tmp_path, servers=1, database_url=url) as studio,
        ThreadPoolExecutor(WAITING) as threads,
        psycopg.connect(url) as other,
        psycopg.connect(url, autocommit=True) as looking,
    ):
        chat = studio.chat()
        read, busy = studio.session(chat), studio.session(chat)
        with closing(ask(studio.urls[0], studio.key, read, "/count 400")) as stream:
            next(event for event in stream if event.name == "delta")
            if locked == "who is a user":
                other.execute("LOCK TABLE groups_user IN ACCESS EXCLUSIVE MODE")
                asking = []
            else:
                other.execute("SELECT FROM chats_session WHERE uuid = %s FOR UPDATE", [busy])
                path = f"/sessions/{busy}/messages"
                asking = [threads.submit(studio.send, "POST", path, question("/echo Hi")) for _ in range(WAITING)]
            time.sleep(HOLD)
            stored = kept(looking)
            time.sleep(1)
            assert kept(looking) > stored + 20
            assert not any(answer.done() for answer in asking)
            other.rollback()
            *_, done = stream
        assert done.data["status"] == "complete"
        assert sorted(answer.result().status_code for answer in asking)[:1] == [201][: len(asking)]


def kept(database: psycopg.Connection[Any]) -> int:
    """How much of answers that are being made is stored."""
    row = database.execute("SELECT coalesce(sum(length(text)), 0) FROM chats_journalentry").fetchone()
    assert row
    return int(row[0])
