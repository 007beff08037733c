"""The real server, in a process of its own, on a database of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = STOP_TIMEOUT = 120  # seconds

Variables = dict[str, str]


@dataclass(frozen=True)
class Live:
    """A server that is up, and the token of its administrator."""

    url: str
    token: str
    database_url: str

    def get(self, path: str) -> Any:
        """What the API answers to the administrator."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return (
            httpx.get(f"{self.url}/api/v1{path}", headers=headers, trust_env=False, timeout=120)
            .raise_for_status()
            .json()
        )


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    variables = environment(folder)
    manage(variables, "migrate", "--verbosity", "0")
    manage(variables, "demo")
    token = manage(variables, "create_token", "admin@example.com").strip()
    address = f"127.0.0.1:{free_port()}"
    with running(variables, folder / "server.log", "runserver", address) as server:
        server.wait_until(lambda: is_healthy(f"http://{address}"))
        yield Live(f"http://{address}", token, variables["DATABASE_URL"])


def environment(folder: Path, **changes: str) -> Variables:
    """All that settings.py reads, and little else: neither this shell nor a `.env` has a say."""
    settings = {
        "SECRET_KEY": "live-only-" + "x" * 50,
        "FIELD_KEYS": "bGl2ZS1vbmx5LWxpdmUtb25seS1saXZlLW9ubHktISE=",
        "DEBUG": "0",
        "HTTPS": "0",
        "HOST": "127.0.0.1",
        "PORT": "8080",
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "CSRF_TRUSTED_ORIGINS": "",
        "TRUSTED_PROXIES": "",
        "PRIVATE_NETWORKS": "0",
        "LLM_CONNECT_TIMEOUT": "10",
        "LLM_FIRST_TOKEN_TIMEOUT": "60",
        "LLM_SILENCE_TIMEOUT": "600",
        "LLM_TOKEN_TIMEOUT": "60",
        "LLM_ANSWER_TIMEOUT": "1800",
        "TOKEN_MAX_DAYS": "0",
        "MAX_ANSWERS_PER_PERSON": "1000",
        "MAX_STREAMS_PER_PERSON": "1000",
        "MAX_SEARCHES_PER_PERSON": "4",
        "MAX_EXPORTS_PER_PERSON": "2",
        "WORKERS": "0",
        "LOCAL_ENV": "0",
        "SHUTDOWN_TIMEOUT": "10",
        "DEMO_PASSWORD": "a pass phrase of the demo",
        "DRAIN_TIME": "0",
        "LOG_FORMAT": "text",
        "LOG_LEVEL": "INFO",
        "METRICS_TOKEN": "",
        "METRICS_NETWORKS": "",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "",
        "OTEL_SDK_DISABLED": "0",
        "AUDIT_LOG": "",
        "DATABASE_URL": f"sqlite:///{folder / 'live.sqlite3'}",
    }
    return {"PATH": os.environ["PATH"], "NO_PROXY": "*", **settings, **changes}


def manage(variables: Variables, *arguments: str) -> str:
    """What a `manage.py` command says on standard output; it must succeed."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Server:
    """A `manage.py` command that goes on, and the file that has all it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not is_ready():
            assert self.process.poll() is None, f"It ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"It was not ready in time:\n{self.log.read_text()}"
            time.sleep(0.05)

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        self.process.send_signal(sent)
        return self.process.wait(STOP_TIMEOUT)


@contextmanager
def running(variables: Variables, log: Path, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "manage.py", *arguments]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        server = Server(process, log)
        try:
            yield server
            server.stop()
        finally:
            process.kill()  # a process that has ended already is left alone


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False, timeout=120).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
