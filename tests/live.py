"""The real server, in a process of its own, on a database of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

ROOT = Path(__file__).resolve().parent.parent
SECRET_KEY = "tests-only-" + "y" * 50
FIELD_KEY = "bGl2ZS1vbmx5LWxpdmUtb25seS1saXZlLW9ubHktISE="
START_TIMEOUT = STOP_TIMEOUT = 30  # seconds

opener = build_opener(ProxyHandler({}))  # loopback is never a matter of a proxy


@dataclass(frozen=True)
class Live:
    """A server that is up, and the token of its administrator."""

    url: str
    token: str
    database_url: str


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    variables = environment(folder)
    manage(variables, "migrate", "--verbosity", "0")
    manage(variables, "demo")
    token = manage(variables, "create_token", "admin@example.com").strip()
    address = f"127.0.0.1:{free_port()}"
    with running(variables, folder / "server.log", "runserver", address) as process:
        wait_until_healthy(f"http://{address}", process, folder / "server.log")
        yield Live(f"http://{address}", token, variables["DATABASE_URL"])


def get_json(live: Live, path: str) -> Any:
    """What the API answers to the administrator."""
    request = Request(f"{live.url}/api/v1{path}", headers={"Authorization": f"Bearer {live.token}"})
    with opener.open(request, timeout=10) as response:
        return json.load(response)


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """All that settings.py reads and nothing else: neither this shell nor a `.env` has a say."""
    settings = {
        "SECRET_KEY": SECRET_KEY,
        "FIELD_KEYS": FIELD_KEY,
        "DEBUG": "0",
        "HTTPS": "0",
        "HOST": "127.0.0.1",
        "PORT": "8080",
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "CSRF_TRUSTED_ORIGINS": "",
        "TRUSTED_PROXIES": "",
        "LLM_PRIVATE_NETWORKS": "0",
        "DEMO_PASSWORD": "a pass phrase of the demo",
        "DATABASE_URL": f"sqlite:///{folder / 'live.sqlite3'}",
    }
    return {"PATH": os.environ["PATH"], "NO_PROXY": "*", **settings, **changes}


def manage(variables: dict[str, str], *arguments: str) -> str:
    """What a `manage.py` command says on standard output; it must succeed."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(variables: dict[str, str], output: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `manage.py` command that goes on until the end of the block, and writes all it says to a file."""
    command = [sys.executable, "manage.py", *arguments]
    with (
        output.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(URLError), opener.open(f"{url}/health", timeout=5):
            return
        time.sleep(0.05)
    pytest.fail(f"The server did not start:\n{output.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
