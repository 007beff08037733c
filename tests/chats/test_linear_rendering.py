"""What renders answers takes time in proportion to their length, whatever is in them."""

import gc
import io
import time
from collections.abc import Callable, Iterator
from math import inf

import pytest
from rich.console import Console

from chats.colouring import Colourer
from chats.terminal.markdown import final_length, markdown_lines
from chats.web.markdown import LONGEST_MARKDOWN, MarkdownStream

SIZE = 6_000  # characters, of half of which one paragraph has more than is parsed
FACTOR = 3.2  # between the times of a text and of one twice as long; quadratic time has four
NOISE = 0.03  # seconds
ATTEMPTS = 6

# A text is its first part and the second one repeated.
TEXTS = {
    "words": ("", "word "),
    "one word": ("", "x"),
    "spaces": ("a", " "),
    "tabs": ("", "\t"),
    "line ends": ("a", "\n"),
    "paragraphs": ("", "a\n\n"),
    "brackets": ("", "["),
    "closing brackets": ("[" * 1000, "]"),
    "images": ("", "!["),
    "links without an end": ("", "[a](<b"),
    "links with titles": ("", '[a](b "c'),
    "links within links": ("", "[[a](http://b)"),
    "links whose text is an address": ("", "[a.com](http://b.c)"),
    "links whose text has dots": ("", f"[{'a.' * 200}](http://b.c) "),
    "parentheses": ("[a](", "("),
    "stars": ("", "*"),
    "emphasis": ("", "*a **b _c "),
    "emphasis that closes": ("", "a**b"),
    "underlines": ("", "a_"),
    "tildes": ("", "~~a "),
    "backticks": ("", "`a``b```c"),
    "rows of backticks": ("", "".join("`" * number + "a" for number in range(1, 40))),
    "less than": ("", "<"),
    "tags": ("", "<a "),
    "autolinks": ("", "<http://a"),
    "entities": ("", "&#1"),
    "backslashes": ("", "\\"),
    "bare links": ("", "http://a.b "),
    "schemes": ("", "https://"),
    "slashes": ("", "//"),
    "mail": ("", "mailto:a@"),
    "parentheses in a bare link": ("", "http://a.b/(("),
    "quotes in a bare link": ("", "http://a.b/?'\""),
    "dots in a bare link": ("", "http://a.b/...."),
    "ports": ("", "http://a:"),
    "formulas": ("", "$a "),
    "formulas in brackets": ("", "\\("),
    "formulas on lines": ("", "$$a\n"),
    "blocks of formulas": ("", "$$\na\n"),
    "fractions": ("", r"$\frac{a}{b}$ "),
    "fractions on lines": ("", "$$\n\\frac{a}{b}\n$$\n\n"),
    "groups": ("", "${{{{$ "),
    "environments": ("", "\\begin{align}\n"),
    "rows": ("\\begin{align}\n", "a&=b\\\\"),
    "prices": ("", "$5 and "),
    "dollars in an address": ("https://a.b/", "$a$"),
    "footnotes": ("", "[^a]: b\n"),
    "references of footnotes": ("[^a]: b\n\n", "[^a]"),
    "references without a footnote": ("[^a]: b\n\n", "[^b"),
    "footnotes in footnotes": ("", "[^a]:"),
    "tasks": ("", "- [ ] a\n"),
    "details": ("", "<details>\n"),
    "closed details": ("", "<details>\n</details>\n"),
    "ends of details": ("<details>\n", "</details>\n"),
    "deep details": ("", "<details>\n" * 15 + "</details>\n" * 15),
    "quotes": ("", ">"),
    "quoted lines": ("", "> a\n"),
    "lazy lines": ("", "> a\nb\n"),
    "deep quotes": ("", ">" * 19 + "a\n"),
    "list": ("", "- a\n"),
    "list of blocks": ("", "- a\n\n  b\n"),
    "lists": ("", "1. a\n- b\n"),
    "list in one line": ("", "- "),
    "lists in quotes": ("", "> 1. "),
    "lists in quotes on lines": ("", "> 1. " * 15 + "a\n"),
    "deep list": ("", "".join("  " * level + "- a\n" for level in range(30))),
    "headings": ("", "# a\n"),
    "underlined headings": ("", "a\n=\n"),
    "rules": ("", "***\n"),
    "table": ("|a|b|\n|-|-|\n", "|1|2|\n"),
    "tables": ("", "|a|b|\n|-|-|\n"),
    "heads of tables": ("", "-|-|-|-|-\nx\n"),
    "columns": ("", "|a"),
    "missing cells": ("|a" * 300 + "\n" + "|-" * 300 + "\n", "b\n"),
    "tables with missing cells": ("", "|a" * 60 + "\n" + "|-" * 60 + "\n" + "b\n" * 60 + "\n"),
    "code in cells": ("|a|b|\n|-|-|\n", "`|"),
    "references": ("", "[a]: http://x\n"),
    "references with titles": ("", '[a]: b "c\n\n'),
    "references without an end": ("", "[a\n"),
    "blocks of code": ("", "```\na\n```\n"),
    "openings of code": ("", "```a\n"),
    "indented code": ("", "    a\n"),
    "null": ("", "\0"),
    "emoji": ("", "\U0001f600"),
}


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    """Garbage collections take longer the more other tests have left in memory."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def render_page(text: str) -> None:
    """As when it has grown, and as when it is complete."""
    growing = MarkdownStream()
    for part in (text[: len(text) // 2], text[len(text) // 2 :]):
        growing.render(growing.parse(part), {})
    complete = MarkdownStream()
    complete.render(complete.parse(text, is_complete=True), {})


def render_in_terminal(text: str) -> None:
    console = Console(file=io.StringIO(), width=80, height=24)
    final_length(text)
    markdown_lines(console, text, Colourer("colour_tokens"))


def seconds(render: Callable[[str], None], text: str) -> float:
    begun = time.process_time()
    render(text)
    return time.process_time() - begun


def check(render: Callable[[str], None], text_of: Callable[[int], str], size: int) -> None:
    short = long = inf
    for _ in range(ATTEMPTS):  # other processes disturb some
        short = min(short, seconds(render, text_of(size)))
        long = min(long, seconds(render, text_of(2 * size)))
        if long < FACTOR * short + NOISE:
            return
    pytest.fail(f"{size} characters take {short:.3f} s, twice as many take {long:.3f} s")


@pytest.mark.parametrize("render", [render_page, render_in_terminal])
@pytest.mark.parametrize(("first", "unit"), TEXTS.values(), ids=TEXTS)
def test_twice_the_text_takes_twice_the_time(first: str, unit: str, render: Callable[[str], None]) -> None:
    check(render, lambda size: first + unit * ((size - len(first)) // len(unit)), SIZE)


@pytest.mark.parametrize("unit", ["word ", "word\n", "[", "<"])
def test_also_beyond_what_is_rendered_as_markdown(unit: str) -> None:
    check(render_page, lambda size: unit * (size // len(unit)), 4 * LONGEST_MARKDOWN)
