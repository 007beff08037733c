"""A private PostgreSQL cluster: it listens on loopback alone, and is gone when the tests are."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.live import free_port

BINARIES = Path("/usr/lib/postgresql")  # where Debian has them, a folder for each version
START_TIMEOUT = STOP_TIMEOUT = 120  # seconds
UNPRIVILEGED = ("postgres", "nobody")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DATABASE_URL of an empty database, whose user may make others."""
    initdb, server = binary("initdb"), binary("postgres")
    if initdb is None or server is None:
        pytest.skip(f"There is no PostgreSQL server, neither under {BINARIES} nor on PATH.")
    identity = unprivileged()
    with folder_of(identity) as folder:
        make(initdb, folder, identity)
        with running_cluster(server, folder, identity) as url:
            yield url


def binary(name: str) -> str | None:
    """The newest of the versions that are installed, else the one on PATH."""
    found = [path for path in BINARIES.glob(f"*/bin/{name}") if path.parts[-3].isdigit()]
    newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
    return str(newest) if newest else shutil.which(name)


def unprivileged() -> dict[str, Any]:
    """Who runs it, as `subprocess` takes it: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next((known[name] for name in UNPRIVILEGED if name in known), None)
    if entry is None:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}.")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextmanager
def folder_of(identity: dict[str, Any]) -> Iterator[Path]:
    """A temporary folder that belongs to them; pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make(initdb: str, folder: Path, identity: dict[str, Any]) -> None:
    options = ("--username=tests", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    command = [initdb, *options, f"--pgdata={folder / 'data'}"]
    done = subprocess.run(command, cwd=folder, env=bare(), capture_output=True, text=True, timeout=120, **identity)
    assert done.returncode == 0, done.stderr


@contextmanager
def running_cluster(server: str, folder: Path, identity: dict[str, Any], port: int = 0) -> Iterator[str]:
    port, log = port or free_port(), folder / "server.log"
    command = [server, "-D", str(folder / "data"), "-p", str(port)]
    command += [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    url = f"postgres://tests@127.0.0.1:{port}/postgres"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=folder, env=bare(), stdout=output, stderr=output, **identity) as process,
    ):
        try:
            wait_for(url, process, log)
            yield url
        finally:
            stop(process)


def bare() -> dict[str, str]:
    """Neither the PG variables of this shell nor its language have a say."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C"}


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, f"It ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"It was not ready in time:\n{log.read_text()}"
            time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Without waiting for its clients; at once and with its children, when that takes too long."""
    for sent in (signal.SIGINT, signal.SIGQUIT):
        process.send_signal(sent)
        try:
            process.wait(STOP_TIMEOUT)
            return
        except subprocess.TimeoutExpired:
            continue
    process.kill()
