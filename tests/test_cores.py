"""With BIND_WORKERS each worker, with all its threads, stays on a core of its own, as far as there are cores."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.live import Server, Variables, environment, free_port, is_healthy, manage, running

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can do it")


@pytest.fixture
def variables(tmp_path: Path) -> Variables:
    variables = environment(tmp_path, BIND_WORKERS="1")
    manage(variables, "migrate", "--verbosity", "0")
    return variables


def cores_of(process: int) -> set[int]:
    """Where its threads may run, once it has served something."""
    threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
    assert len(threads) > 1
    return set().union(*map(os.sched_getaffinity, threads))


def workers_of(server: Server) -> set[int]:
    listed = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server.process.pid)]
    lines = subprocess.run(listed, capture_output=True, text=True).stdout.splitlines()
    return {int(line.split()[0]) for line in lines if "spawn_main" in line}


def test_workers_share_the_cores_out_among_them(variables: Variables, tmp_path: Path) -> None:
    count = len(os.sched_getaffinity(0)) + 1
    address = f"127.0.0.1:{free_port()}"
    with running(variables, tmp_path / "log", "runserver", address, "--workers", str(count)) as server:

        def all_serve() -> bool:
            ready = (tmp_path / "log").read_text().count("Application startup complete")
            return ready >= count and is_healthy(f"http://{address}")

        server.wait_until(all_serve)
        before = workers_of(server)
        cores = {worker: cores_of(worker) for worker in before}
        assert all(len(own) == 1 for own in cores.values())
        assert set().union(*cores.values()) == os.sched_getaffinity(0)

        counted = Counter(core for own in cores.values() for core in own)
        victim = next(worker for worker in before if counted[min(cores[worker])] == 1 or len(counted) == 1)
        os.kill(victim, signal.SIGKILL)
        server.wait_until(lambda: len(workers_of(server) - before) == 1)
        (new,) = workers_of(server) - before
        server.wait_until(lambda: len(os.sched_getaffinity(new)) == 1)
        assert os.sched_getaffinity(new) == cores[victim]


def test_a_single_process_stays_on_one_core(variables: Variables, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with running(variables, tmp_path / "log", "runserver", address) as server:
        server.wait_until(lambda: is_healthy(f"http://{address}"))
        assert len(cores_of(server.process.pid)) == 1


def test_otherwise_they_go_where_they_like(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    manage(variables, "migrate", "--verbosity", "0")
    address = f"127.0.0.1:{free_port()}"
    with running(variables, tmp_path / "log", "runserver", address) as server:
        server.wait_until(lambda: is_healthy(f"http://{address}"))
        assert cores_of(server.process.pid) == os.sched_getaffinity(0)
