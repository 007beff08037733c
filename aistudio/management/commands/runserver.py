"""`runserver` over ASGI: Django's own is WSGI, which cannot stream."""

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

APPLICATION = "aistudio.asgi:application"


class Command(BaseCommand):
    help = "Serves AI Studio with uvicorn, by default at HOST and PORT of the settings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", default="", help="port, or host:port")
        parser.add_argument("--reload", action="store_true", help="start again when code changes")
        parser.add_argument("--workers", type=int, help="processes (default: WEB_CONCURRENCY, else 1)")

    def handle(self, *args: Any, address: str, reload: bool, workers: int | None, **options: Any) -> None:
        host, port = parse_address(address)
        self.stdout.write(f"AI Studio at {base_url(host, port)} (Ctrl-C ends it)")
        if settings.HTTPS:
            proxies = ", ".join(settings.TRUSTED_PROXIES) or "none yet, so every request is redirected to HTTPS"
            self.stdout.write(f"HTTPS=1: it expects a proxy in front, from TRUSTED_PROXIES ({proxies}).")
            self.stdout.write("HTTPS=0 serves plain HTTP.")
        self.stdout.flush()
        with shared_metrics(workers or int(os.environ.get("WEB_CONCURRENCY") or 1)):
            uvicorn.run(APPLICATION, reload=reload, workers=workers, **server_options(host, port))


@contextmanager
def shared_metrics(workers: int) -> Iterator[None]:
    """A folder in which several workers count, so that any of them can answer for all."""
    if workers == 1 or not (settings.METRICS_TOKEN or settings.METRICS_NETWORKS):
        yield
        return
    with TemporaryDirectory(prefix="aistudio-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


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
        "log_config": None,  # Django's LOGGING has it
        "access_log": False,  # ours has more
        "server_header": False,
        "proxy_headers": bool(settings.TRUSTED_PROXIES),
        "forwarded_allow_ips": settings.TRUSTED_PROXIES or None,
        "timeout_graceful_shutdown": settings.SHUTDOWN_TIMEOUT,
    }
