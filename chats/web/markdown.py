"""Renders the markdown of answers as HTML that is safe to show, also while an answer grows.

An answer is hostile text: HTML in it is shown as text, links lead to the web or to mail only, images are linked but not
loaded, and the resulting HTML is cleaned once more. The time to render is linear in the length of the text, and what
exceeds the limits is shown as plain text.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import nh3
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markdown_it.utils import EnvType

from chats.bounded_cache import BoundedCache
from chats.colouring import Code, Colourer, code_blocks
from chats.web.formulas import MATHML_ATTRIBUTES, MATHML_TAGS
from chats.web.markdown_parser import MOST_NESTING, build_parser
from core.web.bidi import show_bidi
from core.workers.process import Result

LONGEST_MARKDOWN = 100_000  # characters of a text that are rendered; the rest is shown as plain text
PLAIN_PIECE = 20_000  # characters of a block of plain text
LONGEST_CACHED = 20_000  # characters of a text whose HTML is cached
MOST_CACHED = 10_000_000  # characters of HTML
PAGE_LEVEL = 2  # of the heading that the page has above each message

NEWLINE = re.compile(r"\r\n?|\n")
PARSER = build_parser()
CLEANER = nh3.Cleaner(
    tags={
        *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "strong", "em", "s", "a", "code"),
        *("pre", "span", "div", "table", "thead", "tbody", "tr", "th", "td", "sup", "details", "summary"),
        *MATHML_TAGS,
    },
    attributes={
        **{name: {"class"} for name in ("code", "span", "th", "td", "p", "li")},
        **dict.fromkeys(MATHML_TAGS, MATHML_ATTRIBUTES),
        "a": {"href", "title", "target"},
        "div": {"class", "tabindex"},
        "pre": {"tabindex"},
        "ol": {"start"},
    },
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
)

rendered: BoundedCache[tuple[str, bool], list[str]] = BoundedCache(MOST_CACHED)


class ParsedText(NamedTuple):
    """The text of a stream that may still change: its tokens, and its blocks of code that are to be coloured."""

    text: str
    tokens: list[Token]
    codes: list[Code]


class BlockChange(NamedTuple):
    """The blocks of HTML from index `first` on, which replace all earlier ones from there."""

    first: int
    blocks: list[str]


class MarkdownStream:
    """Renders a growing text. Top-level blocks that can no longer change are not rendered again.

    The state depends on the text so far, not on the pieces in which it came.
    """

    def __init__(self) -> None:
        self.final_blocks = 0  # the number of blocks that can no longer change
        self.final_length = 0  # characters in these blocks
        self.pending = ""  # the text after them
        self.is_plain = False  # whether LONGEST_MARKDOWN was exceeded
        self.level = PAGE_LEVEL  # of the last heading in the final blocks
        self.formulas = 0  # in the final blocks

    def parse(self, text: str, *, is_complete: bool = False) -> ParsedText:
        """Add to the text. A link whose definition comes later is only resolved in a complete text."""
        self.pending += text
        if self.is_plain:
            return ParsedText("", [], [])
        length = LONGEST_MARKDOWN - self.final_length
        self.is_plain = len(self.pending) > length
        if self.is_plain:
            length = self.pending.rfind("\n", 0, length) + 1 or length
        text = self.pending[:length]
        tokens = PARSER.parse(text)
        return ParsedText(text, tokens, code_blocks(tokens, is_complete=is_complete or self.is_plain))

    def render(self, parsed: ParsedText, colours: Mapping[Code, Result]) -> BlockChange:
        """The blocks for the result of the last `parse`. `colours` is HTML of its code."""
        first = self.final_blocks
        blocks = self.render_markdown(parsed, colours) if parsed.text else []
        if self.is_plain:
            blocks += self.render_plain()
        return BlockChange(first, list(map(show_bidi, blocks)))

    def render_markdown(self, parsed: ParsedText, colours: Mapping[Code, Result]) -> list[str]:
        text = parsed.text
        env: EnvType = {"level": self.level, "formulas": self.formulas}
        env["colours"] = {code: html for code, html in colours.items() if isinstance(html, str)}
        groups = group_blocks(parsed.tokens)
        lines = [0, *(newline.end() for newline in NEWLINE.finditer(text))]
        starts = [lines[group[0].map[0] if group[0].map else 0] for group in groups]
        blocks, states = [], []
        for group, start, end in zip(groups, starts, [*starts, len(text)][1:], strict=False):
            if any(
                token.level >= MOST_NESTING - 1 for token in group
            ):  # nested so deeply that the parser may have dropped text: show it as plain text
                blocks.append(plain_block(text[start:end].rstrip("\r\n")))
            else:
                html = CLEANER.clean(PARSER.renderer.render(group, PARSER.options, env))
                blocks.append(f'<div class="block" dir="auto">{html}</div>')
            states.append((env["level"], env["formulas"]))
        count, length = len(groups), len(text)
        if not self.is_plain:
            # The last block may grow. A block whose first line is incomplete may still join the block before it.
            count = max(0, len(starts) - (1 if starts and NEWLINE.search(text, starts[-1]) else 2))
            length = starts[count] if count else 0
        if count:
            self.level, self.formulas = states[count - 1]
        self.finalize(count, length)
        return blocks

    def render_plain(self) -> list[str]:
        blocks, start = [], 0
        while len(self.pending) - start > PLAIN_PIECE:
            end = self.pending.rfind("\n", start, start + PLAIN_PIECE) + 1 or start + PLAIN_PIECE
            blocks.append(plain_block(self.pending[start:end]))
            start = end
        self.finalize(len(blocks), start)
        return [*blocks, plain_block(self.pending)] if self.pending else blocks

    def finalize(self, blocks: int, length: int) -> None:
        self.final_blocks += blocks
        self.final_length += length
        self.pending = self.pending[length:]


def render(text: str, colourer: Colourer, *, is_complete: bool = True) -> list[str]:
    """The blocks of a text as safe HTML."""
    if (blocks := rendered.get((text, is_complete))) is not None:
        return blocks
    growing = MarkdownStream()
    parsed = growing.parse(text, is_complete=is_complete)
    blocks = growing.render(parsed, colourer.colour_sync(parsed.codes)).blocks
    if len(text) <= LONGEST_CACHED and colourer.has_tried(parsed.codes):
        rendered.put((text, is_complete), blocks, sum(map(len, blocks)) + len(text))
    return blocks


def plain_block(text: str) -> str:
    return f'<div class="block" dir="auto"><p class="plain">{escapeHtml(text)}</p></div>'


def group_blocks(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each top-level block."""
    groups: list[list[Token]] = [[]]
    for token in tokens:
        groups[-1].append(token)
        if token.level == 0 and token.nesting <= 0:
            groups.append([])
    return groups[:-1]
