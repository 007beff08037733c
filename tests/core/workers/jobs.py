"""Jobs that misbehave. They run in extractor processes and import nothing of ours."""

import gc
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

MIB = 1 << 20


def echo(data: bytes, **arguments: object) -> object:
    return {"data": data.decode(), **arguments}


def double(data: bytes) -> bytes:
    return data * 2


def pid(data: bytes) -> int:
    return os.getpid()


def loop(data: bytes, *, seconds: float = 1e9) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()


def allocate(data: bytes, *, mib: int) -> int:
    return len(bytearray(mib * MIB))


def allocate_shared(data: bytes, *, mib: int) -> str:
    """Memory that RLIMIT_DATA does not count."""
    memory = mmap.mmap(-1, mib * MIB)
    for _ in range(mib):
        memory.write(b"x" * MIB)
    time.sleep(60)
    return "not ended"


def keep_memory(data: bytes, *, mib: int, kept: list[bytes] = []) -> int:  # noqa: B006
    kept.append(b"x" * (mib * MIB))
    return os.getpid()


def large_value(data: bytes, *, mib: int) -> bytes:
    return bytes(mib * MIB)


def print_much(data: bytes, *, mib: int) -> str:
    for _ in range(mib):
        sys.stdout.write("x" * MIB)
        os.write(2, b"x" * MIB)
    return "printed"


def fork(data: bytes) -> int:
    return os.fork()


def run_program(data: bytes) -> int:
    return subprocess.run(["/bin/true"], check=True).returncode


def start_thread(data: bytes) -> None:
    threading.Thread(target=time.sleep, args=(60,)).start()


def open_files(data: bytes) -> int:
    return len([open(__file__) for _ in range(1000)])


def write_file(data: bytes, *, path: str) -> None:
    Path(path).write_bytes(data)


def read_file(data: bytes, *, path: str) -> bytes:
    return Path(path).read_bytes()


def environment(data: bytes) -> dict[str, str]:
    return dict(os.environ)


def modules(data: bytes) -> list[str]:
    return sorted(sys.modules)


def limits(data: bytes) -> dict[str, int]:
    names = ("CORE", "CPU", "DATA", "FSIZE", "NOFILE")
    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in names}


def connect(data: bytes, *, port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def signal_parent(data: bytes) -> None:
    os.kill(os.getppid(), 0)


def fail(data: bytes, *, message: str) -> None:
    raise ValueError(message)


def leave(data: bytes) -> None:
    sys.exit(3)


def kill_itself(data: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def close_stdout(data: bytes) -> int:
    sys.stdout.close()
    os.close(1)
    return os.getpid()


def channel() -> socket.socket:
    return next(thing for thing in gc.get_objects() if isinstance(thing, socket.socket))


def write_to_channel(data: bytes) -> None:
    channel().sendall(data)
    time.sleep(60)


def close_channel(data: bytes) -> None:
    channel().shutdown(socket.SHUT_RDWR)
    time.sleep(60)


def answer_twice(data: bytes) -> str:
    channel().sendall(data)
    return "second"


def nested(data: bytes, *, levels: int) -> object:
    value: object = None
    for _ in range(levels):
        value = [value]
    return value


def no_json(data: bytes) -> object:
    return object()
