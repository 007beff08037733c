"""Several workers serve one port: one that dies is replaced, and all of them by a restart that nobody notices."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import islice
from threading import Event as Flag

import httpx
import pytest

from tests.production import Production, events_of
from tests.talking import Event, question, text_of, until

pytestmark = pytest.mark.slow

ASKED = 150  # numbers, which take three seconds and more
COUNTED = " ".join(map(str, range(1, ASKED + 1)))
STREAMS = 6
RESTART_TIMEOUT = 60  # seconds


@pytest.fixture(scope="module")
def chat(production: Production) -> int:
    with production.direct as http:

        def make(kind: str, **attributes: object) -> int:
            response = http.post(f"/api/v1/{kind}", json={"data": {"attributes": attributes}})
            return int(response.raise_for_status().json()["id"])

        llm = make("llms", name="Model of workers", vendor="demo", default_model="demo")
        return make("chats", name="Help", llm_id=llm, llm_settings_id=make("llm-settings"), group_ids=[])


def session(http: httpx.Client, chat: int) -> str:
    response = http.post("/api/v1/sessions", json={"data": {"attributes": {"chat_id": chat}}})
    return str(response.raise_for_status().json()["id"])


def read_answer(production: Production, chat: int, delay: float, is_cut: bool) -> list[Event]:
    """All events of an answer, read over one connection or, where it is cut, over one for every 40 of them."""
    size = 40 if is_cut else None
    with production.direct as http:
        path = f"/sessions/{session(http, chat)}"
        time.sleep(delay)
        with closing(events_of(http, "POST", f"{path}/messages", question(f"/count {ASKED}"))) as stream:
            read = list(islice(stream, size))
        while read[-1].name != "done":
            with closing(events_of(http, "GET", f"{path}/events", **{"Last-Event-ID": str(read[-1].id)})) as stream:
                read += list(islice(stream, size))
    return read


def call_on(production: Production, is_over: Flag, pause: float, keep_alive: bool) -> tuple[int, float]:
    """Call again and again until it is over; how often, and the longest wait. Any failure is raised."""
    calls, longest = 0, 0.0
    headers = {} if keep_alive else {"Connection": "close"}
    with production.direct as http:
        while not is_over.is_set():
            begun = time.monotonic()
            response = http.get("/api/v1/groups", headers=headers)
            assert response.status_code == 200, response.text
            calls, longest = calls + 1, max(longest, time.monotonic() - begun)
            time.sleep(pause)
    return calls, longest


def test_nobody_notices_a_restart(production: Production, chat: int) -> None:
    old, is_over = production.workers(), Flag()
    assert len(old) == 2
    with ThreadPoolExecutor(32) as threads, ExitStack() as stack:
        stack.callback(is_over.set)
        callers = [
            threads.submit(call_on, production, is_over, pause, keep_alive)
            for pause in (0.01, 0.1, 0.7)
            for keep_alive in (True, False)
        ]
        readers = [
            threads.submit(read_answer, production, chat, number * 0.3, number % 3 == 0) for number in range(STREAMS)
        ]
        time.sleep(0.5)
        production.server.process.send_signal(signal.SIGHUP)
        until(lambda: len(production.workers()) >= 2 and not production.workers() & old, RESTART_TIMEOUT)
        answers: list[list[Event]] = [reader.result() for reader in readers]
        is_over.set()
        counted = [caller.result() for caller in callers]

    assert [text_of(answer) for answer in answers] == [COUNTED] * STREAMS
    assert {answer[-1].data["status"] for answer in answers} == {"complete"}
    assert [event.id for event in answers[0]] == sorted({event.id for event in answers[0]})
    assert all(calls > 5 and longest < 60 for calls, longest in counted), counted
    assert len(production.workers()) == 2


def test_a_worker_that_dies_is_replaced(production: Production) -> None:
    before = production.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    with production.direct as http:
        until(lambda: len(now := production.workers()) == 2 and victim not in now, RESTART_TIMEOUT)
        assert [http.get("/health").status_code for _ in range(5)] == [200] * 5
    assert before - {victim} < production.workers()


def test_an_old_worker_that_ends_an_answer_keeps_the_master_from_nothing(production: Production, chat: int) -> None:
    before = production.workers()
    with production.direct as http:
        path = f"/sessions/{session(http, chat)}/messages"
        with closing(events_of(http, "POST", path, question("/count 1000"))) as stream:
            read = list(islice(stream, 5))
            production.server.process.send_signal(signal.SIGHUP)
            until(lambda: len(production.workers() - before) == 2, RESTART_TIMEOUT)
            victim = min(production.workers() - before)
            os.kill(victim, signal.SIGKILL)
            until(
                lambda: len(new := production.workers() - before) == 2 and victim not in new,
                RESTART_TIMEOUT,
            )
            assert production.workers() & before, "The old worker had ended, so this shows nothing."
            read += list(stream)
    assert read[-1].data["status"] == "complete"
