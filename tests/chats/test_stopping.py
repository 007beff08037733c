"""Whatever ends an answer ends the vendor's work and all streams of it: a stop, or that its owner may no longer ask.

Only those who read cannot: when they go, it goes on.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import httpx
import psycopg
import pytest

from tests.talking import Events, Member, Studio, ask, events, question, text_of, until
from tests.vendor_server import VendorServer

MANY = 20
REVOKED_WITHIN = 5  # seconds


@dataclass(frozen=True)
class Talk:
    """A session of bob's, in a chat of his group, whose LLM is at a vendor of its own."""

    studio: Studio
    vendor: VendorServer
    group: int
    bob: Member
    chat: int
    session: str

    def ask(self) -> Events:
        return ask(self.studio.urls[0], self.bob.key, self.session, "Say something long.")

    def send(self, method: str, path: str, server: int = 0) -> httpx.Response:
        return self.studio.send(method, f"/sessions/{self.session}{path}", key=self.bob.key, server=server)

    @property
    def answer(self) -> Any:
        return self.studio.answer(self.session, key=self.bob.key, server=1)


@contextmanager
def talk(studio: Studio, model: str = "slow") -> Iterator[Talk]:
    with VendorServer() as vendor:
        group = studio.group()
        bob = studio.bob(group)
        chat = studio.chat(group, llm={"vendor": "openai", "api_endpoint": vendor.url, "default_model": model})
        yield Talk(studio, vendor, group, bob, chat, studio.session(chat, bob.key))


# stop


@pytest.mark.parametrize(("server", "limit"), [(0, 1), (1, 2)], ids=["same", "other"])
def test_a_stop_ends_the_vendors_work_and_keeps_the_text(studio: Studio, server: int, limit: float) -> None:
    with talk(studio) as bobs, closing(bobs.ask()) as asked:
        read = list(islice(asked, 10))
        begun = time.monotonic()
        assert bobs.send("POST", "/stop", server).status_code == 202
        read += asked
        bobs.vendor.wait_until(lambda: len(bobs.vendor.cut_at) == 1, timeout=120)

        assert bobs.vendor.cut_at[0] - begun < limit
        assert [event.name for event in read[-2:]] == ["usage", "done"]
        assert read[-1].data["status"] == bobs.answer["status"] == "stopped"
        assert bobs.answer["error"] is None
        assert bobs.answer["usage"]["output_tokens"] > 0
        words = text_of(read).split()
        assert len(words) >= 8
        assert bobs.answer["text"] == text_of(read) == " ".join(map(str, range(1, len(words) + 1)))
        assert bobs.send("POST", "/stop", server).status_code == 409


def test_who_waits_for_the_whole_answer_gets_what_there_was_at_the_stop(studio: Studio) -> None:
    with talk(studio) as bobs, ThreadPoolExecutor() as threads:
        whole = threads.submit(
            studio.call, "POST", f"/sessions/{bobs.session}/messages", {"text": "?"}, key=bobs.bob.key
        )
        until(lambda: bobs.send("POST", "/stop", server=1).status_code == 202)

        answer = whole.result()["attributes"]
        assert answer == bobs.answer
        assert answer["status"] == "stopped"


# nobody reads


def test_that_the_reader_goes_does_not_stop_the_vendor(studio: Studio) -> None:
    with talk(studio, "slow:40") as bobs:
        with closing(bobs.ask()) as asked:
            list(islice(asked, 5))
        until(lambda: bobs.answer["status"] != "streaming")

        assert (bobs.answer["status"], bobs.answer["text"]) == ("complete", " ".join(map(str, range(1, 41))))
        assert bobs.vendor.cut_at == []


# who may no longer ask


def leave(bobs: Talk) -> None:
    bobs.studio.call("DELETE", f"/groups/{bobs.group}/users/{bobs.bob.id}")


def return_(bobs: Talk) -> None:
    assert bobs.studio.send(
        "POST", f"/groups/{bobs.group}/users", {"data": {"type": "users", "id": str(bobs.bob.id)}}
    ).is_success


def close_to_group(bobs: Talk) -> None:
    bobs.studio.call("PATCH", f"/chats/{bobs.chat}", {"group_ids": []})


def open_to_group(bobs: Talk) -> None:
    bobs.studio.call("PATCH", f"/chats/{bobs.chat}", {"group_ids": [bobs.group]})


def deactivate(bobs: Talk) -> None:
    bobs.studio.call("PATCH", f"/users/{bobs.bob.id}", {"is_active": False})


def activate(bobs: Talk) -> None:
    bobs.studio.call("PATCH", f"/users/{bobs.bob.id}", {"is_active": True})


def delete_user(bobs: Talk) -> None:
    bobs.studio.call("DELETE", f"/users/{bobs.bob.id}")


def delete_session(bobs: Talk) -> None:
    bobs.studio.call("DELETE", f"/sessions/{bobs.session}", key=bobs.bob.key)


def delete_chat(bobs: Talk) -> None:
    bobs.studio.call("DELETE", f"/chats/{bobs.chat}")


def nothing(bobs: Talk) -> None:
    """What was closed is still to be read."""


CASES: dict[Callable[[Talk], None], Callable[[Talk], None] | None] = {  # and how it is undone, to look at what is left
    leave: return_,
    close_to_group: open_to_group,
    deactivate: activate,
    delete_chat: nothing,
    delete_user: None,
    delete_session: None,
}


def test_what_closes_a_chat_to_its_reader_ends_what_they_read(studio: Studio) -> None:
    with ThreadPoolExecutor(len(CASES)) as threads:
        outcomes = threads.map(lambda end: outcome(studio, end, CASES[end]), CASES)
        assert dict(zip(CASES, outcomes, strict=True)) == {
            end: "access_revoked" if undo else "gone" for end, undo in CASES.items()
        }


def outcome(studio: Studio, end: Callable[[Talk], None], undo: Callable[[Talk], None] | None) -> str:
    """The code of the answer's error."""

    def read(stream: Events) -> tuple[float, str]:
        text = text_of(stream)
        return time.monotonic(), text

    with talk(studio) as bobs, ThreadPoolExecutor() as threads, closing(bobs.ask()) as asked:
        begun = list(islice(asked, 10))
        streams = [asked, events(studio.urls[1], bobs.bob.key, bobs.session)]
        results = [threads.submit(read, stream) for stream in streams]
        time.sleep(0.5)
        ended = time.monotonic()
        end(bobs)
        (own_end, own), (other_end, other) = [result.result() for result in results]
        bobs.vendor.wait_until(lambda: len(bobs.vendor.cut_at) == 1, timeout=REVOKED_WITHIN)

        assert max(own_end, other_end, *bobs.vendor.cut_at) - ended < REVOKED_WITHIN, end
        assert (text_of(begun) + own).startswith(other), end
        if undo is None:
            return "gone"
        undo(bobs)
        until(lambda: bobs.answer["status"] != "streaming")
        assert bobs.answer["status"] == "failed", end
        assert bobs.answer["text"] == text_of(begun) + own, end
        return str(bobs.answer["error"]["code"])


def test_sessions_can_be_deleted_while_they_are_answered(studio: Studio) -> None:
    chat = studio.chat()
    sessions = [studio.session(chat) for _ in range(MANY)]
    asked = [
        ask(url, studio.key, session, "/count 2000") for url, session in zip(cycle(studio.urls), sessions, strict=False)
    ]
    for stream in asked:
        assert len(list(islice(stream, 3))) == 3

    def delete(number: int) -> int:
        return studio.send("DELETE", f"/sessions/{sessions[number]}", server=number // 2 % 2).status_code

    with ThreadPoolExecutor(2 * MANY) as threads:
        ends = [threads.submit(list, stream) for stream in asked]
        assert list(threads.map(delete, range(MANY))) == [204] * MANY
        assert {end.result()[-1].data["status"] for end in ends} == {"interrupted"}


def test_a_session_can_be_deleted_though_its_answer_grows_meanwhile(studio: Studio) -> None:
    database = studio.variables["DATABASE_URL"]
    if database.startswith("sqlite"):
        pytest.skip("In SQLite nobody else writes within a transaction.")
    session = studio.session(studio.chat())
    with closing(ask(studio.urls[0], studio.key, session, "/count 2000")) as asked:
        _, answer = islice(asked, 2)
        with psycopg.connect(database) as connection, ThreadPoolExecutor() as threads:
            connection.execute("SELECT FROM chats_message WHERE id = %s FOR KEY SHARE", [answer.data["id"]])
            deleted = threads.submit(studio.send, "DELETE", f"/sessions/{session}")
            time.sleep(1)  # that it waits for our lock, while more of the answer is stored
            connection.rollback()
            assert deleted.result().status_code == 204
        assert list(asked)[-1].data["status"] == "interrupted"


def test_who_waits_for_an_answer_that_is_deleted_is_told_of_an_end(studio: Studio) -> None:
    session = studio.session(studio.chat())

    def wait(server: int) -> Any:
        path = f"/sessions/{session}/messages"
        return studio.send("POST", path, question("/count 2000"), server=server, **{"Idempotency-Key": "same"}).json()

    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(wait, 0)]
        until(lambda: studio.call("GET", f"/sessions/{session}/messages"))
        waiting.append(threads.submit(wait, 1))
        time.sleep(1)  # that both are waiting
        studio.call("DELETE", f"/sessions/{session}")
        assert [answer.result()["attributes"]["status"] for answer in waiting] == ["interrupted"] * 2
