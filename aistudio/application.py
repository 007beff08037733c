"""The ASGI application: Django behind a limit on bodies, and what a process does from its start to its end.

Django must be set up before this module is imported: see asgi.py.
"""

import asyncio
import gc
import logging
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import TypeVar
from urllib.parse import parse_qsl, quote

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connections

from chats.answering import runner
from core.database.connections import describe_failure
from core.idempotency import attempts
from core.rest.permissions import AT_ONCE, RETRY_AFTER, TOO_MUCH
from core.server.asgi_handler import ThreadPoolASGIHandler
from core.server.bodies import last_on_connection, receive_if_admitted
from core.server.health import Probes
from core.server.middleware import current_request_id
from core.server.proxy_headers import TrustedProxyMiddleware
from core.server.responses import Receive, Scope, Send, address_of, error_document, send_error, send_response
from core.server.supervisor import stop_with_master
from core.telemetry.hooks import RequestRecord, current_request, instrumentations, request_id_from
from core.workers.extractors import extractors
from groups.authentication import find_signed_out, may_send_body, store_last_uses
from groups.models import User
from groups.sign_in import first_run_code, forget_attempts

T = TypeVar("T")

log = logging.getLogger(__name__)
access_log = logging.getLogger("aistudio.access")

GC_THRESHOLDS = (
    10_000,
    50,
    50,
)  # Python's defaults collect 14 times as often, and all streams wait during a collection
UPKEEP_INTERVAL = 60  # seconds
SIGN_IN_CHECK = 2  # seconds between two checks that the readers of streams are still signed in
MAX_LOGGED_PATH = 500  # characters
CLIENT_CLOSED_REQUEST = 499  # nginx's status in the log for a client that left before there was a response
CONTENT_LENGTH = b"content-length"
TOKEN_NEEDED = re.compile(r"/api/v1/(?!auth/)")
PRINTABLE = "/:@!$&'()*+,;=~"  # in a path, beside letters and digits
OPENTELEMETRY = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

# Threads for what takes long: hashing of passwords, and work on many messages. Each has a database connection:
# CONNECTIONS of core/database/url.py counts them.
POOLS = {"sign-in": 2, "searches": 2, "exports": 2}
SIGN_INS = {"/sign-in", "/first-run", "/admin/login/", "/profile/password", "/api/v1/auth/login"}
SEARCHES = {"/api/v1/sessions", "/conversations"}


waiting: Counter[tuple[str, bytes]] = Counter()  # searches and exports, by credentials, that run or wait for a thread


def pool_of(scope: Scope) -> str:
    """Which of POOLS answers this request; empty for the threads of all others."""
    path = scope["path"]
    if scope["method"] == "POST":
        return "sign-in" if path in SIGN_INS else ""
    if path.endswith(("/export.md", "/export.json")):
        return "exports"
    names = {name for name, _ in parse_qsl(scope["query_string"].decode("latin1"))} if path in SEARCHES else set()
    return "searches" if names & {"search", "q"} else ""


django_application = ThreadPoolASGIHandler(on_stop=runner.release_readers, pools=POOLS)
probes = Probes(
    open_streams=lambda: len(django_application.streams), work_obstacle=runner.obstacle, work_state=runner.state
)


def load_traces() -> None:
    """Turn tracing on if its endpoint is set and OpenTelemetry (optional) is installed."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT or settings.OTEL_SDK_DISABLED:
        return
    try:
        is_installed = all(map(find_spec, OPENTELEMETRY))
    except ModuleNotFoundError:  # a package above the module is missing
        is_installed = False
    if is_installed:
        instrumentations.append(import_module("core.telemetry.traces").Traces())
    else:
        log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but nothing is traced: opentelemetry-sdk and "
            "opentelemetry-exporter-otlp-proto-http are not installed."
        )


load_traces()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application: lifespan, the paths of probes, and Django for everything else."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    else:
        await (probes.paths.get(scope["path"]) or record_request)(scope, receive, send)


async def record_request(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request under an id; when it has ended, tell the log and the instrumentations about it."""
    headers = dict(scope["headers"])
    record = RequestRecord(
        id=request_id_from(headers.get(b"x-request-id", b"").decode("latin1")),
        method=scope["method"],
        path=quote(scope["path"], safe=PRINTABLE)[:MAX_LOGGED_PATH],
        address=address_of(scope),
        scheme=scope["scheme"],
    )
    current_request.set(record)
    current_request_id.set(record.id)
    for instrumentation in instrumentations:
        instrumentation.request_begins(record, headers)
    try:
        await answer_request(scope, receive, send)
    except Exception:
        record.status = HTTPStatus.INTERNAL_SERVER_ERROR
        raise
    finally:
        for end in record.at_end:
            end()
        record.status = record.status or CLIENT_CLOSED_REQUEST
        seconds = perf_counter() - record.begun
        fields = {
            "method": record.method,
            "path": record.path,
            "route": record.route,
            "status": int(record.status),
            "ms": round(seconds * 1000),
            "user_id": record.user_id,
            "address": record.address,
        }
        text = "%(method)s %(path)s %(status)s %(ms)s ms user=%(user_id)s %(address)s"
        access_log.info(text, fields, extra={"fields": fields})
        for instrumentation in instrumentations:
            instrumentation.request_ended(record, seconds)


async def answer_request(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, if it is not too large, and hand it to Django with its length, which DRF needs."""
    headers = dict(scope["headers"])
    length = headers.get(CONTENT_LENGTH, b"")
    body = None
    if not length.isdigit() or int(length) <= settings.MAX_BODY_SIZE:
        try:
            admitted: Receive | None = receive
            if TOKEN_NEEDED.match(scope["path"]):
                admits = partial(django_application.run, "", may_send_body, scope)
                admitted = await receive_if_admitted(scope, receive, admits)
            if admitted is None:  # without a body, the view refuses the caller in its words
                body, send = b"", last_on_connection(send)
            else:
                body = await read_body(admitted)
        except ConnectionAbortedError:
            return
        except asyncio.CancelledError:  # the server's time to stop is up: nothing else cancels a request
            detail = "The server stops. Nothing was stored."
            await send_error(send, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail)
            return
    if body is None:
        detail = f"The body has more than {settings.MAX_BODY_SIZE:,} bytes."
        unread = None if b"expect" in headers else receive  # a client that expects 100 has not begun to send
        await send_error(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "payload_too_large", detail, unread=unread)
        return
    if length != (actual := b"%d" % len(body)):
        others = [(name, value) for name, value in scope["headers"] if name != CONTENT_LENGTH]
        scope = {**scope, "headers": [*others, (CONTENT_LENGTH, actual)]}
    pool = pool_of(scope)
    if pool not in AT_ONCE:
        await django_application(scope, body, receive, send, pool)
        return
    # Whoever sends more than one person may is refused here: to refuse many in Django would delay others.
    key = (pool, headers.get(b"authorization") or headers.get(b"cookie", b""))
    if waiting[key] >= (most := getattr(settings, AT_ONCE[pool])):
        document = error_document(HTTPStatus.TOO_MANY_REQUESTS, "throttled", TOO_MUCH.format(most, pool))
        await send_response(send, HTTPStatus.TOO_MANY_REQUESTS, document, retry_after=RETRY_AFTER)
        return
    waiting[key] += 1
    try:
        await django_application(scope, body, receive, send, pool)
    finally:
        waiting[key] -= 1
        if not waiting[key]:
            del waiting[key]


async def read_body(receive: Receive) -> bytes | None:
    """The body, or None if it is larger than MAX_BODY_SIZE; raises ConnectionAbortedError when the client leaves."""
    body = bytearray()
    while len(body) <= settings.MAX_BODY_SIZE:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body) if len(body) <= settings.MAX_BODY_SIZE else None


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """What this process does beside answering requests, from its start to its end."""
    await receive()
    probes.handle_stop_signals(scope["state"])
    stop_with_master()
    gc.collect()
    gc.freeze()  # modules stay in memory: scanning them in each collection would make every request wait
    gc.set_threshold(*GC_THRESHOLDS)
    async with runner.AnswerRunner():
        tasks = [asyncio.create_task(work()) for work in (do_upkeep, watch_sign_ins, probes.keep_gauges_current)]
        await run_in_database_thread(log_first_run_code)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.to_thread(extractors.close)
    await store_token_use()
    for instrumentation in instrumentations:
        await asyncio.to_thread(instrumentation.close)
    await send({"type": "lifespan.shutdown.complete"})


def log_first_run_code() -> None:
    """Tell the operator of a server without users how to create the administrator."""
    try:
        has_users = User.objects.exists()
    except DatabaseError as error:
        log.error("The database cannot be used: %s", describe_failure(error))
        return
    if not has_users:
        log.warning("There is no user yet. The page /first-run makes the administrator; its code: %s", first_run_code())


async def do_upkeep() -> None:
    """Every minute, store when tokens were used and forget what is too old."""
    while True:
        await asyncio.sleep(UPKEEP_INTERVAL)
        await store_token_use()
        try:
            await run_in_database_thread(attempts.forget_old)
            await run_in_database_thread(forget_attempts)
        except DatabaseError as error:
            log.warning(
                "Old requests and sign-in attempts could not be deleted; the next try is in a minute: %s", error
            )


async def watch_sign_ins() -> None:
    """End the streams whose readers signed out, or whose tokens ended. The answers go on."""
    while True:
        await asyncio.sleep(SIGN_IN_CHECK)
        try:
            if readers := set(django_application.streams.values()):
                django_application.end_streams(await run_in_database_thread(partial(find_signed_out, readers)))
        except DatabaseError as error:
            log.warning("Whether the readers of streams are signed in is not known now: %s", error)
        except Exception:  # the next check may succeed
            log.exception("Whether the readers of streams are signed in cannot be seen")


async def store_token_use() -> None:
    """Store when tokens were last used. A failure is logged; the next call tries again."""
    try:
        await run_in_database_thread(store_last_uses)
    except DatabaseError as error:
        log.warning("The times of the tokens' last use could not be stored; the next try is in a minute: %s", error)


async def run_in_database_thread(work: Callable[[], T]) -> T:
    """The result of synchronous work that uses the database, in a thread whose connection is closed afterwards."""

    def run() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    return await sync_to_async(run)()


proxied = TrustedProxyMiddleware(application, settings.TRUSTED_PROXIES)  # the application that is served
