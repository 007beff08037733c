"""What ends the streams of a token or a browser, and not the answers that they read; and what switches an LLM off."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any

import httpx
import pytest

from tests.talking import DEMO, NUMBER, Studio, ask, events, question, text_of, until

WITHIN = 5  # seconds
LONG = "/count 4000"
PASSWORD = "a pass phrase of dora"


class Dora:
    """Someone who belongs to a chat, with a session in it and a browser that is signed in."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        group = studio.group()
        self.email = f"dora-{next(NUMBER)}@example.com"
        self.id = studio.make("users", email=self.email, password=PASSWORD, group_ids=[group])
        self.key = studio.call("POST", f"/users/{self.id}/roll-api-key")["attributes"]["api_key"]
        self.llm = studio.make("llms", name=f"House model {next(NUMBER)}", **DEMO)
        settings = studio.make("llm-settings")
        self.chat = studio.make("chats", name="Desk", llm_id=self.llm, llm_settings_id=settings, group_ids=[group])
        self.session = studio.session(self.chat, self.key)

    def token(self) -> tuple[str, str]:
        """The id and key of one more token."""
        made = self.studio.call("POST", "/users/me/tokens", {"name": "other"}, key=self.key)
        return made["id"], made["attributes"]["token"]

    def browser(self, server: int = 0) -> httpx.Client:
        client = httpx.Client(base_url=self.studio.urls[server], trust_env=False, timeout=60)
        client.get("/api/v1/auth/login")
        post(client, "/api/v1/auth/login", {"email": self.email, "password": PASSWORD})
        return client

    def stop(self) -> None:
        self.studio.send("POST", f"/sessions/{self.session}/stop", key=self.key)


def post(client: httpx.Client, path: str, attributes: Any = None) -> httpx.Response:
    body = {"data": {"attributes": attributes}} if attributes else None
    response = client.post(path, json=body, headers={"X-CSRFToken": client.cookies["csrftoken"]})
    assert response.is_success, response.text
    return response


@pytest.fixture
def dora(studio: Studio) -> Iterator[Dora]:
    dora = Dora(studio)
    yield dora
    dora.stop()


def ends_within(stream: Any) -> float:
    """The seconds until a stream ends."""
    begun = time.monotonic()
    list(stream)
    return time.monotonic() - begun


@pytest.mark.parametrize("server", [0, 1], ids=["same", "other"])
def test_a_revoked_token_ends_its_streams_alone(studio: Studio, dora: Dora, server: int) -> None:
    number, key = dora.token()
    with closing(ask(studio.urls[server], key, dora.session, LONG)) as asked:
        list(islice(asked, 5))
        with closing(events(studio.urls[server], key, dora.session)) as followed:
            list(islice(followed, 5))
            with closing(events(studio.urls[server], dora.key, dora.session)) as others:
                list(islice(others, 5))
                studio.call("DELETE", f"/users/me/tokens/{number}", key=dora.key)
                assert ends_within(asked) < WITHIN
                assert ends_within(followed) < WITHIN
                assert len(list(islice(others, 20))) == 20  # the answer goes on
    refused = studio.send("GET", f"/sessions/{dora.session}/events", key=key, server=server)
    assert refused.status_code == 401


def test_who_waits_for_a_whole_answer_is_told_that_the_token_ended(studio: Studio, dora: Dora) -> None:
    number, key = dora.token()
    with ThreadPoolExecutor() as threads:
        path = f"/sessions/{dora.session}/messages"
        waiting = threads.submit(studio.send, "POST", path, question(LONG), key=key)
        until(lambda: studio.call("GET", path, key=dora.key))
        studio.call("DELETE", f"/users/me/tokens/{number}", key=dora.key)
        assert waiting.result(60).json()["errors"][0]["code"] == "authentication_failed"
    assert studio.answer(dora.session, key=dora.key)["status"] == "streaming"


def test_a_token_that_ends_with_another_one_ends_its_streams_too(studio: Studio, dora: Dora) -> None:
    number, key = dora.token()
    made = studio.call("POST", "/users/me/tokens", {"name": "child"}, key=key)["attributes"]["token"]
    with closing(ask(studio.urls[0], made, dora.session, LONG)) as asked:
        list(islice(asked, 5))
        studio.call("DELETE", f"/users/me/tokens/{number}", key=dora.key)
        assert ends_within(asked) < WITHIN


@pytest.mark.parametrize("how", ["signs out", "changes the password elsewhere"])
def test_who_signs_out_reads_no_more(studio: Studio, dora: Dora, how: str) -> None:
    with closing(ask(studio.urls[0], dora.key, dora.session, LONG)) as asked, closing(dora.browser()) as browser:
        list(islice(asked, 5))
        pages = [f"/sessions/{dora.session}/events", f"/api/v1/sessions/{dora.session}/events"]
        with browser.stream("GET", pages[0]) as page, browser.stream("GET", pages[1]) as api:
            streams = [page.iter_raw(), api.iter_raw()]
            assert all(next(stream) for stream in streams)
            if how == "signs out":
                post(browser, "/api/v1/auth/logout")
            else:
                studio.call("PATCH", f"/users/{dora.id}", {"password": f"{PASSWORD} again"})
            assert max(map(ends_within, streams)) < WITHIN
        assert [browser.get(path).status_code for path in pages] == [401, 401]
        assert len(list(islice(asked, 20))) == 20  # with her token


@pytest.mark.parametrize("moved", [False, True], ids=["in its chat", "the chat has another since"])
def test_an_llm_that_is_switched_off_answers_no_more(studio: Studio, dora: Dora, moved: bool) -> None:
    with closing(ask(studio.urls[0], dora.key, dora.session, LONG)) as asked:
        begun = list(islice(asked, 5))
        with closing(events(studio.urls[1], dora.key, dora.session)) as other:
            list(islice(other, 5))
            if moved:
                another = studio.make("llms", name=f"House model {next(NUMBER)}", **DEMO)
                studio.call("PATCH", f"/chats/{dora.chat}", {"llm_id": another})
            switched = time.monotonic()
            studio.call("PATCH", f"/llms/{dora.llm}", {"active": False})
            rest, others = list(asked), list(other)
            assert time.monotonic() - switched < WITHIN
    for read in (rest, others):
        assert [event.name for event in read[-3:]] == ["usage", "error", "done"]
        assert (read[-2].data["code"], read[-1].data["status"]) == ("llm_inactive", "failed")
    answer = studio.answer(dora.session, key=dora.key)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "llm_inactive")
    assert answer["text"] == text_of(begun) + text_of(rest)
