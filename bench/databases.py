"""Scratch databases for the benchmark: files for SQLite, a private cluster for PostgreSQL."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")
TIMEOUT = 60  # seconds

UrlOf = Callable[[str], str]


class Missing(Exception):
    """A database that cannot be measured here, and why."""


@contextmanager
def sqlite(folder: Path) -> Iterator[UrlOf]:
    yield lambda name: f"sqlite:///{folder / name}.sqlite3"


@contextmanager
def postgres(folder: Path) -> Iterator[UrlOf]:
    """A cluster that listens at a socket in the folder, and nowhere else; it ends with the benchmark."""
    binaries, owner = postgres_binaries(), unprivileged()
    home = folder / "postgres"
    home.mkdir()
    if owner:
        folder.chmod(0o711)  # the cluster's owner must pass through
        shutil.chown(home, owner)
    run = {"user": owner, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, "cwd": home}
    made = [binaries / "initdb", "-D", home / "data", "-U", "bench", "--auth=trust", "-E", "UTF8"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT, **run)  # type: ignore[call-overload]
    served = [binaries / "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses="]
    with (home / "log").open("wb") as log:
        cluster = subprocess.Popen(served, stdout=log, stderr=log, **run)  # type: ignore[call-overload]
    try:
        wait_for(binaries / "pg_isready", home)
        yield lambda name: created(binaries / "createdb", home, name)
    finally:
        cluster.terminate()
        cluster.wait(TIMEOUT)


def postgres_binaries() -> Path:
    """Where initdb and its like are; raises Missing."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not versions:
        raise Missing("initdb is neither in PATH nor below /usr/lib/postgresql")
    return versions[-1].parent


def unprivileged() -> str | None:
    """Who runs the cluster, if not this user: PostgreSQL refuses to be root."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise Missing("root may not run PostgreSQL, and there is no user postgres or nobody")


def wait_for(pg_isready: Path, home: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while subprocess.run([pg_isready, "-q", "-h", home], check=False).returncode:
        if time.monotonic() > deadline:
            raise Missing(f"PostgreSQL did not start: {(home / 'log').read_text()[-500:]}")
        time.sleep(0.1)


def created(createdb: Path, home: Path, name: str) -> str:
    subprocess.run([createdb, "-h", home, "-U", "bench", name], check=True, timeout=TIMEOUT)
    return f"postgresql://bench@{str(home).replace('/', '%2F')}/{name}"
