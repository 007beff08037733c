"""Where the event loop falls behind, answers are read in larger pieces: nothing of them is lost, and none is late."""

import asyncio
import time
from contextlib import aclosing, suppress
from time import monotonic
from typing import Any

import pytest
import uvloop

from chats.answering import backpressure
from chats.answering.backpressure import LONGEST, Backpressure
from chats.answering.events import follow
from chats.answering.runner import AnswerRunner
from chats.conversation import Exchange
from chats.models import Message, Session
from llms.vendors.registry import adapter, client
from llms.vendors.types import Finish, Text, Usage
from tests.llms.vendors.asking import call
from tests.talking import parsed
from tests.vendor_server import VendorServer

WORDS = 40  # one each 50 ms
TEXT = " ".join(map(str, range(1, WORDS + 1)))
BLOCKED = 0.03  # seconds at a time: shorter than from one word to the next
VENDORS = {"openai": "/v1", "anthropic": "", "google_ai": "", "ollama": ""}  # and what their endpoints end with


async def keep_busy(turns: int) -> None:
    """Let the loop do nothing else, but between the turns."""
    for _ in range(turns):
        time.sleep(BLOCKED)  # noqa: ASYNC251 it is what is tested
        await asyncio.sleep(0)


def deltas_of(vendor: VendorServer, *, is_busy: bool, model: str = "slow") -> list[str]:
    """What a reader is sent of an answer, where the loop has much else to do or nothing."""

    async def read() -> list[str]:
        worker = AnswerRunner()
        answer = Message(pk=2, session=Session(), sequence=2, role="assistant", status="streaming")
        asked = call(f"{vendor.url}/v1", f"{model}:{WORDS}")
        working = asyncio.create_task(keep_busy(10_000 if is_busy else 0))
        worker.start_task(Exchange(Message(pk=1, role="user"), answer, "openai", asked), monotonic())
        run = worker.answers[answer.pk]
        run.task.add_done_callback(lambda task: run.end())
        async with aclosing(follow(lambda: run, None)) as events:
            sent = [event async for event in events]
        working.cancel()
        del worker.answers[answer.pk]
        _, unending = await asyncio.wait(worker.tasks, timeout=120)
        for task in unending:
            task.cancel()
        assert worker.http
        await worker.http.close()
        worker.threads.shutdown()
        assert not unending
        return [event.data["text"] for event in parsed(sent) if event.name == "delta"]

    return uvloop.run(read())


@pytest.fixture(autouse=True)
def private_networks(settings: Any) -> None:
    settings.PRIVATE_NETWORKS = True


def test_a_loop_that_keeps_up_sends_each_token_as_it_comes(
    vendor: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "USUAL", 60)  # this loop keeps up also where other programs slow it
    deltas = deltas_of(vendor, is_busy=False)
    assert "".join(deltas) == TEXT
    assert len(deltas) > WORDS / 5  # each, unless the whole machine stands still for longer than from word to word


@pytest.mark.parametrize("model", ["slow", "counting"])
def test_a_loop_that_falls_behind_sends_them_together(vendor: VendorServer, model: str) -> None:
    deltas = deltas_of(vendor, is_busy=True, model=model)
    assert "".join(deltas) == TEXT
    assert len(deltas) < WORDS / 2


@pytest.mark.parametrize("name", VENDORS)
def test_only_text_is_waited_for(vendor: VendorServer, name: str) -> None:
    """The first token is not: the pause would be longer than the patience. With a pause, the rest comes too."""

    async def read(pause: float, wanted: type) -> list[object]:
        http = client(refusal=lambda *target: None, pause=lambda: pause)
        values: list[object] = []
        asked = call(vendor.url + VENDORS[name], "slow:3")
        with suppress(TimeoutError):
            async with asyncio.timeout(120), aclosing(adapter(name).stream(asked, http)) as stream:
                async for value in stream:
                    values.append(value)
                    if type(value) is wanted:
                        break
        await http.close()
        return values

    first = uvloop.run(read(60, Text))[-1]  # nobody waits longer for the beginning
    assert type(first) is Text and first.text.startswith("1")
    whole = uvloop.run(read(0.3, type(None)))
    assert "".join(value.text for value in whole if type(value) is Text) == "1 2 3"
    assert {Finish, Usage} <= set(map(type, whole))


def test_what_a_full_buffer_held_back_comes_too(vendor: VendorServer) -> None:
    """While it is left to gather, more comes than is taken from the network at once."""
    said = " ".join(map(str, range(6_000)))

    async def read() -> str:
        http = client(refusal=lambda *target: None, pause=lambda: 0.2)
        asked = call(f"{vendor.url}/v1", "echo", said)
        text = ""
        async with asyncio.timeout(120), aclosing(adapter("openai").stream(asked, http)) as stream:
            async for value in stream:
                text += value.text if type(value) is Text else ""
        await http.close()
        return text

    assert uvloop.run(read()) == said


def test_a_pause_does_not_look_like_silence(settings: Any) -> None:
    settings.LLM_TOKEN_TIMEOUT = 0.1

    async def longest() -> float:
        return AnswerRunner().backpressure.longest

    assert asyncio.run(longest()) < 0.05


def test_the_pause_follows_the_loop() -> None:
    async def watch() -> None:
        pace, wanted = Backpressure(), [True]
        watching = asyncio.create_task(pace.watch(lambda: wanted))
        await keep_busy(30)
        assert 0 < pace.pause <= LONGEST
        async with asyncio.timeout(120):
            while pace.pause:  # noqa: ASYNC110 nobody is told
                await asyncio.sleep(0.01)
        await keep_busy(30)
        assert pace.pause
        wanted.clear()
        await asyncio.wait_for(watching, 10)
        assert not pace.pause

    uvloop.run(watch())
