"""Reads the keyboard while an answer comes."""

import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

INTERVAL = 0.1  # seconds between two looks at the keyboard


class AnswerInput:
    """The input of a terminal while an answer comes: pieces of its text, and lines that a person types."""

    def __init__(self, keyboard: int | None = None) -> None:
        self.queue: SimpleQueue[str | None] = SimpleQueue()
        self.stop = False  # whether the person wants the answer to stop
        self.keyboard = keyboard
        self.ahead: list[str] = []  # questions that were typed ahead
        self.is_pasted = False  # whether the last look found lines; lines that follow at once are one question

    def interrupt(self) -> None:
        self.stop = True
        self.queue.put(None)

    def next_text(self) -> str | None:
        """The next piece of the answer, or None if none came within INTERVAL."""
        if (file := self.keyboard) is not None:
            lines = []  # that can be read without waiting
            while select.select([file], [], [], 0)[0] and (line := os.read(file, 2**16)):
                lines.append(line.decode(errors="replace").rstrip("\n"))
            self.take_lines(lines)
        try:
            return self.queue.get(timeout=INTERVAL)
        except Empty:
            return None

    def take_lines(self, lines: list[str]) -> None:
        """Handle the lines that were typed since the last call."""
        for line in lines:
            if line.strip() == "/stop":
                self.stop = True
            elif self.ahead and (self.is_pasted or self.ahead[-1].endswith("\\")):
                self.ahead[-1] = "\n".join((self.ahead[-1].removesuffix("\\"), line))
            else:
                self.ahead.append(line)
            self.is_pasted = True
        self.is_pasted = bool(lines)


@contextmanager
def silent_keys(file: int) -> Iterator[None]:
    """Within the context, the terminal does not echo what is typed."""
    before = termios.tcgetattr(file)
    flags = [*before]
    flags[3] &= ~termios.ECHO
    termios.tcsetattr(file, termios.TCSANOW, flags)
    try:
        yield
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)
