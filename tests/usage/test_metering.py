"""Metering is the one place that calls vendors: it begins, limits and settles each call exactly once."""

import ast
import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from core.telemetry.hooks import (
    CallCounts,
    Instrumentation,
    RequestRecord,
    VendorCallRecord,
    current_request,
    instrumentations,
)
from llms.vendors.errors import VendorError
from llms.vendors.registry import client
from llms.vendors.types import (
    Call,
    Finish,
    IgnoredSettings,
    Signature,
    SignOfLife,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    Usage,
    text_message,
)
from tests.llms.vendors.asking import KEY, call
from tests.test_imports import modules, tree_of
from tests.vendor_server import ANSWER, HALF, VendorServer
from usage import metering
from usage.metering import CallResult, MeteredCall, StopListening, list_models
from usage.tokens import text_tokens

NO_HTTP: Any = None
CALL = Call("small", (text_message("user", "12345678"),), {}, "", "")
REQUEST = RequestRecord("the-id", "POST", "/", "", "http")


class Observer(Instrumentation):
    """Notes what it is told of calls."""

    def __init__(self) -> None:
        self.begun: list[VendorCallRecord] = []
        self.ended: list[tuple[VendorCallRecord, str, int | None]] = []

    def call_begins(self, call: VendorCallRecord) -> None:
        self.begun.append(call)
        call.headers["traceparent"] = "the-trace"

    def call_ended(self, call: VendorCallRecord, result: CallCounts) -> None:
        self.ended.append((call, result.error_code, result.output_tokens))


@pytest.fixture
def observer() -> Iterator[Observer]:
    observer = Observer()
    instrumentations.append(observer)
    yield observer
    instrumentations.remove(observer)


class Script:
    """An adapter that sends these events; a number is a pause in seconds, an error is raised."""

    def __init__(self, *steps: StreamEvent | float | Exception) -> None:
        self.steps = steps
        self.is_closed = False

    async def stream(self, call: Call, http: Any) -> AsyncGenerator[StreamEvent, None]:
        try:
            for step in self.steps:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.is_closed = True

    async def models(self, endpoint: str, api_key: str, headers: Any, http: Any) -> tuple[str, ...]:
        async with aclosing(self.stream(CALL, http)) as events:
            return tuple([event.text async for event in events if isinstance(event, Text)])


async def ignore(event: StreamEvent) -> None: ...


def run_script(
    monkeypatch: pytest.MonkeyPatch, script: Script, listener: metering.Listener = ignore, kind: Any = "answer"
) -> CallResult:
    monkeypatch.setattr(metering, "adapter", lambda vendor: script)

    async def run() -> CallResult:
        return await MeteredCall(kind, "openai", CALL).run(NO_HTTP, listener)

    return asyncio.run(run())


def test_no_other_module_calls_an_adapter() -> None:
    """Other modules may only ask an adapter for the canonical name of a model."""
    callers = [name for name in modules() if uses_adapter(tree_of(name)) and not name.startswith("llms.vendors.")]
    assert callers == ["usage.metering"]


def uses_adapter(tree: ast.AST) -> bool:
    harmless = {
        node.value.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "canonical_name" and isinstance(node.value, ast.Call)
    }
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute) and node not in harmless]
    return any((node.id if isinstance(node, ast.Name) else node.attr) in ("adapter", "ADAPTER") for node in names)


@pytest.mark.parametrize(
    "source", ["adapter(vendor).stream(call, http)", "speak = adapter\n", "openai.ADAPTER.models()"]
)
def test_the_walk_finds_callers(source: str) -> None:
    assert uses_adapter(ast.parse(source))
    assert not uses_adapter(ast.parse("adapter(vendor).canonical_name(model)"))


# what a call comes to


def test_the_vendors_counts_are_exact(monkeypatch: pytest.MonkeyPatch, observer: Observer) -> None:
    result = run_script(monkeypatch, Script(Text("Hello"), Finish("stop"), Usage(3, 2, 1)))
    assert (result.input_tokens, result.output_tokens, result.cached_tokens, result.estimated) == (3, 2, 1, False)
    assert (result.finish_reason, result.error) == ("stop", None)
    assert result.latency_ms is not None and result.time_to_first_token_ms is not None
    assert [(each.kind, code, tokens) for each, code, tokens in observer.ended] == [("answer", "", 2)]


@pytest.mark.parametrize("kind", ["answer", "title", "check"])
def test_what_is_not_counted_is_estimated(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """From the bytes of text, thinking and calls of tools."""
    script = Script(Thinking("abcd"), Text("é" * 4), ToolCall(0, "c", "go", "{}"), Finish("stop"))
    result = run_script(monkeypatch, script, kind=kind)
    assert (result.input_tokens, result.output_tokens, result.estimated) == (2 + 4, 4, True)


def test_a_refused_call_costs_nothing(monkeypatch: pytest.MonkeyPatch, observer: Observer) -> None:
    result = run_script(monkeypatch, Script(VendorError("unauthorized", "No.", taken=False)))
    assert (result.error_code, result.input_tokens, result.output_tokens) == ("unauthorized", 0, 0)
    assert [code for _, code, _ in observer.ended] == ["unauthorized"]


def test_an_error_after_the_finish_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_script(monkeypatch, Script(Text("Hi"), Finish("stop"), VendorError("incomplete", "Cut.")))
    assert (result.finish_reason, result.error) == ("stop", None)


def test_a_fault_of_ours_is_a_value_too(monkeypatch: pytest.MonkeyPatch, observer: Observer) -> None:
    result = run_script(monkeypatch, Script(Text("Hi"), ZeroDivisionError()))
    assert result.error and (result.error.code, result.error.retryable) == ("error", True)
    assert len(observer.ended) == 1


def test_a_listener_can_end_the_call(monkeypatch: pytest.MonkeyPatch, observer: Observer) -> None:
    script = Script(Text("One"), Text("Two"), Finish("stop"))

    async def listen(event: StreamEvent) -> None:
        raise StopListening

    result = run_script(monkeypatch, script, listen)
    assert (result.finish_reason, result.error, script.is_closed) == (None, None, True)
    assert len(observer.ended) == 1


def test_a_cancelled_call_is_settled(monkeypatch: pytest.MonkeyPatch, observer: Observer) -> None:
    script = Script(Text("Half"), 60.0)
    monkeypatch.setattr(metering, "adapter", lambda vendor: script)

    async def cancel() -> CallResult:
        metered = MeteredCall("answer", "openai", CALL)
        task = asyncio.create_task(metered.run(NO_HTTP, ignore))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return metered.result

    result = asyncio.run(cancel())
    assert (result.output_tokens, result.estimated, script.is_closed) == (1, True, True)
    assert len(observer.ended) == 1


# time limits

NOTHING_AT_FIRST = "The vendor said nothing for 0.4 seconds."
NOTHING_MORE = "The vendor said nothing for 0.2 seconds."
NO_ANSWER = "The vendor sent only signs of life for 0.8 seconds."
ALIVE = SignOfLife()
SILENT = {  # what a vendor does, and the text of the error; the limits are those of the next test
    "at first": ((60.0,), NOTHING_AT_FIRST),
    "after settings that are left out": ((IgnoredSettings(("seed",)), 60.0), NOTHING_AT_FIRST),
    "after a word": ((Text("Hi"), 60.0), NOTHING_MORE),
    "after a thought": ((Thinking("Hm"), 60.0), NOTHING_MORE),
    "after a tool call": ((ToolCall(0, "c", "now", "{}"), 60.0), NOTHING_MORE),
    "after a signature": ((Signature("thinking", "x"), 60.0), NOTHING_MORE),
    "after the end": ((Text("Hi"), Finish("stop"), 60.0), None),
    "but for signs of life": ((ALIVE, *[0.1, ALIVE] * 900), NO_ANSWER),
    "after a sign of life": ((ALIVE, 60.0), NO_ANSWER),
    "after the counts of the question": ((Usage(3, None, None), *[0.1, ALIVE] * 900), NO_ANSWER),
    "but for signs of life after a word": ((ALIVE, Text("Hi"), *[0.1, ALIVE] * 900), NOTHING_MORE),
}


@pytest.mark.parametrize(("steps", "detail"), SILENT.values(), ids=SILENT)
def test_a_silent_vendor_is_left(
    monkeypatch: pytest.MonkeyPatch, settings: Any, steps: Any, detail: str | None
) -> None:
    settings.LLM_FIRST_TOKEN_TIMEOUT, settings.LLM_TOKEN_TIMEOUT, settings.LLM_SILENCE_TIMEOUT = 0.4, 0.2, 0.8
    result = run_script(monkeypatch, Script(*steps))
    assert (result.error.detail if result.error else None) == detail
    assert result.error_code == ("timeout" if detail else "")
    assert result.latency_ms is not None and result.latency_ms < 30_000


def test_signs_of_life_give_a_vendor_more_time(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.LLM_FIRST_TOKEN_TIMEOUT = settings.LLM_TOKEN_TIMEOUT = 2
    steps = (0.2, ALIVE, 3.0, Text("Hi"), 0.2, ALIVE, 0.2, Text("Hi"), Finish("stop"))
    assert run_script(monkeypatch, Script(*steps)).error is None


def test_an_answer_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.LLM_ANSWER_TIMEOUT = 0.5
    result = run_script(monkeypatch, Script(*[0.05, Text("Hi")] * 600))
    assert result.error and result.error.detail == "The vendor did not finish in time."
    assert (result.error_code, bool(result.output_tokens)) == ("timeout", True)


def test_an_answer_that_may_be_over_has_the_time_for_that(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Its adapter ends it. The limit of a pause holds again when the answer goes on."""
    settings.LLM_FIRST_TOKEN_TIMEOUT = settings.LLM_TOKEN_TIMEOUT = 0.2
    monkeypatch.setattr(metering, "SILENT_END", 30)
    assert run_script(monkeypatch, Script(Text("Hi"), SignOfLife(may_be_over=True), 0.5, Finish("stop"))).error is None
    steps = (Text("Hi"), SignOfLife(may_be_over=True), 0.5, Text("Ho"), 20.0)
    assert run_script(monkeypatch, Script(*steps)).error_code == "timeout"


def test_a_vendor_is_not_blamed_for_a_busy_listener(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.LLM_FIRST_TOKEN_TIMEOUT = settings.LLM_TOKEN_TIMEOUT = 0.1

    async def listen(event: StreamEvent) -> None:
        await asyncio.sleep(0.4)

    assert run_script(monkeypatch, Script(Text("Hi"), Finish("stop")), listen).error is None


@pytest.mark.parametrize("kind", ["title", "check"])
def test_short_calls_have_a_limit_for_all_of_it(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setitem(metering.TIMEOUTS, kind, 0.3)  # type: ignore[arg-type]
    result = run_script(monkeypatch, Script(*[0.1, Text("Hi")] * 20), kind=kind)
    assert (result.error_code, result.is_late) == ("timeout", True)


# what vendors and observers are told


def make(vendor: VendorServer, work: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        http = client(refusal=lambda *target: None, connect_timeout=5)
        try:
            return await work(http)
        finally:
            await http.close()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["answer", "title", "check", "models"])
def test_the_vendor_is_told_request_and_trace(vendor: VendorServer, observer: Observer, kind: Any) -> None:
    async def work(http: Any) -> None:
        if kind == "models":
            await list_models("openai", vendor.url, KEY, http)
        else:
            await MeteredCall(kind, "openai", call(vendor.url, "ok")).run(http, ignore)

    token = current_request.set(REQUEST)
    try:
        make(vendor, work)
    finally:
        current_request.reset(token)
    [received] = vendor.requests
    assert (received.headers["x-request-id"], received.headers["traceparent"]) == ("the-id", "the-trace")
    assert observer.begun == [each for each, _, _ in observer.ended]
    assert [(each.kind, each.request) for each in observer.begun] == [(kind, REQUEST)]


def test_what_had_arrived_is_metered(vendor: VendorServer) -> None:
    heard = []

    async def listen(event: StreamEvent) -> None:
        heard.append(event)

    result = make(vendor, lambda http: MeteredCall("answer", "openai", call(vendor.url, "close")).run(http, listen))
    assert result.error_code == "incomplete"
    assert "".join(event.text for event in heard if isinstance(event, Text)) == HALF
    assert result.output_tokens == text_tokens(HALF)
    assert len(ANSWER) > len(HALF)


# lists of models


def list_script(monkeypatch: pytest.MonkeyPatch, script: Script) -> Any:
    monkeypatch.setattr(metering, "adapter", lambda vendor: script)
    monkeypatch.setitem(metering.TIMEOUTS, "models", 1)
    return asyncio.run(list_models("openai", "", "", NO_HTTP))


def test_a_list_of_models_is_a_call(monkeypatch: pytest.MonkeyPatch, observer: Observer) -> None:
    assert list_script(monkeypatch, Script(Text("small"), Text("large"))) == ("small", "large")
    refusal = VendorError("unauthorized", "No.")
    assert list_script(monkeypatch, Script(refusal)) is refusal
    late = list_script(monkeypatch, Script(5.0))
    assert (late.code, late.detail) == ("timeout", "The vendor sent no list of models within 1 s.")
    assert [(each.kind, code) for each, code, _ in observer.ended] == [
        ("models", ""),
        ("models", "unauthorized"),
        ("models", "timeout"),
    ]
