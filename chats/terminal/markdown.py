"""Formats the markdown of answers as lines of a terminal."""

import re
from collections.abc import Mapping

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments.token import string_to_tokentype
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from chats.colouring import Code, Colourer, code_blocks, code_of
from chats.web.markdown import NEWLINE
from chats.web.markdown_parser import limit_tables
from core.workers.process import Result

TAB = 4  # columns between the stops for tabs in code
NARROWEST_COLUMN = 8  # of a table that is drawn as one
LONGEST_MARKDOWN = 50_000  # characters of a text that is formatted, which takes a second
TOKEN_TYPE = re.compile(r"([A-Z]\w*(\.[A-Z]\w*)*)?", re.ASCII)  # as the colouring job names it

# C0, DEL and C1 without tab and line feed, and the characters that change the direction of a text.
CONTROL = dict.fromkeys({*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {9, 10})

# HTML, images and references are shown as they were written, so that nothing of an answer is left out.
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["image", "reference"])
limit_tables(PARSER)


def clean(text: str) -> str:
    """The text without characters that control a terminal."""
    return text.translate(CONTROL)


class TokenSyntax(Syntax):
    """Code whose tokens are known: Pygments, whose time has no bound, does not run in this process."""

    def __init__(self, code: str, tokens: list[tuple[str, str]]) -> None:
        super().__init__(code, "no lexer", theme="ansi_dark", word_wrap=True, padding=(0, 1), tab_size=TAB)
        self.tokens = tokens

    def highlight(self, code: str, line_range: tuple[int | None, int | None] | None = None) -> Text:
        text, theme, start = super().highlight(code, line_range), self.get_theme("ansi_dark"), 0
        for kind, part in self.tokens:
            text.stylize(theme.get_style_for_token(string_to_tokentype(kind)), start, start + len(part))
            start += len(part)
        return text


class CodeElement(MarkdownElement):
    """A block of code without blank lines around it."""

    def __init__(self, code: str, tokens: list[tuple[str, str]]) -> None:
        self.code, self.tokens = code, tokens

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> "CodeElement":
        assert isinstance(markdown, TerminalMarkdown)
        code = token.content.rstrip()
        return cls(code, check_tokens(code, markdown.colours.get(code_of(token))))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield TokenSyntax(self.code, self.tokens)


def check_tokens(code: str, result: Result) -> list[tuple[str, str]]:
    """The token types and texts that a colouring job returned, or none if they are not those of the code."""
    tokens = []
    for pair in result if isinstance(result, list) else []:
        match pair:
            case [str(kind), str(text)] if TOKEN_TYPE.fullmatch(kind):
                tokens.append((kind, text))
    return tokens if "".join(text for _, text in tokens).rstrip() == code else []


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
        columns = len(self.header.row.cells) if self.header and self.header.row else 1
        if options.max_width // columns < NARROWEST_COLUMN:
            yield Text(self.source, overflow="fold")
            return
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
            yield table


class TerminalMarkdown(Markdown):
    """Untrusted markdown: links show their address, and entities cannot stand for control characters."""

    elements = {**Markdown.elements, "fence": CodeElement, "code_block": CodeElement, "table_open": FullTable}

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False)
        self.lines = NEWLINE.split(text)
        self.parsed = PARSER.parse(text)
        # The parser leaves out what is nested deeper.
        self.is_too_deep = any(token.level >= PARSER.options["maxNesting"] - 1 for token in self.parsed)
        for token in self._flatten_tokens(self.parsed):
            token.content = clean(token.content)
            if token.type in ("fence", "code_block"):
                token.content = token.content.expandtabs(TAB)
        self.colours: Mapping[Code, Result] = {}


def markdown_lines(console: Console, text: str, colourer: Colourer, *, is_complete: bool = True) -> list[str]:
    """The lines that show this markdown on a terminal, without blank lines around them.

    A text that is too long or too deeply nested is shown as it was written.
    """
    if len(text) > LONGEST_MARKDOWN:
        return text.expandtabs().strip("\n").split("\n")
    markdown = TerminalMarkdown(text)
    if markdown.is_too_deep:
        return wrap_text(console, text.strip("\n"))
    markdown.colours = colourer.colour_sync(code_blocks(markdown.parsed, is_complete=is_complete))
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
