"""A person at a pseudo-terminal, and what they see on its screen."""

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Self

from tests.live import ROOT, Variables

ROWS, COLUMNS = 24, 80
TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\s\S])")


class Screen:
    """Interprets just what may reach a terminal, and fails at anything else."""

    def __init__(self) -> None:
        self.lines, self.row, self.column = [""], 0, 0
        self.written = ""  # but for colours

    def feed(self, sent: str) -> None:
        for number, letter, character in TOKEN.findall(sent):
            if letter == "A":
                self.row -= int(number)
                assert self.row >= 0
            elif letter in ("J", "K"):
                self.lines[self.row] = self.lines[self.row][: self.column]
                if letter == "J":
                    del self.lines[self.row + 1 :]
            elif letter:
                assert letter == "m" or number in ("?2004", "?2026", "?25"), f"ESC [{number}{letter}"
            elif character == "\n":
                self.row += 1
                self.lines += [""] * (self.row == len(self.lines))
            elif character == "\r":
                self.column = 0
            elif character == "\b":
                self.column -= 1
            else:
                assert character >= " " and not "\x7f" <= character <= "\x9f", repr(character)
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
                self.column += 1
                self.written += character

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)


class Terminal:
    """`manage.py chat` at a terminal of its own; within `with`."""

    def __init__(self, variables: Variables, *arguments: str) -> None:
        self.screen, self.begun = Screen(), b""
        self.side, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # the shell makes the terminal the one whose Ctrl-C it is
        command = [sys.executable, "-c", OWN_TERMINAL, sys.executable, "manage.py", "chat", *arguments]
        environment = {**variables, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        os.close(other)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        os.close(self.side)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def type(self, text: str) -> None:
        os.write(self.side, text.encode())

    def say(self, text: str, until: str = "") -> str:
        """Type a line, and wait for the prompt, or for this; what was on the screen below that line then."""
        top = self.screen.row
        self.type(f"{text}\n")
        return self.wait(until or r"\n> \Z", top)

    def wait(self, pattern: str, top: int = 0, seconds: float = 120) -> str:
        """Wait until this is on the screen below a row; all that is there then."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, shown := "\n".join(self.screen.lines[top:])):
            assert time.monotonic() < deadline and self.read(), f"No {pattern!r} in:\n{self.screen.text}"
        return shown

    def read(self) -> bool:
        """Take in what is shown; whether there may come more."""
        if not select.select([self.side], [], [], 0.1)[0]:
            return True
        try:
            self.begun += os.read(self.side, 2**16)
        except OSError as error:  # how Linux says that nobody has the other side any more
            assert error.errno == errno.EIO
            return False
        sent = self.begun.decode(errors="ignore")
        sent = sent[: len(sent) - len(UNFINISHED.search(sent)[0])]  # type: ignore[index]
        self.begun = self.begun[len(sent.encode()) :]
        self.screen.feed(sent)
        return True

    def end(self, key: str = "") -> int:
        """Its exit status, once it has ended, through this key if one is given.

        The key is pressed again, because Python's `input` misses it as it begins; not too soon, for a second Ctrl-C
        kills a process that is just ending.
        """
        deadline = time.monotonic() + 120
        pressed = 0.0
        while self.read():
            assert time.monotonic() < deadline, self.screen.text
            if key and time.monotonic() > pressed + 8:
                pressed = time.monotonic()
                self.type(key)
        return self.process.wait(120)


UNFINISHED = re.compile(r"(\x1b(\[[?\d;]*)?)?\Z")
OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
