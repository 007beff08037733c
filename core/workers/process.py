"""One extractor process, seen from its parent, and the errors that a call can end with."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import TypeAlias

import orjson

from core.workers.child import HEAD, ExtractorRequest
from core.workers.child import __file__ as CHILD

JSONValue: TypeAlias = "Mapping[str, JSONValue] | Sequence[JSONValue] | str | int | float | bool | None"
Result: TypeAlias = "JSONValue | bytes"
Answer: TypeAlias = tuple[dict[str, JSONValue], bytes]

MIB = 1 << 20
INPUTS = 50  # calls, after which a process is replaced
START_TIMEOUT = 30.0  # seconds; not part of a call's deadline
TICK = 20  # ms between two looks at memory and deadline
HEADER_ROOM = 4096  # bytes of an answer that do not count as output
PIECE = 1 << 18  # bytes sent or received at once
PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = Path(__file__).resolve().parents[2]
# The child forbids threads, which these libraries would otherwise start.
ENVIRONMENT = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ExtractorError(Exception):
    """A call has no result."""


class Busy(ExtractorError):
    """No process became free within the caller's limit, or too many calls wait."""


class Deadline(ExtractorError):
    """The job took too long."""


class OutOfMemory(ExtractorError):
    """The job needed too much memory."""


class OutputTooLarge(ExtractorError):
    """The job returned more than the caller takes."""


class Crashed(ExtractorError):
    """The process did not start, ended by itself, or did not keep to the protocol."""


class JobFailed(ExtractorError):
    """The job raised an exception. `name` is that of its class; name and message are as untrusted as the input."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


@dataclass(eq=False)
class ExtractorCall:
    """One call of a job: its input and its limits."""

    job: str
    data: bytes
    arguments: Mapping[str, JSONValue]
    deadline: float
    memory: int
    output: int
    future: "Future[Result]" = field(default_factory=Future)
    is_abandoned: bool = False  # nobody waits for the result any more


class Extractor:
    """A process that runs one kind of job. One thread uses it at a time."""

    def __init__(self, job: str, function: str) -> None:
        self.job = job
        self.inputs = 0
        self.idle_since = 0.0
        self.isolation: Mapping[str, JSONValue] = {}
        self.channel, theirs = socket.socketpair()
        self.channel.setblocking(False)
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 (all parts of the command are ours)
                [sys.executable, "-I", CHILD, str(theirs.fileno()), str(ROOT), function],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )

    def run(self, call: ExtractorCall) -> Result:
        if not self.inputs:
            try:
                self.isolation, _ = self.exchange(call, b"", START_TIMEOUT, None)
            except JobFailed as error:
                raise Crashed(f"The process did not start: {error}") from error
        self.inputs += 1
        content = ExtractorRequest(
            token=token_hex(8), arguments=dict(call.arguments), deadline=call.deadline, memory=call.memory
        )
        header = json.dumps(content).encode()
        request = HEAD.pack(len(header), len(call.data)) + header + call.data
        answer, data = self.exchange(call, request, call.deadline, content["token"])
        return answer.get("value", data)

    def exchange(self, call: ExtractorCall, request: bytes, seconds: float, token: str | None) -> Answer:
        """Send a message and receive the answer with this token, within the limits of the call."""
        end, size, json_end = monotonic() + seconds, HEAD.size, HEAD.size
        left, answer = memoryview(request), bytearray()
        poll = select.poll()
        while len(answer) < size:
            if call.is_abandoned:
                raise ExtractorError("The caller has gone")
            if monotonic() > end:
                raise Deadline(f"It took more than {seconds:g} s")
            if self.resident_memory() > call.memory:
                raise OutOfMemory(f"It used more than {call.memory // MIB} MiB")
            poll.register(self.channel, select.POLLIN | (select.POLLOUT if left else 0))
            poll.poll(TICK)
            try:
                with suppress(BlockingIOError):
                    left = left[self.channel.send(left[:PIECE]) :] if left else left
                with suppress(BlockingIOError):
                    piece = self.channel.recv(PIECE)
                    if not piece:
                        raise Crashed("The process ended")
                    answer += piece
            except ConnectionError as error:
                raise Crashed("The process ended") from error
            if len(answer) >= HEAD.size:
                header_length, data_length = HEAD.unpack_from(answer)
                json_end = HEAD.size + header_length
                size = json_end + data_length
                if size > call.output + HEADER_ROOM:
                    raise OutputTooLarge(f"It returned more than {call.output} bytes")
        if left or len(answer) > size:
            raise Crashed("The process did not keep to the protocol")
        return decode_answer(answer[HEAD.size : json_end], token), bytes(answer[json_end:])

    def resident_memory(self) -> int:
        """Bytes; 0 where there is no /proc (macOS) or the process has ended."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_bytes().split()[1]) * PAGE
        except OSError:
            return 0

    def is_usable(self, call: ExtractorCall) -> bool:
        """Whether it can take another call: it has calls left, sent nothing unasked and gave its memory back."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        return self.inputs < INPUTS and not poll.poll(0) and self.resident_memory() < call.memory / 2

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.channel.close()


def decode_answer(encoded: bytes | bytearray, token: str | None) -> dict[str, JSONValue]:
    """Raises the job's own error as JobFailed or OutOfMemory, and Crashed for what the child program never sends."""
    try:
        answer = orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise Crashed("The process did not keep to the protocol") from error
    if not isinstance(answer, dict) or answer.get("token") != token:  # one without it was not sent for this call
        raise Crashed("The process did not keep to the protocol")
    if answer.get("error") == "MemoryError":
        raise OutOfMemory("It needed more memory than it may use")
    if "error" in answer:
        raise JobFailed(str(answer["error"])[:100], str(answer.get("message"))[:500])
    return answer
