"""The program of an extractor process: `python -I child.py SOCKET ROOT package.module:function`.

It imports one function, gives up its rights, and then answers calls from the socket until that is closed.
Each message is a HEAD with two lengths, a JSON object, and bytes. It imports nothing of ours but the job.
"""

import ctypes
import json
import math
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TypedDict

HEAD = struct.Struct(">QQ")
LIMITS = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: 64, resource.RLIMIT_NPROC: 1}
LONGEST_MESSAGE = 500  # characters of an exception's text

# from linux/sched.h, linux/prctl.h and linux/landlock.h
NEW_USER, NEW_PID, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
SET_PARENT_DEATH_SIGNAL, SET_NO_NEW_PRIVILEGES = 1, 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GET_VERSION, PATH_BENEATH = 1, 1
READ_FILE, READ_DIRECTORY, EVERY_FILE_ACCESS = 1 << 2, 1 << 3, (1 << 13) - 1
BIND_AND_CONNECT_TCP, OTHERS_SOCKETS_AND_SIGNALS = 0b11, 0b11
LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", f"{sys.base_prefix}/lib")


class ExtractorRequest(TypedDict):
    """The JSON object of a call."""

    token: str  # which the answer must repeat
    arguments: dict[str, object]
    deadline: float
    memory: int


def cut_network(libc: ctypes.CDLL) -> bool:
    """Move into an empty network namespace. False if the kernel does not permit it.

    The first process of the new PID namespace ends at once. After that the kernel refuses every further fork.
    """
    flags = NEW_NETWORK | NEW_PID
    if libc.unshare(NEW_USER | flags) and libc.unshare(flags):
        return False
    if not os.fork():
        os._exit(0)
    os.wait()
    return True


def hide_files(libc: ctypes.CDLL, readable: list[str]) -> bool:
    """Leave only these folders readable and nothing writable. False if the kernel has no Landlock.

    Newer kernels also refuse TCP connections and signals to other processes.
    """
    version = libc.syscall(CREATE_RULESET, None, 0, GET_VERSION)
    if version < 1:
        return False
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    handled = struct.pack("=QQQ", EVERY_FILE_ACCESS, BIND_AND_CONNECT_TCP, OTHERS_SOCKETS_AND_SIGNALS)
    ruleset = libc.syscall(CREATE_RULESET, handled, size, 0)
    for folder in filter(os.path.isdir, readable):
        descriptor = os.open(folder, os.O_RDONLY)
        rule = struct.pack("=Qi", READ_FILE | READ_DIRECTORY, descriptor)
        libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
        os.close(descriptor)
    is_restricted = libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return is_restricted


def set_limit(limit: int, value: int, *, is_final: bool) -> None:
    """Limit this process as far as the hard limit permits. A final limit cannot be raised again."""
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(limit, (value, value if is_final else hard))


def receive_call(channel: socket.socket) -> tuple[ExtractorRequest, bytes] | None:
    """None if the parent has closed the socket."""
    with channel.makefile("rb") as file:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        header_length, data_length = HEAD.unpack(head)
        return json.loads(file.read(header_length)), file.read(data_length)


def send_message(channel: socket.socket, header: Mapping[str, object], data: bytes = b"") -> None:
    """Write one message: the lengths, the header as JSON, the bytes."""
    encoded = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
    channel.sendall(HEAD.pack(len(encoded), len(data)) + encoded)
    channel.sendall(data)


def describe_exception(error: BaseException) -> dict[str, str]:
    """The class and the text of an error, cut; nothing of it is pickled."""
    message = str(error)[:LONGEST_MESSAGE].encode(errors="replace").decode()
    return {"error": type(error).__name__, "message": message}


def answer_calls(channel: socket.socket, job: Callable[..., object]) -> None:
    """Answer calls until the parent closes the channel."""
    while call := receive_call(channel):
        request, data = call
        token = {"token": request["token"]}
        set_limit(resource.RLIMIT_DATA, request["memory"], is_final=False)
        set_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + request["deadline"]) + 1, is_final=False)
        try:
            value = job(data, **request["arguments"])
            if isinstance(value, bytes):
                send_message(channel, token, value)
            else:
                send_message(channel, {**token, "value": value})
        except BaseException as error:  # a job's SystemExit must not end the process
            send_message(channel, token | describe_exception(error))


def load_job(root: str, name: str) -> tuple[Callable[..., object], dict[str, object]]:
    """Give up what jobs do not need, import the job, and set the limits. Also says what the kernel permitted."""
    module, _, function = name.partition(":")
    package = module.partition(".")[0]
    is_cut = is_hidden = False
    readable = [*sys.path, *LIBRARIES, os.path.join(root, package)]
    sys.path.append(root)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        is_cut = cut_network(libc)  # before imports, because the kernel refuses it to a process with threads
        libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        libc.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        import_module(package)  # while the root can be listed
        is_hidden = hide_files(libc, readable)
    job = getattr(import_module(module), function)
    for limit, value in LIMITS.items():
        set_limit(limit, value, is_final=True)
    return job, {"network_is_cut": is_cut, "files_are_hidden": is_hidden}


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        job, isolation = load_job(sys.argv[2], sys.argv[3])
    except BaseException as error:
        send_message(channel, describe_exception(error))
    else:
        send_message(channel, isolation)
        answer_calls(channel, job)


if __name__ == "__main__":
    main()
