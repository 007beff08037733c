"""Shows answers: formatted on a terminal while they grow, or as plain text."""

from time import monotonic
from typing import IO, Protocol

from rich.console import Console

from chats.colouring import Colourer
from chats.terminal.markdown import clean, final_length, markdown_lines, usable_width, wrap_text

INTERVAL = 0.1  # seconds at least between two drawings
SHARE = 5  # drawing takes at most one part in so many of the time
LONGEST_LIVE = 6_000  # characters of a growing block that is formatted; of a longer one, the last lines show as text
HOLD_SCREEN, RELEASE_SCREEN = "\x1b[?2026h", "\x1b[?2026l"  # between them, a terminal draws nothing


class AnswerView(Protocol):
    """Shows one answer: `add` takes each piece of its text, `refresh` may draw, `end` completes it."""

    def add(self, text: str) -> None: ...

    def refresh(self) -> None: ...

    def end(self) -> None: ...


class LiveMarkdown:
    """An answer on a terminal while it grows. The cost of a piece does not depend on the length of the answer.

    Blocks that can no longer change are written once. Of the last block, only lines that change are written again.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.colourer = Colourer("colour_tokens")
        self.pieces: list[str] = []  # text that was not drawn yet
        self.pending = ""  # the blocks that may still change
        self.parsed_length = 0  # length of `pending` when it was last parsed
        self.window: list[str] = []  # their lines on the screen; the cursor is at the end of the last
        self.gap: list[str] = []  # a blank line between final blocks and pending ones
        self.due = 0.0  # when to draw next, in monotonic seconds

    def add(self, text: str) -> None:
        self.pieces.append(clean(text))

    def refresh(self) -> None:
        """Draw the new text, unless the last drawing was a moment ago."""
        started_at = monotonic()
        if not self.pieces or started_at < self.due:
            return
        self.pending += "".join(self.pieces)
        self.pieces.clear()
        final: list[str] = []
        if len(self.pending) <= LONGEST_LIVE or len(self.pending) > self.parsed_length * 1.25:
            end = final_length(self.pending)
            final, self.pending = self.final_lines(self.pending[:end]), self.pending[end:]
            self.parsed_length = len(self.pending)
        height = max(2, self.console.height - 1)
        if not self.pending.strip():
            window = []
        elif len(self.pending) <= LONGEST_LIVE:
            window = markdown_lines(self.console, self.pending, self.colourer, is_complete=False)
            window = (self.gap + window)[-height:]
        else:
            window = wrap_text(self.console, self.pending[-height * usable_width(self.console) :])[-height:]
        self.draw(final, window)
        self.due = monotonic() + max(INTERVAL, (monotonic() - started_at) * SHARE)

    def end(self) -> None:
        """Draw the whole answer."""
        rest = self.pending + "".join(self.pieces)
        self.pieces, self.pending = [], ""
        self.draw(self.final_lines(rest), [])

    def final_lines(self, text: str) -> list[str]:
        if not text.strip():
            return []
        lines = self.gap + markdown_lines(self.console, text, self.colourer)
        self.gap = [""]
        return lines

    def draw(self, final: list[str], window: list[str]) -> None:
        """Replace the present window by `final`, which is never changed again, and the new window below it."""
        lines = final + window
        if window == self.window and not final:
            return
        changes = (row for row, (old, new) in enumerate(zip(self.window, lines, strict=False)) if old != new)
        first = next(changes, min(len(self.window), len(lines) - 1))
        output = ""
        if lines:
            up = len(self.window) - 1 - first
            if up >= 0:  # go to the start of the first line that changes, and clear the screen from there
                output = (f"\x1b[{up}A" if up else "") + "\r\x1b[J"
            elif self.window:
                output = "\n"
            output += "\n".join(lines[first:])
        if not window and (lines or self.window):
            output += "\n"
        if output:
            self.console.file.write(f"{HOLD_SCREEN}{output}{RELEASE_SCREEN}")
            self.console.file.flush()
        self.window = window


class PlainOutput:
    """An answer as plain text: for a pipe, a file, or a terminal without cursor control."""

    def __init__(self, file: IO[str]) -> None:
        self.file, self.last = file, "\n"

    def add(self, text: str) -> None:
        if output := clean(text):
            self.file.write(output)
            self.file.flush()
            self.last = output[-1]

    def refresh(self) -> None:
        pass

    def end(self) -> None:
        self.file.write("" if self.last == "\n" else "\n")
        self.file.flush()
