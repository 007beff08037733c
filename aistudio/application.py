"""What is served: Django, behind a limit on bodies, with a start and an end to the process. It needs Django set up."""

import asyncio
import gc
import logging
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connections

from chats.answering import runner
from core.idempotency import attempts
from core.server.asgi_handler import ThreadPoolASGIHandler
from core.server.cpu_affinity import keep_together
from core.server.health import Probes
from core.server.middleware import current_request_id
from core.server.proxy_headers import TrustedProxyMiddleware
from core.server.responses import Receive, Scope, Send, address_of, send_error
from core.telemetry.hooks import RequestRecord, current_request, instrumentations, valid_id
from groups import token_last_used
from groups.models import User
from groups.sign_in import first_run_code, forget_attempts

log = logging.getLogger(__name__)
access_log = logging.getLogger("aistudio.access")

GARBAGE = (10_000, 50, 50)  # Python looks 14 times as often, and all streams wait
TOKEN_USE_INTERVAL = 60  # seconds
LONGEST_PATH = 500  # characters that are logged
NOT_WAITED_FOR = 499  # what is logged, as nginx does, where the client left before there was a status
LENGTH = b"content-length"
PRINTABLE = "/:@!$&'()*+,;=~"  # in a path, beside letters and digits
OTEL = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

django_application = ThreadPoolASGIHandler(on_stop=runner.release_readers)
probes = Probes(streams=lambda: django_application.streams, work_obstacle=runner.obstacle, work_state=runner.state)


def load_traces() -> None:
    """Trace, where a setting says to whom and OpenTelemetry is installed: AI Studio does without it."""
    if not (settings.OTEL_EXPORTER_OTLP_ENDPOINT and not settings.OTEL_SDK_DISABLED):
        return
    if is_installed(*OTEL):
        instrumentations.append(import_module("core.telemetry.traces").Traces())
    else:
        log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but nothing is traced: opentelemetry-sdk and "
            "opentelemetry-exporter-otlp-proto-http are not installed."
        )


def is_installed(*modules: str) -> bool:
    try:
        return all(map(find_spec, modules))
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


load_traces()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await (probes.paths.get(scope["path"]) or watched)(scope, receive, send)


async def watched(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, under an id, and say afterwards what was seen of it: to the log and to those that watch."""
    headers = dict(scope["headers"])
    request = RequestRecord(
        id=valid_id(headers.get(b"x-request-id", b"").decode("latin1")),
        method=scope["method"],
        path=quote(scope["path"], safe=PRINTABLE)[:LONGEST_PATH],
        address=address_of(scope),
        scheme=scope["scheme"],
    )
    current_request.set(request)
    current_request_id.set(request.id)
    for watcher in instrumentations:
        watcher.request_begins(request, headers)
    try:
        await limited(scope, receive, send)
    except Exception:
        request.status = HTTPStatus.INTERNAL_SERVER_ERROR
        raise
    finally:
        request.status = request.status or NOT_WAITED_FOR
        seconds = perf_counter() - request.begun
        log_access(request, seconds)
        for watcher in instrumentations:
            watcher.request_ended(request, seconds)


def log_access(request: RequestRecord, seconds: float) -> None:
    fields = {
        "method": request.method,
        "path": request.path,
        "route": request.route,
        "status": int(request.status),
        "ms": round(seconds * 1000),
        "user_id": request.user_id,
        "address": request.address,
    }
    words = "%(method)s %(path)s %(status)s %(ms)s ms user=%(user_id)s %(address)s"
    access_log.info(words, fields, extra={"fields": fields})


async def limited(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, at most as much as is allowed, and hand it on whole: with a length, as DRF wants it."""
    announced = dict(scope["headers"]).get(LENGTH, b"")
    body = None
    if not announced.isdigit() or int(announced) <= settings.MAX_BODY_SIZE:
        try:
            body = await read_body(receive)
        except ConnectionAbortedError:
            return
        except asyncio.CancelledError:  # only a server whose time to stop is up does this
            await send_error(
                send, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The server stops. Nothing was stored."
            )
            return
    if body is None:
        detail = f"The body has more than {settings.MAX_BODY_SIZE:,} bytes."
        await send_error(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "payload_too_large", detail)
        return
    if announced != (length := b"%d" % len(body)):
        headers = [(name, value) for name, value in scope["headers"] if name != LENGTH]
        scope = {**scope, "headers": [*headers, (LENGTH, length)]}
    await django_application(scope, body, receive, send)


async def read_body(receive: Receive) -> bytes | None:
    """The body, or None when it is too large; raises ConnectionAbortedError when the client went away."""
    body = bytearray()
    while len(body) <= settings.MAX_BODY_SIZE:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body) if len(body) <= settings.MAX_BODY_SIZE else None


async def lifespan(receive: Receive, send: Send) -> None:
    """What this process does beside answering requests, from its start to its end."""
    await receive()
    probes.drain_first()
    gc.collect()
    gc.freeze()  # what was loaded stays: looking through it again and again would make every request wait
    gc.set_threshold(*GARBAGE)
    async with runner.AnswerRunner():
        works = [write_token_use, probes.keep_showing, *([keep_together] if settings.BIND_WORKERS else [])]
        tasks = [asyncio.create_task(work()) for work in works]
        await in_database(say_first_run_code)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store_token_use()
    for watcher in instrumentations:
        await asyncio.to_thread(watcher.close)
    await send({"type": "lifespan.shutdown.complete"})


def say_first_run_code() -> None:
    with suppress(DatabaseError):  # not migrated yet
        if not User.objects.exists():
            log.warning(
                "There is no user yet. The page /first-run makes the administrator; its code: %s", first_run_code()
            )


async def write_token_use() -> None:
    while True:
        await asyncio.sleep(TOKEN_USE_INTERVAL)
        await store_token_use()
        await forget_old()


async def store_token_use() -> None:
    try:
        await in_database(token_last_used.store_uses)
    except DatabaseError as error:
        log.warning("When tokens were last used is not stored now, but the next time: %s", error)


async def forget_old() -> None:
    try:
        await in_database(attempts.forget_old)
        await in_database(forget_attempts)
    except DatabaseError as error:
        log.warning("Old requests and attempts to sign in are not forgotten now, but the next time: %s", error)


async def in_database(work: Callable[[], None]) -> None:
    """Run it in a thread, and keep no connection afterwards."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    await sync_to_async(run)()


proxied = TrustedProxyMiddleware(application, settings.TRUSTED_PROXIES)  # which is what is served
