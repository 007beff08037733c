"""`runserver` over ASGI: Django's own is WSGI, which cannot stream."""

import os
import socket
import sys
from argparse import ArgumentParser
from contextlib import ExitStack, suppress
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import CommandError

from core.database.connections import Unsuitable, refuse_unusable
from core.management.output import SafeCommand
from core.server.http_protocol import GracefulProtocol
from core.server.supervisor import Supervisor

APPLICATION = "aistudio.asgi:application"
FIRST_SYSTEMD_SOCKET = 3  # the file descriptor, see sd_listen_fds(3)
WORKER_TIMEOUT = 30  # seconds to start; and without a sign of life after which a worker is replaced


class Command(SafeCommand):
    help = "Serves AI Studio with uvicorn, by default at HOST and PORT of the settings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", default="", help="port, or host:port")
        parser.add_argument("--reload", action="store_true", help="start again when code changes")
        parser.add_argument("--workers", type=int, help="processes with a master (default: WORKERS of the settings)")

    def handle(self, *args: object, address: str, reload: bool, workers: int | None, **options: object) -> None:
        host, _, number = address.rpartition(":")  # `8080`, `host:8080` or nothing
        if address and not (number.isdigit() and 0 < int(number) < 65536):
            raise CommandError(f"{address!r} is no address: 8080 or localhost:8080 would be.")
        host, port = host or settings.HOST, int(number) if address else settings.PORT
        check_database()
        self.say(f"AI Studio at {base_url(host, port)} (Ctrl-C ends it)")
        if settings.HTTPS:
            proxies = ", ".join(settings.TRUSTED_PROXIES) or "none yet, so every request is redirected to HTTPS"
            self.say(f"HTTPS=1: it expects a proxy in front, from TRUSTED_PROXIES ({proxies}).")
            self.say("HTTPS=0 serves plain HTTP.")
        self.stdout.flush()
        if reload:
            uvicorn.run(APPLICATION, reload=True, **server_options(host, port))
            return
        workers = settings.WORKERS if workers is None else workers
        config = uvicorn.Config(APPLICATION, workers=max(workers, 1), **server_options(host, port))
        with ExitStack() as stack, suppress(KeyboardInterrupt):
            if workers and (settings.METRICS_TOKEN or settings.METRICS_NETWORKS):  # so that any worker can report all
                folder = TemporaryDirectory(prefix="aistudio-metrics-")
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(folder)
            sys.exit(serve(config, workers))


def check_database() -> None:
    """Raise CommandError if a move to this database is not finished, or its encoding is not UTF-8."""
    try:
        refuse_unusable(settings.DATABASES["default"])
    except Unsuitable as error:
        raise CommandError(str(error)) from None


def serve(config: uvicorn.Config, workers: int) -> int:
    """Serve until a signal: in this process if `workers` is 0, else in that many. Returns the exit status."""
    sockets = None
    if os.environ.get("LISTEN_PID") == str(os.getpid()):  # systemd holds the port
        sockets = [socket.socket(fileno=FIRST_SYSTEMD_SOCKET)]
    if not workers:
        uvicorn.Server(config).run(sockets)
        return 0
    supervisor = Supervisor(config, sockets or [config.bind_socket()])
    supervisor.run()
    return supervisor.exit_status


def base_url(host: str, port: int) -> str:
    """The URL under which a browser on this machine finds the server."""
    return f"http://{'localhost' if host in ('127.0.0.1', '::1', '0.0.0.0', '::') else host}:{port}"  # noqa: S104


def server_options(host: str, port: int) -> dict[str, Any]:
    """How uvicorn serves, for `uvicorn.Config`."""
    return {
        "host": host,
        "port": port,
        "lifespan": "on",
        "http": GracefulProtocol,
        "ws": "none",
        "log_config": None,  # Django's LOGGING configures it
        "access_log": False,  # application.py writes one with more fields
        "server_header": False,
        "proxy_headers": False,  # proxy_headers.py reads them
        "timeout_graceful_shutdown": settings.SHUTDOWN_TIMEOUT,
        "timeout_worker_healthcheck": WORKER_TIMEOUT,
    }
