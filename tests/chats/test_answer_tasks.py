"""A run in its process: it ends rightly where that is easily forgotten, and shows signs of life."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from chats import models
from chats.answering import journal
from chats.answering.answer_task import AnswerTask
from chats.answering.events import ANSWER, follow
from chats.answering.live_answer import LiveAnswer
from chats.answering.ownership import LONGEST_SUSPENSION, OwnershipGuard
from chats.answering.runner import AnswerRunner
from chats.conversation import Exchange
from chats.models import Message, Session
from chats.parts import Entry, joined_text
from chats.web.rendering import stream_blocks
from llms.vendors.types import Call, text_message
from tests.people import Person

NO_HTTP: Any = None  # the demo needs none


@pytest.mark.parametrize("steps", range(3))
def test_it_ends(steps: int) -> None:
    """After so many steps of the event loop: the first answer of a process waits for modules to load."""

    async def stopped() -> list[str]:
        worker = AnswerRunner()
        answer = Message(pk=2, session=Session(), role="assistant", status="streaming")
        call = Call("demo", (text_message("user", "/count 100"),), {}, "", "")
        worker.start_task(Exchange(Message(pk=1, role="user"), answer, "demo", call), monotonic())
        for _ in range(steps):
            await asyncio.sleep(0)
        worker.stop_answer(answer.pk)
        await asyncio.wait([worker.answers[answer.pk].task], timeout=120)
        await asyncio.sleep(0)
        if worker.http:
            await worker.http.close()
        worker.threads.shutdown()
        return [run.message.status for run in worker.writer.ended]

    assert asyncio.run(stopped()) == ["stopped"]


FOLLOWED = {
    "api": (
        lambda find: follow(find, None, ANSWER),
        [b":\n\n", b'id: 20000003\nevent: delta\ndata: {"text":"Hi"}\n\n'],
    ),
    "page": (  # which is not told of comments
        lambda find: stream_blocks(find, ANSWER),
        [
            b"event: alive\ndata: {}\n\n",
            b"id: 20000003\nevent: blocks\n"
            b'data: {"first":0,"blocks":["<div class=\\"block\\" dir=\\"auto\\"><p>Hi</p>\\n</div>"]}\n\n',
        ],
    ),
}


@pytest.mark.parametrize(("followed", "expected"), FOLLOWED.values(), ids=FOLLOWED)
def test_a_silent_stream_shows_signs_of_life(
    monkeypatch: pytest.MonkeyPatch, followed: Callable[..., Any], expected: list[bytes]
) -> None:
    monkeypatch.setattr("chats.answering.runner.SIGN_OF_LIFE", 0)
    monkeypatch.setattr("chats.answering.runner.SIGNS_INTERVAL", 0.1)
    answer = Message(pk=2, session=Session(), sequence=2, role="assistant", status="streaming")

    async def read() -> list[bytes]:
        worker = AnswerRunner()
        mirror = worker.remote.answers[answer.pk] = LiveAnswer(answer)
        async with aclosing(followed(lambda: mirror)) as events:
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.1)  # one of them looks into what is known in a thread
            signs = asyncio.create_task(worker.show_signs_of_life())
            first = await waiting
            signs.cancel()
            mirror.fresh.append(Entry("text", "Hi"))
            mirror.wake()
            return [first, await anext(events)]

    assert asyncio.run(read()) == expected


def test_more_than_is_kept_is_no_complete_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all of it comes at once, and nothing after it."""
    monkeypatch.setattr("chats.answering.answer_task.LONGEST_ANSWER", 5)
    answer = Message(pk=2, session=Session(), role="assistant", status="streaming")
    call = Call("demo", (text_message("user", "/echo 0123456789"),), {}, "", "")
    run = AnswerTask(Exchange(Message(pk=1, role="user"), answer, "demo", call), monotonic(), OwnershipGuard())
    asyncio.run(run.run(NO_HTTP))
    assert (answer.status, answer.error_code, answer.text) == ("failed", "too_long", "01234")


def test_nothing_is_shown_of_what_another_may_have_ended(settings: Any) -> None:
    """As when the process was suspended. The vendor is not to blame for that."""
    settings.LLM_FIRST_TOKEN_TIMEOUT = settings.LLM_TOKEN_TIMEOUT = 0.2
    answer = Message(pk=2, session=Session(), role="assistant", status="streaming")
    call = Call("demo", (text_message("user", "/echo Hi"),), {}, "", "")
    exchange = Exchange(Message(pk=1, role="user"), answer, "demo", call)

    async def shown() -> list[str]:
        guard = OwnershipGuard()
        before = guard.suspensions
        guard.last_seen -= LONGEST_SUSPENSION + 1
        task = AnswerTask(exchange, monotonic(), guard)
        task.task = asyncio.create_task(task.run(NO_HTTP))
        await asyncio.sleep(0.5)  # longer than a vendor may be silent
        guard.confirm(before)
        await asyncio.sleep(0.2)
        shown = joined_text(task.since(0))
        guard.confirm(guard.suspensions)
        await task.task
        return [shown, answer.text, answer.status]

    assert asyncio.run(shown()) == ["", "Hi", "complete"]


def test_a_piece_that_is_stored_twice_does_not_hide_the_next(bob: Person) -> None:
    """As when a COMMIT was done, and its confirmation lost: the next time more has come."""
    worker = uuid4()
    session = Session.objects.create(user=bob.user)
    answer = Message.objects.create(session=session, sequence=1, role="assistant", status="streaming")
    models.ActiveAnswer.objects.create(session=session, message=answer, worker=worker, lease_until=timezone.now())
    read = ""
    for start, text in ((0, "One"), (0, "One, two"), (8, ", three")):
        journal.append_entries(worker=worker, rows=[(answer.pk, start, "text", text)])
        grown, _ = journal.read_new({answer.pk: len(read)})
        read += joined_text(grown[answer.pk])
    assert read == "One, two, three"


def test_a_run_that_its_worker_does_not_know_of_is_not_kept_alive(bob: Person) -> None:
    """As when a COMMIT was done, and its confirmation lost."""
    worker, moment = uuid4(), timezone.now()
    for _ in range(2):
        session = Session.objects.create(user=bob.user)
        answer = Message.objects.create(session=session, sequence=1, role="assistant", status="streaming")
        models.ActiveAnswer.objects.create(session=session, message=answer, worker=worker, lease_until=moment)
    journal.renew_leases(worker=worker, answers=[answer.pk])
    renewed = dict(models.ActiveAnswer.objects.values_list("message", "lease_until"))
    assert renewed[answer.pk] > moment
    assert [lease[0] for lease in journal.expired_leases()] == [key for key in renewed if key != answer.pk]
    assert not journal.interrupt_orphan(answer.pk, moment)
    assert models.ActiveAnswer.objects.count() == 2
