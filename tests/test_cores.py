"""The threads of a process stay together on one core, which the system may choose anew each second."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.live import Server, Variables, environment, free_port, is_healthy, manage, running

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="only Linux can do it, where there are several cores")


@pytest.fixture
def variables(tmp_path: Path) -> Variables:
    variables = environment(tmp_path)
    manage(variables, "migrate", "--verbosity", "0")
    return variables


@contextmanager
def serving(variables: Variables, folder: Path, *options: str) -> Iterator[Server]:
    address = f"127.0.0.1:{free_port()}"
    with running(variables, folder / "log", "runserver", address, *options) as server:
        server.wait_until(lambda: is_healthy(f"http://{address}"))
        yield server


def cores_of(process: int) -> set[int]:
    """Where its threads may run."""
    found: set[int] = set()
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(ProcessLookupError):
            found |= os.sched_getaffinity(int(thread.name))
    return found


def workers_of(server: Server) -> set[int]:
    listed = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server.process.pid)]
    lines = subprocess.run(listed, capture_output=True, text=True).stdout.splitlines()
    return {int(line.split()[0]) for line in lines if "spawn_main" in line}


def test_all_threads_are_on_one_core(variables: Variables, tmp_path: Path) -> None:
    with serving(variables, tmp_path) as server:
        process = server.process.pid
        server.wait_until(lambda: len(cores_of(process)) == 1)
        assert len(list(Path(f"/proc/{process}/task").iterdir())) > 1


def test_so_are_those_of_each_worker(variables: Variables, tmp_path: Path) -> None:
    with serving(variables, tmp_path, "--workers", "2") as server:
        server.wait_until(lambda: [len(cores_of(worker)) for worker in workers_of(server)] == [1, 1])
        assert os.sched_getaffinity(server.process.pid) == CORES  # the master has nothing to do


def test_they_may_be_moved(variables: Variables, tmp_path: Path) -> None:
    """Where to is the system's affair: it knows who else is there."""
    with serving(variables, tmp_path) as server:
        process = server.process.pid
        for _ in range(3):
            server.wait_until(lambda: len(cores_of(process)) == 1)
            server.wait_until(lambda: cores_of(process) == CORES)


def test_they_need_not_stay(variables: Variables, tmp_path: Path) -> None:
    with serving(variables | {"BIND_WORKERS": "0"}, tmp_path) as server:
        for _ in range(20):
            assert cores_of(server.process.pid) == CORES
            time.sleep(0.1)


def test_one_core_is_no_choice(variables: Variables, tmp_path: Path) -> None:
    """Whoever bound the process has decided."""
    own = {min(CORES)}
    os.sched_setaffinity(0, own)
    try:
        with serving(variables, tmp_path) as server:
            assert cores_of(server.process.pid) == own
    finally:
        os.sched_setaffinity(0, CORES)
