"""Metrics for Prometheus. Loaded only where a setting turns them on.

With several workers each keeps its figures in files of PROMETHEUS_MULTIPROC_DIR, which `runserver` makes, and any of
them answers for all.
"""

import hmac
import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from django.conf import settings
from django.db.backends.signals import connection_created
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from core.telemetry.hooks import (
    AnswerCounts,
    CallCounts,
    Instrumentation,
    RequestRecord,
    VendorCallRecord,
    current_request,
)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LONG_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600)


class Metrics(Instrumentation):
    def __init__(self) -> None:
        self.folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self.registry = registry = CollectorRegistry()
        if not self.folder:
            ProcessCollector(registry=registry)
        self.requests = Counter(
            "aistudio_requests", "Requests that have ended.", ("method", "route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "aistudio_request_seconds",
            "From a request to the end of its answer, streams too.",
            ("method", "route"),
            registry=registry,
            buckets=SECONDS,
        )
        self.waits = Histogram(
            "aistudio_queue_wait_seconds", "What requests waited for a free thread.", registry=registry, buckets=SECONDS
        )
        self.database = Histogram(
            "aistudio_request_database_seconds", "Queries of a request.", registry=registry, buckets=SECONDS
        )
        self.answers = Counter(
            "aistudio_answers",
            "Answers of LLMs that have ended, and how.",
            ("vendor", "status", "code"),
            registry=registry,
        )
        self.titles = Counter(
            "aistudio_titles",
            "Titles that were asked of LLMs, and how that ended.",
            ("vendor", "code"),
            registry=registry,
        )
        self.answer_seconds = Histogram(
            "aistudio_answer_seconds",
            "From a question to the end of its answer.",
            ("vendor",),
            registry=registry,
            buckets=LONG_SECONDS,
        )
        self.first_tokens = Histogram(
            "aistudio_first_token_seconds",
            "From a question to the first of its answer's text.",
            ("vendor",),
            registry=registry,
            buckets=LONG_SECONDS,
        )
        self.tokens = Counter(
            "aistudio_tokens",
            "Tokens in, out, and cached (which are among those in), as vendors counted them or as we guess.",
            ("vendor", "kind", "estimated"),
            registry=registry,
        )
        self.writes = Histogram(
            "aistudio_journal_write_seconds",
            "To store what had arrived of answers.",
            registry=registry,
            buckets=SECONDS,
        )
        self.streams = Gauge(
            "aistudio_open_streams",
            "Streams that someone reads.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.running = Gauge(
            "aistudio_running_answers",
            "Answers being made, or not stored yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.lag = Gauge(
            "aistudio_journal_lag_seconds",
            "Age of the oldest text of an answer that is not stored.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        connection_created.connect(time_queries)

    def request_ended(self, request: RequestRecord, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"  # anyone can invent some
        route = request.route or "none"
        self.requests.labels(method, route, request.status).inc()
        self.request_seconds.labels(method, route).observe(seconds)
        self.waits.observe(request.waited)
        self.database.observe(request.database)

    def call_ended(self, call: VendorCallRecord, result: CallCounts) -> None:
        estimated = "yes" if result.estimated else "no"
        counts = {"input": result.input_tokens, "output": result.output_tokens, "cached": result.cached_tokens}
        for kind, count in counts.items():
            if count is not None:
                self.tokens.labels(call.vendor, kind, estimated).inc(count)

    def answer_ended(self, vendor: str, answer: AnswerCounts) -> None:
        self.answers.labels(vendor, answer.status, answer.error_code).inc()
        self.answer_seconds.labels(vendor).observe((answer.latency_ms or 0) / 1000)
        if answer.time_to_first_token_ms is not None:
            self.first_tokens.labels(vendor).observe(answer.time_to_first_token_ms / 1000)

    def title_ended(self, vendor: str, error_code: str) -> None:
        self.titles.labels(vendor, error_code).inc()

    def stored(self, seconds: float) -> None:
        self.writes.observe(seconds)

    def show(self, *, streams: int, running: int, lag: float) -> None:
        """How things stand now in this process."""
        self.streams.set(streams)
        self.running.set(running)
        self.lag.set(lag)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """All figures of this machine's workers, and their media type."""
        encoder, media_type = choose_encoder(accept)
        registry = self.registry
        if self.folder:
            forget_the_dead(Path(self.folder))
            registry = CollectorRegistry()
            MultiProcessCollector(registry, self.folder)
        return encoder(registry), media_type


def forget_the_dead(folder: Path) -> None:
    """What stood in a worker that is gone stands no more; what it counted stays."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}:
        if not is_alive(pid):
            mark_process_dead(pid, str(folder))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def may_scrape(authorization: str, address: str) -> bool:
    """Whether the caller meets each of METRICS_TOKEN and METRICS_NETWORKS that is set."""
    expected = f"Bearer {settings.METRICS_TOKEN}"
    if settings.METRICS_TOKEN and not hmac.compare_digest(authorization.encode(), expected.encode()):
        return False
    return not settings.METRICS_NETWORKS or is_within(address, settings.METRICS_NETWORKS)


def is_within(address: str, networks: list[str]) -> bool:
    try:
        found: Any = ipaddress.ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ipaddress.ip_network(network) for network in networks)


def time_queries(connection: Any, **kwargs: Any) -> None:
    if timed not in connection.execute_wrappers:
        connection.execute_wrappers.append(timed)


def timed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    begun = perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        if request := current_request.get():
            request.database += perf_counter() - begun
