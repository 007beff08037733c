"""Messages of parts, and the events of all kinds that lead to them: stored, listed, and read on from any of them."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from chats.answering import journal
from chats.api.part_schema import PART
from chats.models import ActiveAnswer, JournalEntry, Message, Session
from chats.parts import Entry, entries_between, make_entry, public_parts, read_entries, stored_parts, total_size
from tests.live import ROOT
from tests.people import Person
from tests.talking import Event, Studio, ask, events

KINDS = ["message", "message", "thinking", "thinking", "tool_call", "approval", "tool_result", "delta", "delta"]
CALL = make_entry("tool_call", {"id": "1", "tool": "weather", "state": "running"})
DONE = make_entry("tool_call", {"id": "1", "tool": "weather", "state": "done"})
ENTRIES = [Entry("thinking", "Hm"), CALL, Entry("text", "Héllo"), DONE, Entry("text", "!")]


@pytest.fixture(scope="module")
def session(studio: Studio) -> str:
    return studio.session(studio.chat(studio.group()))


def told(stream: list[Event]) -> list[tuple[str, Any]]:
    """What events say, however their texts are cut, and whether the answer had ended when they were sent or not."""
    said: list[tuple[str, Any]] = []
    for event in stream:
        text = event.data["text"] if event.name in ("delta", "thinking") else ""
        if text and said and event.name == said[-1][0]:
            said[-1] = (event.name, said[-1][1] + text)
        else:
            said.append((event.name, text or (event.data["id"] if event.name == "message" else event.data)))
    return said


def test_an_answer_of_all_kinds_is_streamed_stored_and_read_on_from_every_event(studio: Studio, session: str) -> None:
    """From either worker: the one that gives the answer, and one that reads the journal and the message."""
    live = list(ask(studio.urls[0], studio.key, session, "/events"))
    assert [event.name for event in live] == [*KINDS, "citations", "usage", "done"]
    ids = [event.id for event in live]
    assert ids == sorted(set(ids))
    for url in studio.urls:
        for number, event in enumerate(live[:-1]):
            rest = list(events(url, studio.key, session, after=event.id))
            assert told(rest) == told(live[number + 1 :]), event
            assert rest[-1].id == ids[-1]


def test_while_it_grows_it_is_read_on_from_every_event(studio: Studio, session: str) -> None:
    """Each event is the last that some reader has seen, who goes on at the other worker at once."""
    with ThreadPoolExecutor(16) as readers:
        live, rests = [], []
        for event in ask(studio.urls[0], studio.key, session, "/events"):
            live.append(event)
            if event.name != "done":
                rests.append(
                    readers.submit(lambda after: list(events(studio.urls[1], studio.key, session, after)), event.id)
                )
        for number, rest in enumerate(rests):
            assert told(rest.result()) == told(live[number + 1 :]), live[number]


def test_a_message_lists_its_parts(studio: Studio, session: str) -> None:
    list(ask(studio.urls[0], studio.key, session, "/events"))
    question, answer = (
        message["attributes"] for message in studio.call("GET", f"/sessions/{session}/messages?page_size=100")[-2:]
    )
    assert question["parts"] == [{"type": "text", "text": "/events"}]
    assert answer["text"] == "It is sunny in Graz [1]."
    thinking, call, result, text, citation = answer["parts"]
    assert thinking.pop("duration_ms") >= 0
    assert thinking == {"type": "thinking", "text": "I should look it up."}
    assert (call["type"], call["tool"], call["operation"]) == ("tool_call", "weather", "forecast")
    assert (call["arguments"], call["state"], call["changes_something"]) == ({"city": "Graz"}, "failed", False)
    assert (result["type"], result["tool_call_id"], result["text"]) == ("tool_result", call["id"], "Sunny, 21 °C.")
    assert text == {"type": "text", "text": answer["text"]}
    assert (citation["type"], citation["number"], citation["file"]) == ("citation", 1, "forecast.txt")


def test_the_description_names_every_member_of_a_part(studio: Studio, session: str) -> None:
    """Typed clients drop what it does not name."""
    list(ask(studio.urls[0], studio.key, session, "/events"))
    page = (ROOT / "docs" / "streaming.md").read_text().split("## Parts")[1]
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row[2])}
    answer = studio.call("GET", f"/sessions/{session}/messages?page_size=100")[-1]["attributes"]
    shown = {name for part in answer["parts"] for name in part}
    assert shown - {"type"} <= documented <= PART["properties"].keys()


def test_text_alone_is_one_part(studio: Studio, session: str) -> None:
    list(ask(studio.urls[0], studio.key, session, "/echo Hi"))
    answer = studio.call("GET", f"/sessions/{session}/messages?page_size=100")[-1]["attributes"]
    assert (answer["text"], answer["parts"]) == ("Hi", [{"type": "text", "text": "Hi"}])


def test_thinking_is_counted_and_no_history(studio: Studio) -> None:
    session = studio.session(studio.chat(studio.group()))
    list(ask(studio.urls[0], studio.key, session, "/think Let me see\n/echo Yes"))
    list(ask(studio.urls[0], studio.key, session, "What?"))
    messages = [message["attributes"] for message in studio.call("GET", f"/sessions/{session}/messages")]
    first, second = (message for message in messages if message["role"] == "assistant")
    assert [part["type"] for part in first["parts"]] == ["thinking", "text"]
    assert "Let me see" not in second["text"]


def test_what_came_before_a_stop_stays(studio: Studio) -> None:
    session = studio.session(studio.chat(studio.group()))
    for event in ask(studio.urls[0], studio.key, session, "/think " + "thought " * 500 + "\n/echo never"):
        if event.name == "thinking":
            time.sleep(0.6)  # some of it is in the journal by then
            growing = studio.answer(session, server=1)
            assert growing["status"] == "streaming"
            assert [part["type"] for part in growing["parts"]] == ["thinking"]
            studio.call("POST", f"/sessions/{session}/stop")
            break
    last = list(events(studio.urls[1], studio.key, session))[-1]
    assert last.data["status"] == "stopped"
    answer = studio.answer(session)
    assert answer["text"] == ""
    assert answer["parts"][0]["text"].startswith("thought ")


def test_an_answer_whose_worker_died_keeps_all_kinds(bob: Person) -> None:
    session = Session.objects.create(user=bob.user)
    answer = Message.objects.create(session=session, sequence=1, role="assistant", status="streaming")
    worker = uuid4()
    run = ActiveAnswer.objects.create(
        session=session, message=answer, worker=worker, lease_until="2020-01-01T00:00:00+00:00"
    )
    start = 0
    for entry in ENTRIES:
        journal.append_entries(worker=worker, rows=[(answer.pk, start, entry.kind, entry.text)])
        start += entry.size
    assert journal.partial_entries(answer.pk) == ENTRIES
    ((key, until),) = journal.expired_leases()
    assert journal.interrupt_orphan(key, until)
    answer.refresh_from_db()
    assert (answer.status, answer.text) == ("interrupted", "Héllo!")
    assert answer.entries == ENTRIES
    assert not JournalEntry.objects.exists()
    assert run.pk == session.pk


@pytest.mark.parametrize("start", range(total_size(ENTRIES) + 1))
def test_entries_can_be_cut_at_every_place(start: int) -> None:
    first, rest = entries_between(ENTRIES, 0, start), entries_between(ENTRIES, start)
    assert total_size(first) == start
    assert entries_between([*first, *rest], 0) == ENTRIES


def test_what_is_stored_is_what_came() -> None:
    parts = stored_parts(ENTRIES, [{"duration_ms": 5, "signature": "secret"}])
    assert read_entries("Héllo!", parts) == ENTRIES
    shown = public_parts("Héllo!", parts)
    assert shown[0] == {"type": "thinking", "text": "Hm", "duration_ms": 5}
    assert [part["type"] for part in shown] == ["thinking", "tool_call", "text", "text"]
    assert shown[1]["state"] == "done"  # its latest
    assert stored_parts([Entry("text", "Hi")]) == []
