"""What operators see of a server of two workers: metrics, traces and log lines, and in none of them what was said."""

import json
import os
import re
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.telemetry.metrics import forget_dead_workers
from tests.live import environment, free_port, manage, running
from tests.talking import HTTP, Member, Studio, opened, question, until
from tests.vendor_server import VendorServer

KEY = "sk-canary-0123456789-7777"
TOKEN = "a-canary-of-the-metrics"
SAID = "Where is the treasure buried?"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Receiver:
    """Takes traces, as a collector does."""

    url: str
    bodies: list[bytes] = field(default_factory=list)

    def spans(self, trace: str) -> dict[str, Any]:
        """By their names, what it got of a trace."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]
        scopes = [
            scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans
        ]
        return {span.name: span for scope in scopes for span in scope.spans if span.trace_id.hex() == trace}


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class World:
    studio: Studio
    vendor: VendorServer
    receiver: Receiver
    bob: Member
    group: int

    def session(self, model: str, **chat: Any) -> str:
        """One of bob's, with a model of the vendor."""
        llm = {"vendor": "openai", "api_endpoint": self.vendor.url, "api_key": KEY, "default_model": model}
        settings = {"temperature": 0}
        return self.studio.session(self.studio.chat(self.group, llm=llm, settings=settings, **chat), self.bob.key)

    def ask(self, session: str, **headers: str) -> httpx.Response:
        return self.studio.send("POST", f"/sessions/{session}/messages", question(SAID), key=self.bob.key, **headers)

    def metrics(self) -> str:
        """Over a new connection each time: whichever worker it is answers for both."""
        return HTTP.get(f"{self.studio.urls[0]}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        """What is logged of a request."""
        lines = [json.loads(line) for line in self.studio.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["request_id"] == request_id]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("watching")
    with receiving() as receiver, VendorServer() as vendor:
        changes = {
            "WEB_CONCURRENCY": "2",
            "METRICS_TOKEN": TOKEN,
            "LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "LLM_FIRST_TOKEN_TIMEOUT": "2",
        }
        with opened(folder, servers=1, **changes) as studio:
            group = studio.group()
            yield World(studio, vendor, receiver, studio.bob(group), group)
            assert "canary" not in (studio.log + world_metrics(studio)).lower()
            assert SAID not in studio.log + world_metrics(studio)
        sent = b"".join(receiver.bodies)
        assert b"canary" not in sent
        assert b"treasure" not in sent


def world_metrics(studio: Studio) -> str:
    return HTTP.get(f"{studio.urls[0]}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text


def value(metrics: str, name: str) -> float:
    """Of a sample with its labels."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_the_metrics_count_what_both_workers_did(world: World) -> None:
    failed = 'aistudio_answers_total{code="unauthorized",status="failed",vendor="openai"}'
    asked = 'aistudio_requests_total{method="POST",route="/api/v1/sessions/<uuid:session>/messages",status="201"}'
    read = 'aistudio_requests_total{method="GET",route="/api/v1/groups/<row_id:pk>",status="200"}'
    before = world.metrics()

    for _ in range(20):  # connections, which the system spreads
        world.studio.call("GET", f"/groups/{world.group}")
    assert world.ask(world.session("ok")).status_code == world.ask(world.session("401")).status_code == 201
    HTTP.request("PROPFIND", f"{world.studio.urls[0]}/no/such/page")

    after = until(lambda: 'method="other",route="none"' in (found := world.metrics()) and found)
    gained = {name: value(after, name) - value(before, name) for name in (read, asked, failed)}
    assert gained == {read: 20, asked: 2, failed: 1}
    assert "PROPFIND" not in after
    assert "such" not in after
    assert value(after, 'aistudio_tokens_total{estimated="no",kind="output",vendor="openai"}') > 0
    assert value(after, 'aistudio_first_token_seconds_count{vendor="openai"}') >= 1
    assert value(after, "aistudio_request_database_seconds_sum") > 0
    assert value(after, "aistudio_queue_wait_seconds_count") > 20
    assert value(after, "aistudio_journal_write_seconds_count") > 0


def test_the_metrics_count_titles(world: World) -> None:
    name = 'aistudio_titles_total{code="",vendor="openai"}'
    before = value(world.metrics(), name)
    assert world.ask(world.session("ok", llm_titles=True)).status_code == 201
    until(lambda: value(world.metrics(), name) == before + 1)


def test_what_stands_now_is_in_the_metrics(world: World) -> None:
    session = world.session("slow")
    now = [f"aistudio_{what}" for what in ("open_streams", "running_answers")]
    asking = threading.Thread(target=world.ask, args=(session,), kwargs={"Accept": "text/event-stream"})
    asking.start()
    until(lambda: [value(world.metrics(), name) for name in now] == [1, 1])
    until(lambda: 0 < value(world.metrics(), "aistudio_journal_lag_seconds") < 60)
    world.studio.call("POST", f"/sessions/{session}/stop", key=world.bob.key)
    asking.join()
    until(lambda: [value(world.metrics(), name) for name in now] == [0, 0])


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer another-token-than-that", TOKEN])
def test_the_metrics_are_for_those_who_have_their_token(world: World, authorization: str) -> None:
    response = HTTP.get(f"{world.studio.urls[0]}/metrics", headers={"Authorization": authorization})
    assert response.status_code == 403
    assert "aistudio_" not in response.text


def test_a_trace_goes_on_from_the_caller_to_the_vendor(world: World) -> None:
    response = world.ask(world.session("ok"), traceparent=f"00-{TRACE}-{PARENT}-01")
    assert response.status_code == 201

    names = ("POST /api/v1/sessions/<uuid:session>/messages", "chat ok")
    spans = until(lambda: len(found := world.receiver.spans(TRACE)) == 2 and found)
    request, call = (spans[name] for name in names)
    assert request.parent_span_id.hex() == PARENT
    assert call.parent_span_id == request.span_id
    sent = next(each for each in world.vendor.requests if each.headers.get("traceparent", "").startswith(f"00-{TRACE}"))
    assert sent.headers["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert attributes(request)["http.response.status_code"] == 201
    shown = attributes(call)
    assert shown["gen_ai.operation.name"] == "chat"
    assert shown["gen_ai.provider.name"] == "openai"
    assert shown["gen_ai.request.model"] == "ok"
    assert shown["gen_ai.request.temperature"] == 0
    assert shown["gen_ai.usage.output_tokens"] > 0
    assert [reason.string_value for reason in shown["gen_ai.response.finish_reasons"].values] == ["stop"]
    assert shown["server.address"] == "127.0.0.1"


def test_a_failure_is_an_error_of_its_span(world: World) -> None:
    trace = TRACE[::-1]
    world.ask(world.session("429:60"), traceparent=f"00-{trace}-{PARENT}-01")
    spans = until(lambda: len(found := world.receiver.spans(trace)) == 2 and found)
    assert attributes(spans["chat 429:60"])["error.type"] == "rate_limited"
    assert spans["chat 429:60"].status.code == 2


def test_health_is_answered_while_every_thread_is_busy(world: World) -> None:
    """Another process writes for a while: all requests wait for the database, and some for a thread."""
    url, waited = world.studio.urls[0], "aistudio_queue_wait_seconds_sum"
    before = value(world.metrics(), waited)
    with ThreadPoolExecutor(40) as threads, closing(sqlite3.connect(world.studio.folder / "live.sqlite3")) as other:
        other.execute("BEGIN IMMEDIATE")
        made = [threads.submit(world.studio.group) for _ in range(40)]  # more than two workers have threads
        with pytest.raises(httpx.ReadTimeout):
            while True:
                HTTP.get(f"{url}/health", timeout=0.3)  # once all threads are busy it waits as they do
        probed = [HTTP.get(f"{url}/health/{probe}", timeout=120).status_code for probe in ("live", "ready") * 4]
        other.rollback()
        assert len({group.result() for group in made}) == 40
    assert probed == [200] * 8
    assert value(world.metrics(), waited) > before + 0.3


def test_what_stood_in_a_worker_that_is_gone_stands_no_more(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    files = [tmp_path / f"gauge_livesum_{pid}.db" for pid in (gone.pid, os.getpid())]
    files += [tmp_path / f"counter_{gone.pid}.db"]
    for file in files:
        file.touch()
    forget_dead_workers(tmp_path)
    assert [file.exists() for file in files] == [False, True, True]


def test_the_callers_id_is_in_the_answer_the_log_and_the_vendors_call(world: World) -> None:
    response = world.ask(world.session("ok"), **{"X-Request-ID": "order-66"})

    assert response.headers["X-Request-ID"] == "order-66"
    assert [each for each in world.vendor.requests if each.headers.get("x-request-id") == "order-66"]
    answer, request = until(lambda: len(found := world.lines("order-66")) == 2 and found)
    assert (answer["logger"], answer["status"], answer["vendor"]) == (
        "chats.answering.answer_task",
        "complete",
        "openai",
    )
    assert request["logger"] == "aistudio.access"
    assert request["route"] == "/api/v1/sessions/<uuid:session>/messages"
    assert (request["method"], request["status"], request["user_id"]) == ("POST", 201, world.bob.id)


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "ümlaut", "new\tline"])
def test_an_id_that_could_forge_a_line_is_replaced(world: World, given: str) -> None:
    headers = [(b"X-Request-ID", given.encode()), (b"Authorization", f"Bearer {world.studio.key}".encode())]
    response = HTTP.get(f"{world.studio.urls[0]}/api/v1/groups?search=treasure", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])
    (line,) = until(lambda: world.lines(response.headers["X-Request-ID"]))
    assert line["path"] == "/api/v1/groups"  # the query is not for the log


def test_nothing_is_loaded_that_is_not_asked_for(tmp_path: Path) -> None:
    code = "import sys, aistudio.asgi; print([n for n in sys.modules if n.startswith(('opentelemetry', 'prometheus'))])"
    assert manage(environment(tmp_path), "shell", "--no-imports", "--command", code).strip() == "[]"


def test_a_server_says_whether_it_lives_and_is_ready(tmp_path: Path) -> None:
    """It is not ready without its tables, is while all threads are busy, and no longer when it is to stop."""
    variables = environment(tmp_path, METRICS_NETWORKS="127.0.0.0/8", DRAIN_TIME="2")
    address = f"127.0.0.1:{free_port()}"
    with running(variables, tmp_path / "server.log", "runserver", address) as server:

        def status(path: str) -> int:
            try:
                return HTTP.get(f"http://{address}{path}").status_code
            except httpx.TransportError:
                return 0

        server.wait_until(lambda: status("/health/live") == 200)
        assert status("/health/ready") == 503
        assert HTTP.get(f"http://{address}/health/ready").json() == {"status": "not ready"}
        manage(variables, "migrate", "--verbosity", "0")
        until(lambda: status("/health/ready") == 200)
        metrics = HTTP.get(f"http://{address}/metrics").text
        assert "process_resident_memory_bytes" in metrics
        server.process.terminate()
        until(lambda: status("/health/ready") == 503)
        assert status("/health/live") == status("/health") == 200
    assert server.process.returncode is not None
    assert "Not ready: it was asked to stop." in server.log.read_text()
