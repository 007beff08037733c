"""How much one person may have running at once, and that it delays nobody else."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from django.db import OperationalError, connection

from chats import search
from chats.models import Session
from core.database.time_limit import TooSlow, time_limit
from tests.live import manage
from tests.people import Person, client_of
from tests.talking import HTTP, Member, Studio, ask, bearer, events, new_database, opened, question, until

LIMITS = {"MAX_ANSWERS_PER_PERSON": "3", "MAX_STREAMS_PER_PERSON": "4", "MAX_SEARCHES_PER_PERSON": "1"}
LONG = "/count 4000"
FILL = """
from chats.models import Message, Session
session = Session.objects.get(uuid="{uuid}")
words = "the quick brown fox jumps over some lazy dogs while nobody looks "
Message.objects.bulk_create(
    Message(session=session, sequence=1000 + number, role="user", text=words * 1600) for number in range({messages})
)
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def limited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    url = new_database(request.getfixturevalue("postgres")) if request.param == "postgresql" else None
    folder = tmp_path_factory.mktemp("limited")
    with opened(folder, servers=2, database_url=url, SHUTDOWN_TIMEOUT="1", **LIMITS) as studio:
        yield studio


def sessions_of(studio: Studio, count: int) -> tuple[Member, list[str]]:
    """Someone with so many sessions in a chat."""
    group = studio.group()
    bob, chat = studio.bob(group), studio.chat(group)
    return bob, [studio.session(chat, bob.key) for _ in range(count)]


def is_refused(response: httpx.Response) -> bool:
    if response.status_code != 429:
        return False
    assert int(response.headers["Retry-After"]) > 0
    assert "most at once" in response.text
    return True


def test_answers_of_one_person_over_all_workers(limited: Studio) -> None:
    """Ten questions at once to two workers: exactly three are answered. Another person is not concerned."""
    bob, sessions = sessions_of(limited, 10)
    other, others = sessions_of(limited, 1)

    def put(number: int) -> httpx.Response:
        path = f"{limited.urls[number % 2]}/api/v1/sessions/{sessions[number]}/messages"
        headers = {**bearer(bob.key), "Accept": "text/event-stream"}
        with HTTP.stream("POST", path, json=question(LONG), headers=headers) as response:
            if response.status_code != 200:
                response.read()
            return response

    with ThreadPoolExecutor(10) as threads:
        responses = list(threads.map(put, range(10)))
    assert sorted(response.status_code for response in responses) == [200] * 3 + [429] * 7
    assert all(is_refused(response) for response in responses if response.status_code != 200)
    refused = [number for number, response in enumerate(responses) if response.status_code == 429]
    assert limited.call("GET", f"/sessions/{sessions[refused[0]]}/messages", key=bob.key) == []  # nothing is stored
    with closing(ask(limited.urls[0], other.key, others[0], "/count 3")) as asked:
        assert list(asked)[-1].data["status"] == "complete"
    for number, session in enumerate(sessions):
        if number not in refused:
            limited.send("POST", f"/sessions/{session}/stop", key=bob.key)

    def ask_again() -> bool:
        path = f"/sessions/{sessions[refused[0]]}/messages"
        return limited.send("POST", path, question("/count 3"), key=bob.key).status_code == 201

    until(ask_again)


def test_streams_of_one_person_in_a_worker(limited: Studio) -> None:
    bob, (session, another) = sessions_of(limited, 2)
    path = f"/sessions/{session}/events"
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(ask(limited.urls[0], bob.key, session, LONG)))]
        assert next(opened[0])
        for _ in range(3):
            opened.append(stack.enter_context(closing(events(limited.urls[0], bob.key, session))))
            assert next(opened[-1])
        assert is_refused(limited.send("GET", path, key=bob.key))
        asked = {"Accept": "text/event-stream"}
        assert is_refused(limited.send("POST", f"/sessions/{another}/messages", question("x"), key=bob.key, **asked))
        assert limited.call("GET", f"/sessions/{another}/messages", key=bob.key) == []
        opened[1].close()
        until(lambda: not is_refused_at_once(limited, path, bob))
    limited.send("POST", f"/sessions/{session}/stop", key=bob.key)


def is_refused_at_once(studio: Studio, path: str, bob: Member) -> bool:
    """Whether one more stream is refused now; it is closed if not."""
    with HTTP.stream("GET", f"{studio.urls[0]}/api/v1{path}", headers=bearer(bob.key)) as response:
        return response.status_code == 429


def fill(studio: Studio, session: str, messages: int) -> None:
    manage(studio.variables, "shell", "--no-imports", "--command", FILL.format(uuid=session, messages=messages))


def test_searches_of_one_person_in_a_worker(limited: Studio) -> None:
    bob, (session,) = sessions_of(limited, 1)
    fill(limited, session, 40)
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda _: limited.send("GET", "/sessions?search=z%C3%A4bra", key=bob.key), range(12)))
    assert {response.status_code for response in found} <= {200, 429}
    assert sum(response.status_code == 200 for response in found) >= 1
    assert any(is_refused(response) for response in found)
    assert limited.send("GET", "/sessions?search=LAZY", key=bob.key).json()[0]["id"] == session


def test_exports_of_one_person_are_limited_and_whole(tmp_path: Path) -> None:
    with opened(tmp_path, servers=1, MAX_EXPORTS_PER_PERSON="1") as studio, ThreadPoolExecutor(12) as threads:
        email, phrase = "dora@example.com", "a pass phrase of dora"
        group = studio.group()
        studio.make("users", email=email, password=phrase, group_ids=[group])
        with httpx.Client(base_url=studio.urls[0], trust_env=False, timeout=60) as browser:
            browser.get("/api/v1/auth/login")
            token = {"X-CSRFToken": browser.cookies["csrftoken"]}
            body = {"data": {"attributes": {"email": email, "password": phrase}}}
            assert browser.post("/api/v1/auth/login", json=body, headers=token).is_success
            token = {"X-CSRFToken": browser.cookies["csrftoken"]}
            body = {"data": {"attributes": {"chat_id": studio.chat(group)}}}
            session = browser.post("/api/v1/sessions", json=body, headers=token).json()["id"]
            fill(studio, session, 60)
            path = f"/sessions/{session}/export.json"
            answers = list(threads.map(lambda _: browser.get(path), range(12)))
            assert {answer.status_code for answer in answers} == {200, 429}
            assert all(is_refused(answer) for answer in answers if answer.status_code == 429)
            until(lambda: browser.get(path).status_code == 200)
            whole = browser.get(path).json()
    assert [message["attributes"]["sequence"] for message in whole["messages"]] == list(range(1000, 1060))


@pytest.mark.slow
@pytest.mark.parametrize("word", ["zebra", "%C3%BCbel", "search of many words in no text"])
def test_forty_searches_delay_nobody_else(tmp_path_factory: pytest.TempPathFactory, word: str) -> None:
    """Over 20 MB of one's own. The times are compared within one run."""
    with opened(tmp_path_factory.mktemp("searches"), servers=1) as studio, ThreadPoolExecutor(40) as threads:
        bob, (session,) = sessions_of(studio, 1)
        fill(studio, session, 200)

        def another_persons_request() -> float:
            begun = time.monotonic()
            assert HTTP.get(f"{studio.urls[0]}/api/v1/chats", headers=bearer(studio.key)).status_code == 200
            return time.monotonic() - begun

        idle = median(another_persons_request() for _ in range(40))
        found = [threads.submit(studio.send, "GET", f"/sessions?search={word}", key=bob.key) for _ in range(40)]
        busy = []
        while not all(each.done() for each in found):
            busy.append(another_persons_request())
        assert {each.result().status_code for each in found} <= {200, 429, 503}
        assert median(busy) <= 5 * idle, (idle, busy)


# how a search is bounded


def test_a_search_that_takes_too_long_is_ended(bob: Person, chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Session.objects.create(user=bob.user, chat=chat, name="Zebra")
    monkeypatch.setattr(search, "time_limit", too_slow)
    refused = bob.get("/sessions", {"search": "zebra"})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (503, "unavailable")
    assert refused["Retry-After"]
    page = client_of(bob).get("/conversations", {"q": "zebra"})
    assert (page.status_code, page["Content-Type"]) == (503, "text/plain; charset=utf-8")
    assert client_of(bob).get("/conversations").status_code == 200


def too_slow(seconds: float) -> Any:
    raise TooSlow(f"This took longer than {seconds} seconds.")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_database_ends_what_takes_too_long() -> None:

    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
    with pytest.raises(TooSlow), time_limit(0.5), connection.cursor() as cursor:
        cursor.execute(endless)
    with time_limit(60), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(OperationalError), time_limit(60):
        raise OperationalError("the database is away")


@pytest.mark.parametrize(
    ("word", "text", "is_found"),
    [
        ("kelvin", "\u212aelvin", True),
        ("strasse", "straße", False),
        ("[a]*?", "x[A]*?y", True),
        ("[a]", "a", False),
        ("ÅNGSTRÖM", "a\u030angstro\u0308m", True),
        ("ΟΔΟΣ", "οδος", True),
        ("]", "a]b", True),
        ("-^", "a-^", True),
    ],
)
def test_letter_cases_in_sqlite(bob: Person, chat: Any, word: str, text: str, is_found: bool) -> None:
    session = Session.objects.create(user=bob.user, chat=chat, name="Zebra")
    session.messages.create(sequence=1, role="user", text=f"before {text} after")
    assert len(bob.get("/sessions", {"search": word}).json()) == is_found
