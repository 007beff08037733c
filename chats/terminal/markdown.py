"""Formats the markdown of answers as lines of a terminal."""

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown, TableElement
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from chats.web.markdown import NEWLINE
from chats.web.markdown_renderer import LANGUAGES

LONGEST_COLOURED = 2_000  # characters of a block of code, which is coloured again and again while it grows
LONGEST_COLOURED_LINE = 400  # characters of a line of it: colouring takes quadratic time in that
NARROWEST_COLUMN = 8  # of a table that is drawn as one
LONGEST_MARKDOWN = 50_000  # characters of a text that is formatted, which takes a second

# C0, DEL and C1 without tab and line feed, and the characters that change the direction of a text.
CONTROL = dict.fromkeys({*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {9, 10})

# HTML, images and references are shown as they were written, so that nothing of an answer is left out.
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["image", "reference"])


def clean(text: str) -> str:
    """The text without characters that control a terminal."""
    return text.translate(CONTROL)


class Code(CodeBlock):
    """A block of code without blank lines around it, coloured if that is fast."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        is_short = len(code) <= LONGEST_COLOURED and max(map(len, code.split("\n"))) <= LONGEST_COLOURED_LINE
        language = self.lexer_name if is_short and self.lexer_name.lower() in LANGUAGES else "text"
        yield Syntax(code, language, theme=self.theme, word_wrap=True, padding=(0, 1))


class FullTable(TableElement):
    """A table with its whole text: long cells are wrapped; if the terminal is too narrow, the source is shown."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> "FullTable":
        assert isinstance(markdown, TerminalMarkdown)
        return cls(clean("\n".join(markdown.lines[slice(*token.map or ())])))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
            fits = options.max_width // len(table.columns) >= NARROWEST_COLUMN
            yield table if fits else Text(self.source, overflow="fold")


class TerminalMarkdown(Markdown):
    """Untrusted markdown: links show their address, and entities cannot stand for control characters."""

    elements = {**Markdown.elements, "fence": Code, "code_block": Code, "table_open": FullTable}

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.lines = NEWLINE.split(text)
        self.parsed = PARSER.parse(text)
        # The parser leaves out what is nested deeper.
        self.is_too_deep = any(token.level >= PARSER.options["maxNesting"] - 1 for token in self.parsed)
        for token in self._flatten_tokens(self.parsed):
            token.content = clean(token.content)


def markdown_lines(console: Console, text: str) -> list[str]:
    """The lines that show this markdown on a terminal, without blank lines around them.

    A text that is too long or too deeply nested is shown as it was written.
    """
    if len(text) > LONGEST_MARKDOWN:
        return text.expandtabs().strip("\n").split("\n")
    markdown = TerminalMarkdown(text)
    if markdown.is_too_deep:
        return wrap_text(console, text.strip("\n"))
    with console.capture() as captured:
        console.print(markdown, width=usable_width(console))
    return [line.rstrip() for line in captured.get().strip("\n").split("\n")]


def usable_width(console: Console) -> int:
    """The columns that are used. After a full line, terminals differ about where the cursor is."""
    return max(20, console.width - 1)


def wrap_text(console: Console, text: str) -> list[str]:
    return [line.plain.rstrip() for line in Text(text).wrap(console, usable_width(console), tab_size=4)]


def final_length(text: str) -> int:
    """The number of characters in the top-level blocks that no later text can change."""
    complete = text[: text.rfind("\n") + 1]  # the rest of the last line may give it another meaning
    starts = [token.map[0] for token in PARSER.parse(complete) if token.level == 0 and token.map]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in complete.split("\n")[: starts[-1]])
