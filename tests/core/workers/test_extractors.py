"""Extractor processes against jobs that break each limit. Nothing is replaced: the processes are real."""

import asyncio
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.workers.extractors import JOBS, ExtractorPool, register
from core.workers.process import (
    INPUTS,
    MIB,
    Busy,
    Crashed,
    Deadline,
    ExtractorError,
    JobFailed,
    JSONValue,
    OutOfMemory,
    OutputTooLarge,
    Result,
)
from tests.core.workers import jobs

MEMORY = 200 * MIB
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, namespaces and Landlock")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(JOBS)
    for name, thing in vars(jobs).items():
        if callable(thing) and getattr(thing, "__module__", "") == jobs.__name__:
            register(name, f"{jobs.__name__}:{name}")
    register("missing_module", "tests.core.workers.nothing_here:run")
    yield
    JOBS.clear()
    JOBS.update(before)


@pytest.fixture
def pool() -> Iterator[ExtractorPool]:
    pool = ExtractorPool(size=2)
    yield pool
    pool.close()
    assert not children()


def children() -> list[int]:
    """Processes of ours, zombies included."""
    shown = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [pid for pid in map(int, shown.stdout.split()) if b"core/workers/child.py" in command_of(pid)]


def command_of(pid: int) -> bytes:
    """A zombie has no command left, and counts."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() or b"core/workers/child.py"
    except OSError:  # ps itself
        return b""


def ask(pool: ExtractorPool, job: str, data: bytes = b"", deadline: float = 20, **arguments: JSONValue) -> Result:
    return pool.run_sync(job, data, deadline=deadline, memory=MEMORY, arguments=arguments)


def wait_until(holds: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_values_and_bytes_come_back(pool: ExtractorPool) -> None:
    assert ask(pool, "echo", "ä".encode(), n=1, deep={"a": [None, 1.5, "ü"]}) == {
        "data": "ä",
        "n": 1,
        "deep": {"a": [None, 1.5, "ü"]},
    }
    assert ask(pool, "double", b"\x00\xff" * MIB) == b"\x00\xff" * 2 * MIB
    assert ask(pool, "double", b"") == b""


def test_no_process_before_the_first_call_and_none_after_close() -> None:
    pool = ExtractorPool()
    assert not children()
    ask(pool, "pid")
    assert len(children()) == 1
    pool.close()
    assert not children()
    ask(pool, "pid")  # it can be used again
    pool.close()
    assert not children()


def test_unused_processes_end_after_a_while() -> None:
    pool = ExtractorPool(idle=0.3)
    try:
        ask(pool, "pid")
        wait_until(lambda: not children())
        ask(pool, "pid")
    finally:
        pool.close()


def test_a_job_that_is_not_registered_is_refused(pool: ExtractorPool) -> None:
    with pytest.raises(LookupError):
        ask(pool, "os:system")


def test_a_module_that_cannot_be_imported_is_reported(pool: ExtractorPool) -> None:
    for _ in range(3):
        with pytest.raises(Crashed, match="did not start: ModuleNotFoundError"):
            ask(pool, "missing_module")


def test_an_endless_job_ends_at_its_deadline_and_the_next_works(pool: ExtractorPool) -> None:
    ask(pool, "loop", seconds=0)
    before = time.monotonic()
    with pytest.raises(Deadline):
        ask(pool, "loop", deadline=0.5)
    assert 0.4 < time.monotonic() - before < 60
    assert not children()
    assert ask(pool, "loop", seconds=0)


def test_the_deadline_holds_while_the_input_is_not_read(pool: ExtractorPool) -> None:
    ask(pool, "loop", seconds=0)
    [child] = children()
    os.kill(child, signal.SIGSTOP)
    with pytest.raises(Deadline):
        ask(pool, "loop", bytes(50 * MIB), deadline=0.5)


@pytest.mark.parametrize("job", ["allocate", pytest.param("allocate_shared", marks=LINUX)])
def test_a_job_that_takes_a_gigabyte_is_ended(pool: ExtractorPool, job: str) -> None:
    with pytest.raises(OutOfMemory):
        ask(pool, job, mib=1024)
    assert not children()
    assert ask(pool, "allocate", mib=10) == 10 * MIB


@LINUX
def test_a_process_that_keeps_much_memory_is_replaced(pool: ExtractorPool) -> None:
    first = ask(pool, "keep_memory", mib=120)
    assert ask(pool, "keep_memory", mib=1) != first


def test_output_is_limited(pool: ExtractorPool) -> None:
    assert ask(pool, "large_value", mib=3) == bytes(3 * MIB)
    with pytest.raises(OutputTooLarge):
        pool.run_sync("large_value", b"", deadline=60, memory=3000 * MIB, arguments={"mib": 1024})
    with pytest.raises(OutputTooLarge):
        pool.run_sync("echo", b"x" * 10_000, deadline=60, memory=MEMORY, output=5000)
    assert not children()


def test_what_a_job_prints_goes_nowhere(pool: ExtractorPool, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(pool, "print_much", deadline=60, mib=1024) == "printed"
    assert capfd.readouterr() == ("", "")


def test_closing_standard_output_harms_nothing(pool: ExtractorPool) -> None:
    assert ask(pool, "close_stdout") in children()


@LINUX
@pytest.mark.parametrize("job", ["fork", "run_program", "start_thread"])
def test_a_job_cannot_start_processes_or_threads(pool: ExtractorPool, job: str) -> None:
    skip_unless(pool, "network_is_cut")  # else RLIMIT_NPROC does it, which does not bind root
    with pytest.raises(JobFailed, match=r"OSError|BlockingIOError|PermissionError|RuntimeError"):
        ask(pool, job)


def test_limits_of_the_system(pool: ExtractorPool) -> None:
    limits = ask(pool, "limits", deadline=7)
    assert isinstance(limits, dict)
    assert 7 < limits.pop("CPU") < 12
    assert limits == {"CORE": 0, "DATA": MEMORY, "FSIZE": 0, "NOFILE": 64}
    with pytest.raises(JobFailed, match="Too many open files"):
        ask(pool, "open_files")


def test_a_job_can_write_no_file(pool: ExtractorPool, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"PermissionError|OSError"):
        ask(pool, "write_file", b"x", path=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists() or not (tmp_path / "new").stat().st_size


@LINUX
def test_a_job_cannot_read_our_files(pool: ExtractorPool, tmp_path: Path) -> None:
    skip_unless(pool, "files_are_hidden")
    (tmp_path / "database").write_text("rows")
    root = Path(jobs.__file__).parents[3]
    for path in (tmp_path / "database", root / "pyproject.toml", root / "aistudio/settings.py", "/etc/passwd"):
        with pytest.raises(JobFailed, match="PermissionError"):
            ask(pool, "read_file", path=str(path))
    with pytest.raises(JobFailed, match="PermissionError"):
        ask(pool, "read_file", path=f"/proc/{os.getpid()}/environ")
    assert ask(pool, "read_file", path=jobs.__file__) == Path(jobs.__file__).read_bytes()


def test_a_job_sees_no_secret_and_no_django(pool: ExtractorPool) -> None:
    assert {"SECRET_KEY", "FIELD_KEYS", "DATABASE_URL"} <= set(os.environ)
    environment = ask(pool, "environment")
    assert isinstance(environment, dict)
    assert set(environment) <= {"LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    loaded = ask(pool, "modules")
    assert isinstance(loaded, list)
    assert "tests.core.workers.jobs" in loaded
    assert not {"django", "aistudio", "core"} & set(loaded)


@LINUX
def test_the_network_is_cut(pool: ExtractorPool) -> None:
    skip_unless(pool, "network_is_cut")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(JobFailed, match=r"OSError|PermissionError"):
        ask(pool, "connect", port=server.getsockname()[1])


@LINUX
def test_a_job_cannot_signal_the_server(pool: ExtractorPool) -> None:
    skip_unless(pool, "files_are_hidden")
    with pytest.raises(JobFailed, match="PermissionError"):
        ask(pool, "signal_parent")


def skip_unless(pool: ExtractorPool, what: str) -> None:
    ask(pool, "pid")
    if not pool.isolation[what]:
        pytest.skip(f"not permitted here: {what}")


def test_errors_of_a_job_are_told_and_the_process_stays(pool: ExtractorPool) -> None:
    with pytest.raises(JobFailed) as caught:
        ask(pool, "fail", message="n\ud800o" + "!" * 10_000)
    assert caught.value.name == "ValueError"
    assert caught.value.message == "n?o" + "!" * 497
    before = children()
    with pytest.raises(JobFailed, match="ValueError: again"):
        ask(pool, "fail", message="again")
    assert children() == before
    with pytest.raises(JobFailed, match="SystemExit: 3"):
        ask(pool, "leave")
    with pytest.raises(JobFailed, match="TypeError"):
        ask(pool, "no_json")
    with pytest.raises(JobFailed, match="RecursionError"):
        ask(pool, "nested", levels=100_000)


@pytest.mark.parametrize("job", ["kill_itself", "close_channel"])
def test_a_process_that_ends_is_replaced(pool: ExtractorPool, job: str) -> None:
    with pytest.raises(Crashed):
        ask(pool, job)
    assert ask(pool, "pid")


@pytest.mark.parametrize(
    ("garbage", "error"),
    [
        (b"\xff" * 100, OutputTooLarge),
        (struct.pack(">QQ", 5, 0) + b"{,,,}", Crashed),
        (struct.pack(">QQ", 2, 0) + b"[]", Crashed),
        (struct.pack(">QQ", 2, 0) + b"{}" + b"more", Crashed),
        (struct.pack(">QQ", 100_000, 0) + b"[" * 100_000, Crashed),
        (struct.pack(">QQ", 2, 50) + b"{}", Deadline),
        (b"\0", Deadline),
    ],
)
def test_garbage_in_the_channel_is_refused(pool: ExtractorPool, garbage: bytes, error: type[ExtractorError]) -> None:
    with pytest.raises(error):
        ask(pool, "write_to_channel", garbage, deadline=2)
    assert not children()
    assert ask(pool, "pid")


def test_an_answer_without_the_token_of_the_call_is_refused(pool: ExtractorPool) -> None:
    forged = b'{"value": "first"}'
    with pytest.raises(Crashed):
        ask(pool, "answer_twice", struct.pack(">QQ", len(forged), 0) + forged)
    assert not children()


def test_a_process_that_was_killed_between_calls_is_not_used(pool: ExtractorPool) -> None:
    first = ask(pool, "pid")
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    time.sleep(0.2)
    assert ask(pool, "pid") != first


def test_a_process_gets_a_limited_number_of_inputs(pool: ExtractorPool) -> None:
    pids = [ask(pool, "pid") for _ in range(2 * INPUTS + 1)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [INPUTS, INPUTS, 1]


def test_each_job_has_its_own_process_and_their_number_is_limited(pool: ExtractorPool) -> None:
    assert len({ask(pool, "pid"), ask(pool, "loop", seconds=0)}) == 2
    assert len(children()) == 2
    ask(pool, "echo")
    assert len(children()) == 2


def test_two_run_at_once_and_no_more(pool: ExtractorPool) -> None:
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(ask, pool, "loop", seconds=0.5) for _ in range(6)]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, len(children()))
        assert len({call.result() for call in calls}) == 2
    assert most == 2


def test_calls_from_loops_and_threads_share_the_processes(pool: ExtractorPool) -> None:
    async def both() -> list[object]:
        first = pool.run("pid", b"", deadline=20, memory=MEMORY)
        return list(await asyncio.gather(first, asyncio.to_thread(ask, pool, "pid")))

    assert set(asyncio.run(both())) | set(asyncio.run(both())) <= set(children())


def test_a_loop_is_not_held_up(pool: ExtractorPool) -> None:
    async def count() -> int:
        call = asyncio.ensure_future(pool.run("loop", b"", deadline=20, memory=MEMORY, arguments={"seconds": 1}))
        turns = 0
        while not call.done():
            await asyncio.sleep(0.01)
            turns += 1
        await call
        return turns

    assert asyncio.run(count()) > 10


def test_errors_reach_a_loop(pool: ExtractorPool) -> None:
    with pytest.raises(Deadline):
        asyncio.run(pool.run("loop", b"", deadline=0.3, memory=MEMORY))


def test_waiting_ends_at_the_callers_limit() -> None:
    pool = ExtractorPool(size=1)
    try:
        with ThreadPoolExecutor(1) as threads:
            long = threads.submit(ask, pool, "loop", seconds=3)
            wait_until(lambda: pool.running)
            with pytest.raises(Busy):
                pool.run_sync("pid", b"", deadline=20, memory=MEMORY, wait=0.2)
            with pytest.raises(Busy):
                asyncio.run(pool.run("pid", b"", deadline=20, memory=MEMORY, wait=0.2))
            assert not long.done()
            assert not pool.waiting
            assert ask(pool, "pid")  # waits for the other
            assert long.result()
    finally:
        pool.close()


def test_the_queue_is_bounded() -> None:
    pool = ExtractorPool(size=1, queue=1)
    threads = ThreadPoolExecutor(2)
    try:
        calls = [threads.submit(ask, pool, "loop")]
        wait_until(lambda: pool.running)
        calls.append(threads.submit(ask, pool, "loop"))
        wait_until(lambda: pool.waiting)
        with pytest.raises(Busy):
            ask(pool, "pid")
    finally:
        pool.close()  # ends both
    for call in calls:
        with pytest.raises(ExtractorError):
            call.result(20)
    threads.shutdown()
    assert not children()


def test_a_cancelled_caller_frees_the_process() -> None:
    pool = ExtractorPool(size=1)

    async def cancel() -> object:
        running = asyncio.ensure_future(pool.run("loop", b"", deadline=600, memory=MEMORY))
        waiting = asyncio.ensure_future(pool.run("loop", b"", deadline=600, memory=MEMORY, wait=600))
        await asyncio.to_thread(wait_until, lambda: pool.running and pool.waiting)
        for call in (waiting, running):
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert not pool.waiting
        return await pool.run("pid", b"", deadline=20, memory=MEMORY)

    try:
        assert asyncio.run(cancel()) == children()[0]
        gc.collect()  # nothing complains of an exception that nobody took
    finally:
        pool.close()


def test_no_process_outlives_the_server(tmp_path: Path) -> None:
    program = (
        "from core.workers.extractors import *\n"
        "import os, signal, sys\n"
        "register('pid', 'tests.core.workers.jobs:pid'); register('loop', 'tests.core.workers.jobs:loop')\n"
        "print(extractors.run_sync('pid', b'', deadline=20, memory=2**28), flush=True)\n"
        "if sys.argv[1] == 'kill':\n"
        "    threading.Timer(1, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "    extractors.run_sync('loop', b'', deadline=600, memory=2**28)\n"
    )
    for how in ("exit", "kill"):
        command = [sys.executable, "-c", program, how]
        ended = subprocess.run(command, cwd=Path(jobs.__file__).parents[3], capture_output=True, text=True, timeout=120)
        assert ended.returncode == (0 if how == "exit" else -signal.SIGKILL), ended.stderr
        wait_until(lambda: not is_alive(int(ended.stdout)))  # noqa: B023


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()  # whoever adopted it may not have looked yet


def test_many_threads_at_once_get_their_own_answers(pool: ExtractorPool) -> None:
    results: dict[int, Result] = {}

    def call(number: int) -> None:
        results[number] = pool.run_sync("double", b"%d" % number, deadline=20, memory=MEMORY, wait=60)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: b"%d" % number * 2 for number in range(80)}
