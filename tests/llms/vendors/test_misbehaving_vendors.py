"""Whatever a vendor does, what arrived stays and the error says what happened; no key is shown."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest
import uvloop

from llms.vendors import http, sse
from llms.vendors.errors import CODES, VendorError, error_message, redact
from llms.vendors.google_ai import GoogleAI
from llms.vendors.registry import adapter, client
from llms.vendors.types import Finish, Text, Usage
from tests.llms.vendors.asking import KEY, Asked, ask, call
from tests.vendor_server import ANSWER, HALF, VendorServer, unused_port

LOOPS = [uvloop.new_event_loop, asyncio.new_event_loop]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF", (0.01, 0.02))
    monkeypatch.setattr(sse, "LONGEST", 2**20)  # so that `long-line` is too long


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """So that a key in any record is found, by `canary_stays_inside`."""
    caplog.set_level(logging.DEBUG)


def shows_no_key(asked: Asked) -> None:
    error: BaseException | None = asked.error
    while error:
        assert "canary" not in f"{error} {error!r} {vars(error)}".lower()
        error = error.__context__


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("model", "code", "text", "requests"),
    [
        ("ok", None, ANSWER, 1),
        ("ok: several  spaces \n", None, " several  spaces \n", 1),
        ("echo", None, "Hello there", 1),
        ("whole", None, ANSWER, 1),
        ("done-then-open", None, ANSWER, 1),
        ("400", "bad_request", "", 1),
        ("401", "unauthorized", "", 1),
        ("403", "unauthorized", "", 1),
        ("404", "bad_request", "", 1),
        ("408", "timeout", "", 3),
        ("422", "bad_request", "", 1),
        ("429:0", "rate_limited", "", 3),
        ("429:60", "rate_limited", "", 1),
        ("429:Sun, 06 Nov 2094 08:49:37 GMT", "rate_limited", "", 1),
        ("429:Sun, 06 Nov 1994 08:49:37 GMT", "rate_limited", "", 3),
        ("500", "vendor_error", "", 3),
        ("502", "vendor_error", "", 3),
        ("503", "vendor_error", "", 3),
        ("504", "vendor_error", "", 3),
        ("429-once:0", None, ANSWER, 2),
        ("500-once", None, ANSWER, 2),
        ("error-in-stream", "vendor_error", HALF, 1),
        ("close", "incomplete", HALF, 1),
        ("reset", "incomplete", HALF, 1),
        ("end-early", "incomplete", HALF, 1),
        ("garbage", "invalid_response", HALF, 1),
        ("long-line", "invalid_response", HALF, 1),
        ("hang-up", "unreachable", "", 3),
        ("not-http", "invalid_response", "", 1),
        ("web-page", "invalid_response", "", 1),
        ("redirect", "redirected", "", 1),
    ],
)
def test_how_it_ends(
    vendor: VendorServer, model: str, code: str | None, text: str, requests: int, loop: Callable[[], Any]
) -> None:
    asked = ask(call(vendor.url, model), loop=loop)
    assert (asked.code, asked.text, len(vendor.requests)) == (code, text, requests)
    assert [type(value) for value in asked.values].count(Finish) == (code is None)
    assert asked.error is None or asked.error.retryable is CODES[asked.error.code]
    shows_no_key(asked)
    vendor.wait_until(lambda: vendor.open == 0)


@pytest.mark.parametrize("name", ["anthropic", "google_ai", "ollama"])
@pytest.mark.parametrize(
    ("model", "code", "text", "requests"),
    [
        ("ok", None, ANSWER, 1),
        ("ok: several  spaces \n", None, " several  spaces \n", 1),
        ("echo", None, "Hello there", 1),
        ("400", "bad_request", "", 1),
        ("401", "unauthorized", "", 1),
        ("404", "bad_request", "", 1),
        ("429:0", "rate_limited", "", 3),
        ("429:60", "rate_limited", "", 1),
        ("429-once:0", None, ANSWER, 2),
        ("529", "vendor_error", "", 3),
        ("error-in-stream", "vendor_error", HALF, 1),
        ("close", "incomplete", HALF, 1),
        ("end-early", "incomplete", HALF, 1),
        ("garbage", "invalid_response", HALF, 1),
        ("long-line", "invalid_response", HALF, 1),
        ("hang-up", "unreachable", "", 3),
        ("web-page", "invalid_response", "", 1),
        ("redirect", "redirected", "", 1),
    ],
)
def test_how_it_ends_with_others(
    vendor: VendorServer, name: str, model: str, code: str | None, text: str, requests: int
) -> None:
    asked = ask(call(vendor.root, model), vendor=name)
    assert (asked.code, asked.text, len(vendor.requests)) == (code, text, requests)
    assert [type(value) for value in asked.values].count(Finish) == (code is None)
    assert asked.error is None or asked.error.retryable is CODES[asked.error.code]
    assert code or Usage(2, len(text.split(" ")), None) in asked.values
    shows_no_key(asked)
    vendor.wait_until(lambda: vendor.open == 0)


@pytest.mark.parametrize("name", ["anthropic", "google_ai", "ollama"])
def test_others_that_stall_are_left_alone_once_the_caller_gives_up(vendor: VendorServer, name: str) -> None:
    with pytest.raises(TimeoutError):
        ask(call(vendor.root, "stall"), vendor=name, patience=0.2)
    vendor.wait_until(lambda: len(vendor.cut_at) == 1)


@pytest.mark.parametrize("name", ["anthropic", "ollama"])
def test_what_says_that_it_is_done_need_not_close(vendor: VendorServer, name: str) -> None:
    assert ask(call(vendor.root, "done-then-open"), vendor=name, patience=2).text == ANSWER


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("API key not valid. Please pass a valid API key.", "unauthorized"),
        ("API key expired. Please renew the API key.", "unauthorized"),
        ("Please use a valid role: user, model.", "bad_request"),
    ],
)
def test_google_calls_a_wrong_key_a_bad_request(words: str, code: str) -> None:
    error = GoogleAI().translate_error(VendorError("bad_request", f"The vendor answered 400: {words}", taken=False))
    assert (error.code, error.retryable, error.taken) == (code, False, False)


@pytest.mark.parametrize(("model", "text"), [("hang", ""), ("stall", HALF), ("keepalive-only", "")])
def test_a_silent_vendor_is_left_alone_once_the_caller_gives_up(vendor: VendorServer, model: str, text: str) -> None:
    with pytest.raises(TimeoutError):
        ask(call(vendor.url, model), patience=0.3)
    vendor.wait_until(lambda: len(vendor.cut_at) == 1)
    assert len(vendor.requests) == 1


def test_what_ends_in_silence_need_not_close(vendor: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SILENT_END", 0.2)
    asked = ask(call(vendor.url, "finish-then-open"))
    assert (asked.text, asked.code, asked.values[-1]) == (ANSWER, None, Finish("stop"))
    vendor.wait_until(lambda: vendor.open == 0)


@pytest.mark.parametrize("model", ["close", "reset", "broken-framing"])
def test_who_waits_for_more_is_told_of_the_loss(vendor: VendorServer, model: str) -> None:
    asked = ask(call(vendor.url, model), patience=2)
    assert (asked.code, asked.text) == ("incomplete", HALF)


@pytest.mark.parametrize("model", ["close", "reset", "broken-framing"])
def test_a_slow_reader_gets_all_that_arrived_before_the_loss(vendor: VendorServer, model: str) -> None:
    async def read(stream: AsyncGenerator[Any, None]) -> None:
        text = ""
        with pytest.raises(VendorError) as caught:
            async for value in stream:
                text += value.text if isinstance(value, Text) else ""
                await asyncio.sleep(0.1)
        assert (caught.value.code, text) == ("incomplete", HALF)

    reading(vendor, model, read)


def test_closing_the_generator_closes_the_connection(vendor: VendorServer) -> None:
    async def read(stream: AsyncGenerator[Any, None]) -> None:
        await anext(stream)
        await anext(stream)

    closed = reading(vendor, "slow", read)
    vendor.wait_until(lambda: len(vendor.cut_at) == 1)
    assert vendor.cut_at[0] - closed < 1


@pytest.mark.parametrize("model", ["slow", "stall", "hang"])
def test_cancelling_the_reader_closes_the_connection(vendor: VendorServer, model: str) -> None:
    async def read(stream: AsyncGenerator[Any, None]) -> None:
        async def to_the_end() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(to_the_end())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])

    cancelled = reading(vendor, model, read)
    vendor.wait_until(lambda: len(vendor.cut_at) == 1)
    assert vendor.cut_at[0] - cancelled < 1


def reading(
    vendor: VendorServer, model: str, read: Callable[[AsyncGenerator[Any, None]], Coroutine[Any, Any, None]]
) -> float:
    """Read as the function does; then the connection is no longer open, though the client is. When that was asked."""

    async def work() -> float:
        http = client(refusal=lambda *target: None)
        async with aclosing(adapter("openai").stream(call(vendor.url, model), http)) as stream:
            await asyncio.wait_for(read(stream), 5)
        closed = time.monotonic()
        await asyncio.to_thread(vendor.wait_until, lambda: vendor.open == 0)
        await http.close()
        return closed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def test_nobody_at_the_port() -> None:
    asked = ask(call(f"http://127.0.0.1:{unused_port()}/v1", "m"))
    assert asked.code == "unreachable"
    shows_no_key(asked)


def test_no_such_name() -> None:
    asked = ask(call("http://no-such-name.invalid/v1", "m"))
    assert asked.error
    assert (asked.code, asked.error.detail) == ("unreachable", "The name of the vendor's host has no address.")


def test_no_tls(vendor: VendorServer) -> None:
    asked = ask(call(vendor.url.replace("http", "https"), "m"), connect_timeout=0.2)
    assert asked.code in ("unreachable", "timeout")
    shows_no_key(asked)


@pytest.mark.parametrize("key", ["sk-canary\r\nX-Evil: 1", "sk-canary\0", "sk-canary-ключ"])
def test_a_key_that_no_header_can_carry(vendor: VendorServer, key: str) -> None:
    asked = ask(call(vendor.url, "ok", api_key=key))
    assert asked.code == "unauthorized"
    assert not vendor.requests
    shows_no_key(asked)


def test_who_asks_is_told_how_long_to_wait(vendor: VendorServer) -> None:
    asked = ask(call(vendor.url, "429:60"))
    assert asked.error
    assert asked.error.retry_after == 60
    assert asked.error.detail.endswith("and I say 429. It asks to wait 60 seconds.")
    asked = ask(call(vendor.url, "429:3600"))
    assert asked.error
    assert asked.error.detail.endswith("It asks to wait 60 minutes.")
    assert len(vendor.requests) == 2


def test_the_vendors_own_words_are_shown_without_the_key(vendor: VendorServer) -> None:
    asked = ask(call(vendor.url, "400"))
    assert asked.error
    assert asked.error.detail == "The vendor answered 400: You sent Bearer ***, and I say 400."
    assert KEY in vendor.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "m"}, "m"),
        ({"message": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body"], "msg": "m"}]}, "m"),
        ({"object": "error", "message": {"detail": [{"msg": "m"}]}}, "m"),
        ([{"error": {"message": "m"}}], "m"),
        ({"error": {"message": None}}, ""),
        ({"error": {"error": {"error": {"error": {"error": {"error": "m"}}}}}}, ""),
        ([], ""),
        (5, ""),
    ],
)
def test_the_message_in_an_error(document: Any, words: str) -> None:
    assert error_message(document) == words


def test_a_long_message_is_cut_and_on_one_line() -> None:
    assert redact("a\n\t b\x00\x1b[31m" + "x" * 1000, "")[:12] == "a b [31mxxxx"
    assert len(redact("x" * 1000, "")) == 300


@pytest.mark.parametrize("masked", ["sk-canar*****7777", "'sk-c…'.", "…7777", "(sk-...7777)", "key=sk-c••••", KEY[:10]])
def test_a_part_of_the_key_is_not_shown(masked: str) -> None:
    assert redact(f"Incorrect API key: {masked} *no* …", KEY) == "Incorrect API key: *** *no* …"


def test_a_long_word_takes_no_time() -> None:
    begun = time.process_time()
    redact("x" * http.LONGEST_EXPLANATION, KEY)
    assert time.process_time() - begun < 2  # of each of its characters a search was begun


def test_an_unknown_code_is_no_error() -> None:
    with pytest.raises(KeyError):
        VendorError("nonsense", "")
