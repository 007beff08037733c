"""`runserver` over ASGI: Django's own is WSGI, which cannot stream."""

import os
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from uvicorn.config import STARTUP_FAILURE

from core.database.connections import Unsuitable, refuse_half_moved
from core.server.http_protocol import Connection, Server
from core.server.supervisor import Supervisor

APPLICATION = "aistudio.asgi:proxied"
FIRST_PASSED_ON = 3  # the file descriptor, as sd_listen_fds(3) has it


class Command(BaseCommand):
    help = "Serves AI Studio with uvicorn, by default at HOST and PORT of the settings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", default="", help="port, or host:port")
        parser.add_argument("--reload", action="store_true", help="start again when code changes")
        parser.add_argument("--workers", type=int, help="processes with a master (default: WORKERS of the settings)")

    def handle(self, *args: Any, address: str, reload: bool, workers: int | None, **options: Any) -> None:
        host, port = parse_address(address)
        check_database()
        self.stdout.write(f"AI Studio at {base_url(host, port)} (Ctrl-C ends it)")
        if settings.HTTPS:
            proxies = ", ".join(settings.TRUSTED_PROXIES) or "none yet, so every request is redirected to HTTPS"
            self.stdout.write(f"HTTPS=1: it expects a proxy in front, from TRUSTED_PROXIES ({proxies}).")
            self.stdout.write("HTTPS=0 serves plain HTTP.")
        self.stdout.flush()
        if reload:
            uvicorn.run(APPLICATION, reload=True, **server_options(host, port))
            return
        workers = settings.WORKERS if workers is None else workers
        config = uvicorn.Config(APPLICATION, workers=max(workers, 1), **server_options(host, port))
        with shared_metrics(workers), suppress(KeyboardInterrupt):
            if not serve(config, workers):
                sys.exit(STARTUP_FAILURE)


def check_database() -> None:
    try:
        refuse_half_moved(settings.DATABASES["default"])
    except Unsuitable as error:
        raise CommandError(str(error)) from None


@contextmanager
def shared_metrics(workers: int) -> Iterator[None]:
    """A folder in which several workers count, so that any of them can answer for all."""
    if not workers or not (settings.METRICS_TOKEN or settings.METRICS_NETWORKS):
        yield
        return
    with TemporaryDirectory(prefix="aistudio-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def serve(config: uvicorn.Config, workers: int) -> bool:
    """Serve until it is stopped, from this process where the workers are 0; returns whether it ever did."""
    passed_on = [socket.socket(fileno=FIRST_PASSED_ON)] if os.environ.get("LISTEN_PID") == str(os.getpid()) else None
    if workers:
        supervisor = Supervisor(config, passed_on or [config.bind_socket()])
        supervisor.run()
        return supervisor.has_served
    server = Server(config)
    server.run(passed_on)
    return server.started


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of `8080`, `host:8080` or nothing, which the settings fill; raises CommandError."""
    host, _, port = address.rpartition(":")
    if address and not (port.isdigit() and 0 < int(port) < 65536):
        raise CommandError(f"{address!r} is no address: 8080 or localhost:8080 would be.")
    return host or settings.HOST, int(port) if address else settings.PORT


def base_url(host: str, port: int) -> str:
    return f"http://{'localhost' if host in ('127.0.0.1', '::1', '0.0.0.0', '::') else host}:{port}"  # noqa: S104


def server_options(host: str, port: int) -> dict[str, Any]:
    return {
        "host": host,
        "port": port,
        "lifespan": "on",
        "http": Connection,
        "ws": "none",
        "log_config": None,  # Django's LOGGING has it
        "access_log": False,  # ours has more
        "server_header": False,
        "proxy_headers": False,  # serving.py has them
        "timeout_graceful_shutdown": settings.SHUTDOWN_TIMEOUT,
    }
