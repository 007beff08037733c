"""What a terminal shows, and what is typed at it.

No control character of a text or a name reaches it. Markdown grows as it comes: what a long answer costs does not grow
with its length.
"""

import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import IO

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown, TableElement
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from chats.web.markdown import NEWLINE
from chats.web.markdown_renderer import LANGUAGES

INTERVAL = 0.1  # seconds between two looks at the keyboard, and at the least between two drawings
SHARE = 5  # drawing takes one part in so many of the time
LONGEST_LIVE = 6_000  # characters of a block that grows as markdown; of a longer one the last lines show, as text
LONGEST_COLOURED = 2_000  # characters of a block of code, for it is coloured again and again while it grows
LONGEST_COLOURED_LINE = 400  # characters of a line of it: what colours takes the square of that
NARROWEST_COLUMN = 8  # of a table that is drawn
LONGEST_MARKDOWN = 50_000  # characters of what is shown as markdown at all: a second's work

# C0, DEL and C1 but for tab and line feed, and what turns the direction of a text around
HIDDEN = dict.fromkeys({*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {9, 10})


def clean(text: str) -> str:
    """The text without characters that command a terminal."""
    return text.translate(HIDDEN)


# markdown

# HTML, images and references stay text: nothing of an answer is left out
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["image", "reference"])


class Code(CodeBlock):
    """A block of code, without blank lines around it, coloured where that takes no time."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        fits = len(code) <= LONGEST_COLOURED and max(map(len, code.split("\n"))) <= LONGEST_COLOURED_LINE
        language = self.lexer_name if fits and self.lexer_name.lower() in LANGUAGES else "text"
        yield Syntax(code, language, theme=self.theme, word_wrap=True, padding=(0, 1))


class Cells(TableElement):
    """A table with all of its text: long cells go on in the next line, and without room for that it is its source."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> "Cells":
        assert isinstance(markdown, Formatted)
        return cls(clean("\n".join(markdown.lines[slice(*token.map or ())])))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
            fits = options.max_width // len(table.columns) >= NARROWEST_COLUMN
            yield table if fits else Text(self.source, overflow="fold")


class Formatted(Markdown):
    """Markdown of a stranger: a link shows where it leads, and an entity is no way to a control character."""

    elements = {**Markdown.elements, "fence": Code, "code_block": Code, "table_open": Cells}

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.lines = NEWLINE.split(text)
        self.parsed = PARSER.parse(text)
        self.is_too_deep = any(
            token.level >= PARSER.options["maxNesting"] - 1 for token in self.parsed
        )  # for some is lost
        for token in self._flatten_tokens(self.parsed):
            token.content = clean(token.content)


def lines_of(console: Console, text: str) -> list[str]:
    """The lines that a terminal is sent for this markdown, without blank ones around them.

    What is too long or too deep for it is text as it came.
    """
    if len(text) > LONGEST_MARKDOWN:
        return text.expandtabs().strip("\n").split("\n")
    markdown = Formatted(text)
    if markdown.is_too_deep:
        return wrapped(console, text.strip("\n"))
    with console.capture() as captured:
        console.print(markdown, width=width_of(console))
    return [line.rstrip() for line in captured.get().strip("\n").split("\n")]


def width_of(console: Console) -> int:
    """The columns that are used: a full line would leave terminals in doubt where the cursor is."""
    return max(20, console.width - 1)


def wrapped(console: Console, text: str) -> list[str]:
    return [line.plain.rstrip() for line in Text(text).wrap(console, width_of(console), tab_size=4)]


def finished(text: str) -> int:
    """The number of characters of those top-level blocks that nothing after them can change."""
    whole = text[: text.rfind("\n") + 1]  # what an unfinished line will be is not known
    starts = [token.map[0] for token in PARSER.parse(whole) if token.level == 0 and token.map]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in whole.split("\n")[: starts[-1]])


class LiveMarkdown:
    """An answer on a terminal as it comes.

    Blocks that have ended stay, and are not looked at again. Of the last one those lines are written anew that change.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.fresh: list[str] = []
        self.open = ""  # the blocks that may still change
        self.looked_at = 0  # characters of it that were parsed
        self.shown: list[str] = []  # the last lines on the screen, which may be written anew; the cursor ends the last
        self.gap: list[str] = []  # what stands between what stays and what is open
        self.due = 0.0

    def add(self, text: str) -> None:
        self.fresh.append(clean(text))

    def refresh(self) -> None:
        """Show what has come, unless it is too early."""
        begun = monotonic()
        if not self.fresh or begun < self.due:
            return
        self.open += "".join(self.fresh)
        self.fresh.clear()
        stays: list[str] = []
        if len(self.open) <= LONGEST_LIVE or len(self.open) > self.looked_at * 1.25:
            end = finished(self.open)
            stays, self.open = self.kept(self.open[:end]), self.open[end:]
            self.looked_at = len(self.open)
        self.draw(stays, self.window())
        self.due = monotonic() + max(INTERVAL, (monotonic() - begun) * SHARE)

    def end(self) -> None:
        """Show all, to stay."""
        rest = self.open + "".join(self.fresh)
        self.fresh, self.open = [], ""
        self.draw(self.kept(rest), [])

    def kept(self, text: str) -> list[str]:
        if not text.strip():
            return []
        lines = self.gap + lines_of(self.console, text)
        self.gap = [""]
        return lines

    def window(self) -> list[str]:
        """The last lines of what is open, fewer than the screen has."""
        height = max(2, self.console.height - 1)
        if not self.open.strip():
            return []
        if len(self.open) <= LONGEST_LIVE:
            return (self.gap + lines_of(self.console, self.open))[-height:]
        return wrapped(self.console, self.open[-height * width_of(self.console) :])[-height:]

    def draw(self, stays: list[str], window: list[str]) -> None:
        """Write `stays` over what is shown, for good, and `window` below it."""
        lines = stays + window
        if window == self.shown and not stays:
            return
        same = next((row for row, (old, new) in enumerate(zip(self.shown, lines, strict=False)) if old != new), None)
        first = min(len(self.shown), len(lines) - 1) if same is None else same
        written = ""
        if lines:
            up = len(self.shown) - 1 - first
            if up >= 0:  # to the beginning of the first line that differs
                written = (f"\x1b[{up}A" if up else "") + "\r\x1b[J"
            elif self.shown:
                written = "\n"
            written += "\n".join(lines[first:])
        if not window and (lines or self.shown):
            written += "\n"
        if written:  # at once, between the signs that hold back a screen until all of it is there
            self.console.file.write(f"\x1b[?2026h{written}\x1b[?2026l")
            self.console.file.flush()
        self.shown = window


class PlainOutput:
    """An answer as text: for a pipe, a file, and a terminal that can nothing else."""

    def __init__(self, file: IO[str]) -> None:
        self.file, self.last = file, "\n"

    def add(self, text: str) -> None:
        if shown := clean(text):
            self.file.write(shown)
            self.file.flush()
            self.last = shown[-1]

    def refresh(self) -> None:
        pass

    def end(self) -> None:
        self.file.write("" if self.last == "\n" else "\n")
        self.file.flush()


# keys


@contextmanager
def silent_keys(file: int) -> Iterator[None]:
    """Within it what is typed at this terminal is not shown, and can be read a line at a time."""
    before = termios.tcgetattr(file)
    flags = [*before]
    flags[3] &= ~termios.ECHO
    termios.tcsetattr(file, termios.TCSANOW, flags)
    try:
        yield
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def typed(file: int) -> Iterator[str]:
    """The lines that were typed meanwhile."""
    while select.select([file], [], [], 0)[0] and (line := os.read(file, 2**16)):
        yield line.decode(errors="replace").rstrip("\n")
