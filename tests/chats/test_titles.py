"""Titles by the LLM: where the chat wants them, once, behind the answer, never over a person's own, and counted."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chats import conversation
from chats.answering import titles
from chats.models import Chat, Session, Title
from llms.vendors.registry import client
from tests.llms.vendors.asking import call
from tests.people import Person
from tests.talking import Member, Studio, question, until
from tests.vendor_server import ANSWER, Received, VendorServer, is_for_title
from usage.metering import TIMEOUTS, MeteredCall

QUESTION = "What do   foxes\ndo?"
OWN = "What do foxes do?"  # the title that is made of it
REPLIES = {  # of an LLM that was asked for a title, and what becomes of them
    "Foxes and dogs\n": "Foxes and dogs",
    '\n## **Title: "Foxes\tand O\'Brien\x1b\u202e"**\nHere it is.': "Foxes and O'Brien",
    "«Лисы»": "Лисы",
    "Subtitle: foxes, in C#": "Subtitle: foxes, in C#",
    "Foxes 👩‍👩‍👧": "Foxes 👩‍👩‍👧",
    "Foxes " * 20: f"{('Foxes ' * 10).strip()}…",
    "<think>Dogs?\nOr foxes?</think>\n\nFoxes": "Foxes",
    "Dogs?\nOr foxes?</think>Foxes": "Foxes",
    "<think>Dogs? Or foxes?": "",
    "```\nFoxes\n```": "Foxes",
    '```json\n{"title": "Foxes: \\u201cwild\\u201d"}\n```': "Foxes: wild",
    "Here it is:\n\n~~~text\n**Foxes**\n~~~\nGood?": "Foxes",
    '{"emoji": "🦊", "Title": "Foxes"}': "Foxes",
    '{"titel": "Füchse", "n": 1}': "Füchse",
    '[{"title": "Foxes\\nand dogs"}]': "Foxes",
    '["Foxes", "Dogs"]': "Foxes",
    "{'title': 'Foxes',}": "Foxes",
    '{title: "Foxes"}': "Foxes",
    "[Foxes] and dogs": "[Foxes] and dogs",
    "{Foxes}": "{Foxes}",
    '{"n": 1}': "",
    "[]": "",
    "[1]": "",
    "```\n```": "",
    "**": "",
    "\u200d\u200d": "",
    "\u3164 \u200d": "",
    " \n": "",
    "Foxes are small. " * 20: "",
}
TITLES = {
    'ok:## **Title: "Foxes and dogs"**': "Foxes and dogs",
    "think:Foxes": "Foxes",
    'ok:{"title": "Dogs"}': "Dogs",
}  # by the vendor's behaviour
NO_TITLES = ("count:200", "401", "error-in-stream")  # the first is too much for a title, and cut off
LATE = "patient:3"  # a title that comes when the model is asked once more
on_sqlite = pytest.mark.parametrize("studio", ["sqlite"], indirect=True)


@dataclass(frozen=True)
class World:
    studio: Studio
    vendor: VendorServer
    group: int
    bob: Member

    def session(self, model: str, **chat: Any) -> str:
        """One of bob's, in a chat that wants titles."""
        llm = {"vendor": "openai", "api_endpoint": self.vendor.url, "default_model": model}
        return self.studio.session(self.studio.chat(self.group, llm=llm, **{"llm_titles": True, **chat}), self.bob.key)

    def ask(self, session: str, text: str = QUESTION, server: int = 0, path: str = "messages") -> Any:
        body = question(text) if path == "messages" else None
        path = f"/sessions/{session}/{path}"
        response = self.studio.send("POST", path, body, key=self.bob.key, server=server, Accept="application/json")
        assert response.status_code == 201, response.text
        return response.json()

    def read(self, path: str, server: int = 0) -> Any:
        return self.studio.call("GET", f"/sessions/{path}", key=self.bob.key, server=server)

    def rename(self, session: str) -> None:
        self.studio.call("PATCH", f"/sessions/{session}", {"name": "Mine"}, key=self.bob.key)

    def name(self, session: str) -> str:
        return str(self.read(session)["attributes"]["name"])

    def usage(self, session: str) -> Any:
        return self.read(f"{session}/usage", server=1)["attributes"]

    def is_counted(self, session: str) -> bool:
        """Whether a call for a title has ended, and the vendor said what it took."""
        usage = self.usage(session)
        return usage["titles"] == 1 and not usage["estimated"]

    def asked_for_titles(self, model: str) -> list[Received]:
        return [each for each in self.vendor.requests if each.model == model and is_for_title(said(each))]


def said(request: Received) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in request.body["messages"]]


@pytest.fixture(scope="module")
def world(studio: Studio) -> Iterator[World]:
    group = studio.group()
    with VendorServer() as vendor:
        yield World(studio, vendor, group, studio.bob(group))


def test_who_asks_on_at_once_waits_for_nothing_and_all_is_counted(world: World) -> None:
    model = "titling:patient:03"  # LATE by another name
    session = world.session(model, settings={"temperature": 0.5, "stop_words": ["o"]})
    for server in (0, 1):
        world.ask(session, f"{QUESTION} " * 1_000, server)
    until(lambda: world.is_counted(session))

    [asked] = world.asked_for_titles(model)
    [(role, text)] = said(asked)
    assert role == "user"
    assert len(text) < 5_000
    assert asked.body.keys() == {"model", "messages", "stream", "stream_options", "max_tokens"}
    answers = [message["attributes"]["usage"] for message in world.read(f"{session}/messages")[1::2]]
    usage = world.usage(session)
    assert usage["answers"] == len(answers) == 2
    assert usage["input_tokens"] == len(text.split()) + sum(answer["input_tokens"] for answer in answers)
    assert usage["output_tokens"] == len(ANSWER.split()) + sum(answer["output_tokens"] for answer in answers)
    assert world.name(session) == ANSWER


@on_sqlite
def test_a_title_is_what_the_llm_says_else_that_of_the_text(world: World) -> None:
    failures = world.studio.log.count("got no title")
    off, named = world.session("titling:ok:off", llm_titles=False), world.session("titling:ok:named")
    world.rename(named)
    sessions = {behaviour: world.session(f"titling:{behaviour}") for behaviour in (*TITLES, *NO_TITLES, LATE)}
    for session in (off, named, *sessions.values()):
        assert world.ask(session)["attributes"]["text"] == ANSWER
    world.rename(sessions[LATE])
    world.ask(sessions[LATE])
    until(lambda: world.studio.log.count("got no title") == failures + len(NO_TITLES))
    until(lambda: all(world.is_counted(sessions[behaviour]) for behaviour in (*TITLES, LATE)))

    expected = {**TITLES, **dict.fromkeys(NO_TITLES, OWN), LATE: "Mine"}
    assert {behaviour: world.name(session) for behaviour, session in sessions.items()} == expected
    assert (world.name(off), world.name(named)) == (OWN, "Mine")
    for behaviour, session in sessions.items():
        assert world.usage(session)["titles"] == len(world.asked_for_titles(f"titling:{behaviour}")) == 1
        assert world.usage(session)["estimated"] == (behaviour in NO_TITLES)
    for behaviour, session in {"ok:off": off, "ok:named": named}.items():
        assert world.usage(session)["titles"] == len(world.asked_for_titles(f"titling:{behaviour}")) == 0


@on_sqlite
def test_the_first_whole_answer_counts(world: World) -> None:
    session = world.session("401-once")
    failed = world.ask(session)
    assert failed["attributes"]["status"] == "failed"
    assert world.usage(session)["titles"] == 0
    world.ask(session, path=f"messages/{failed['id']}/regenerate")
    until(lambda: world.name(session) == ANSWER)


@on_sqlite
def test_a_server_that_is_stopped_does_not_wait_for_a_title(world: World) -> None:
    session = world.session("titling:stall")
    with world.studio.server(SHUTDOWN_TIMEOUT="60") as (url, server):
        world.studio.urls.append(url)
        world.ask(session, server=world.studio.urls.index(url))
        world.studio.urls.remove(url)
        until(lambda: world.asked_for_titles("titling:stall"))
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 50
    usage = world.usage(session)
    assert (usage["titles"], usage["estimated"], world.name(session)) == (1, True, OWN)
    assert usage["output_tokens"] > len(ANSWER.split())  # what had arrived is estimated


# without a server


def test_a_reply_is_made_a_title() -> None:
    assert {reply: titles.clean_title(titles.reply_in(reply)) for reply in REPLIES} == REPLIES


@pytest.mark.parametrize(("model", "code", "counted"), [("hang", "timeout", 7), ("401", "unauthorized", 0)])
def test_a_title_that_fails_costs_what_the_vendor_took(
    vendor: VendorServer, monkeypatch: pytest.MonkeyPatch, model: str, code: str, counted: int
) -> None:
    monkeypatch.setitem(TIMEOUTS, "title", 0.5)

    async def asked() -> str:
        http = client(refusal=lambda *target: None, connect_timeout=5)
        try:
            metered = MeteredCall("title", "openai", call(vendor.url, model))
            return await titles.ask_for_title(metered, title, http)
        finally:
            await http.close()

    title = Title()
    assert asyncio.run(asked()) == ""
    assert (title.error_code, title.input_tokens, title.output_tokens, title.estimated) == (code, counted, 0, True)


@pytest.mark.parametrize("wants_titles", [False, True])
def test_asking_costs_no_statement_more(bob: Person, chat: Chat, wants_titles: bool) -> None:
    Chat.objects.update(llm_titles=wants_titles)
    session = Session.objects.create(user=bob.user, chat=chat)
    with CaptureQueriesContext(connection) as queries:
        conversation.ask(user=bob.user, session=session.uuid, text="Hello", runner_id=uuid4())
    assert len(queries) == 9


def test_a_chat_says_whether_it_wants_titles(alice: Person, chat: Chat) -> None:
    path = f"/chats/{chat.pk}"
    assert alice.get(path).json()["attributes"]["llm_titles"] is False
    for value in (True, False):
        changed = alice.patch(path, {"data": {"attributes": {"llm_titles": value}}})
        assert changed.json()["attributes"]["llm_titles"] is value
    refused = alice.patch(path, {"data": {"attributes": {"llm_titles": "yes"}}})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["source"]["pointer"] == "/data/attributes/llm_titles"
