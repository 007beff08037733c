"""Metrics for Prometheus. Loaded only where a setting turns them on.

With several workers each keeps its figures in files of PROMETHEUS_MULTIPROC_DIR, a folder that `runserver` makes, and
any worker reports the figures of all.
"""

import hmac
import ipaddress
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Protocol, TypeVar

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

P = TypeVar("P")
C = TypeVar("C")
R = TypeVar("R")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LONG_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600)


class Metrics(Instrumentation):
    def __init__(self) -> None:
        self.folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self.registry = CollectorRegistry()
        if not self.folder:
            ProcessCollector(registry=self.registry)
        counter = partial(Counter, namespace="aistudio", registry=self.registry)
        seconds = partial(Histogram, namespace="aistudio", registry=self.registry, buckets=SECONDS)
        long_seconds = partial(Histogram, namespace="aistudio", registry=self.registry, buckets=LONG_SECONDS)
        total = partial(Gauge, namespace="aistudio", registry=self.registry, multiprocess_mode="livesum")
        highest = partial(Gauge, namespace="aistudio", registry=self.registry, multiprocess_mode="livemax")

        route = ("method", "route")
        self.requests = counter("requests", "Requests that have ended.", (*route, "status"))
        self.request_seconds = seconds(
            "request_seconds", "From a request to the end of its answer, streams too.", route
        )
        self.waits = seconds("queue_wait_seconds", "What requests waited for a free thread.")
        self.database = seconds("request_database_seconds", "Queries of a request.")

        self.answers = counter("answers", "Answers of LLMs that have ended, and how.", ("vendor", "status", "code"))
        text = "From a question to the end of its answer."
        self.answer_seconds = long_seconds("answer_seconds", text, ("vendor",))
        text = "From a question to the first of its answer's text."
        self.first_token_seconds = long_seconds("first_token_seconds", text, ("vendor",))
        self.titles = counter("titles", "Titles that were asked of LLMs, and how that ended.", ("vendor", "code"))
        text = "Tokens in, out, and cached (which are among those in), as vendors counted them or as we guess."
        self.tokens = counter("tokens", text, ("vendor", "kind", "estimated"))

        self.writes = seconds("journal_write_seconds", "To store what had arrived of answers.")
        # the probes set these
        self.open_streams = total("open_streams", "Streams that someone reads.")
        self.running = total("running_answers", "Answers being made, or not stored yet.")
        self.lag = highest("journal_lag_seconds", "Age of the oldest text of an answer that is not stored.")
        connection_created.connect(add_query_timer)

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
            self.first_token_seconds.labels(vendor).observe(answer.time_to_first_token_ms / 1000)

    def title_ended(self, vendor: str, error_code: str) -> None:
        self.titles.labels(vendor, error_code).inc()

    def stored(self, seconds: float) -> None:
        self.writes.observe(seconds)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """The figures of all of this machine's workers in a format that is accepted, and its media type."""
        encoder, media_type = choose_encoder(accept)
        registry = self.registry
        if self.folder:
            forget_dead_workers(Path(self.folder))
            registry = CollectorRegistry()
            MultiProcessCollector(registry, self.folder)
        return encoder(registry), media_type


def forget_dead_workers(folder: Path) -> None:
    """Remove the gauges of workers that are gone; what they counted stays."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))
        except PermissionError:  # it lives
            pass


def may_scrape(authorization: str, address: str) -> bool:
    """Whether the caller may read the metrics: METRICS_TOKEN and METRICS_NETWORKS, each only if set."""
    expected = f"Bearer {settings.METRICS_TOKEN}"
    if settings.METRICS_TOKEN and not hmac.compare_digest(authorization.encode(), expected.encode()):
        return False
    if not settings.METRICS_NETWORKS:
        return True
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return False
    caller = getattr(caller, "ipv4_mapped", None) or caller
    return any(caller in ipaddress.ip_network(network) for network in settings.METRICS_NETWORKS)


class DatabaseConnection(Protocol):
    """What is needed of Django's connections."""

    execute_wrappers: list[Callable[..., object]]


def add_query_timer(connection: DatabaseConnection, **kwargs: object) -> None:
    """Time the queries of each new database connection."""
    if time_query not in connection.execute_wrappers:
        connection.execute_wrappers.append(time_query)


def time_query(execute: Callable[[str, P, bool, C], R], sql: str, params: P, many: bool, context: C) -> R:
    """Add the time of a query to the record of the request that made it."""
    start = perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        if request := current_request.get():
            request.database += perf_counter() - start
