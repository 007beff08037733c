"""The servers that are measured: processes of their own, with settings of their own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
START_TIMEOUT, STOP_TIMEOUT = 30, 30  # seconds


def environment(database_url: str) -> dict[str, str]:
    """All that the settings read: neither this shell nor a `.env` has a say."""
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "bench.settings",
        "SECRET_KEY": "bench-only-" + "x" * 50,
        "FIELD_KEYS": "YmVuY2gtb25seS1iZW5jaC1vbmx5LWJlbmNoLW9ubHk=",
        "DATABASE_URL": database_url,
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
        "MAX_ANSWERS_PER_PERSON": "10000",  # one person asks for all
        "MAX_STREAMS_PER_PERSON": "10000",
        "LLM_ANSWER_TIMEOUT": "1800",
        "WORKERS": "0",
        "LOCAL_ENV": "0",
        "SHUTDOWN_TIMEOUT": "10",
        "DEMO_PASSWORD": "",
        "DRAIN_TIME": "0",
        "LOG_FORMAT": "text",
        "LOG_LEVEL": "INFO",
        "METRICS_TOKEN": "",
        "METRICS_NETWORKS": "",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "",
        "OTEL_SDK_DISABLED": "0",
        "AUDIT_LOG": "",
    }


@contextmanager
def server(variables: dict[str, str], log: Path) -> Iterator[tuple[int, int]]:
    """Serve from one process, as `manage.py runserver` does: its port and process."""
    port = free_port()
    with process([sys.executable, "manage.py", "runserver", f"127.0.0.1:{port}"], variables, port, log) as pid:
        yield port, pid


@contextmanager
def process(command: list[str], variables: dict[str, str], port: int, log: Path) -> Iterator[int]:
    """A process that listens at a port, until it is no longer needed."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT) as started,
    ):
        try:
            wait_for(port, started, log)
            yield started.pid
        finally:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                started.kill()


def wait_for(port: int, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if started.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"The server did not start:\n{log.read_text()}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used, in itself and for it in the kernel, with threads that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> float:
    """The memory of a process in kB, what it shares with others counted in part."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return float(found[1]) if found else float("nan")


def yardstick() -> float:
    """What this machine needs for something simple, so that figures of two machines or hours can be compared."""
    taken = []
    for _ in range(20):
        begun = time.process_time()
        sum(range(1_000_000))
        taken.append(time.process_time() - begun)
    return min(taken) * 1000
