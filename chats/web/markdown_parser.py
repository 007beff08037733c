"""The markdown that answers may use.

CommonMark, and GitHub's tables, strikethrough, bare links, lists of tasks and footnotes; formulas; of HTML only `<br>`
and `<details>`.
"""

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin

from chats.web.formulas import line_at, parse_formula, parse_formula_block
from chats.web.link_addresses import show_addresses
from chats.web.markdown_renderer import AnswerRenderer

LONGEST_INLINE = 5_000  # characters of a paragraph that is parsed for emphasis, links and so on
MOST_NESTING = 40  # levels of lists and quotes inside each other; a list takes two
CELLS_PER_CHARACTER = 2  # of a table; a row that is complete has less than one
MOST_CELLS_OF_SMALL_TABLE = 200

LINK = re.compile(r"(https?://|mailto:)[^\s]", re.IGNORECASE)
DETAILS = re.compile(r"<details(?: open)?>\s*(?:<summary>(.*)</summary>)?")
SUMMARY = re.compile(r"<summary>(.*)</summary>")
TASK = re.compile(r"\[([ xX])\]\s")
BOXES = {" ": "\N{BALLOT BOX}", "x": "\N{BALLOT BOX WITH CHECK}", "X": "\N{BALLOT BOX WITH CHECK}"}
LINE_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)


def build_parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "linkify": True, "maxNesting": MOST_NESTING}
    parser = MarkdownIt("commonmark", options, renderer_cls=AnswerRenderer)
    parser.enable(["table", "strikethrough", "linkify"])
    parser.validateLink = lambda url: bool(LINK.match(url))  # type: ignore[method-assign]
    if parser.linkify:
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    parser.core.ruler.at("inline", parse_inline)
    parser.core.ruler.push("addresses", show_addresses)
    limit_tables(parser)
    parser.inline.ruler.before("escape", "formula", parse_formula)
    parser.inline.ruler.before("html_inline", "line_break", parse_line_break)
    # "alt" lists the blocks that a formula may interrupt.
    parser.block.ruler.before("fence", "formula_block", parse_formula_block, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.before("paragraph", "details", parse_details, {"alt": ["paragraph", "reference"]})
    footnote_plugin(parser, inline=False, move_to_end=False)  # at the end, they would move while the text grows
    parser.add_render_rule("footnote_ref", AnswerRenderer.footnote_ref)
    parser.core.ruler.after("inline", "tasks", mark_tasks)
    return parser


def limit_tables(parser: MarkdownIt) -> None:
    parser.block.ruler.at("table", parse_table, {"alt": ["paragraph", "reference"]})


def parse_table(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """A table, unless most of its cells are missing. markdown-it adds them: 1,500 characters may be 65,000 cells."""
    if not table(state, line, end, True):
        return False
    columns = state.getLines(line + 1, line + 2, 0, False).strip().strip("|").count("|") + 1
    for row in range(line, end):
        if row > line + 1 and state.isEmpty(row):
            break
        most = MOST_CELLS_OF_SMALL_TABLE + CELLS_PER_CHARACTER * (state.eMarks[row] - state.bMarks[line])
        if columns * (row - line) > most:
            return False
    return silent or table(state, line, end, False)


def parse_inline(state: StateCore) -> None:
    """Replaces markdown-it's rule "inline", whose time is not linear in the length of a paragraph."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = token.children or []
        if len(token.content) > LONGEST_INLINE:
            # Bare links are not looked for in a token of this type. It becomes text later.
            token.children.append(Token("text_special", "", 0, content=token.content))
        else:
            state.md.inline.parse(token.content, state.md, state.env, token.children)


def parse_line_break(state: StateInline, silent: bool) -> bool:
    """`<br>`, the only HTML tag that is obeyed: models need it in the cells of tables."""
    tag = LINE_BREAK.match(state.src, state.pos)
    if not tag:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = tag.end()
    return True


def parse_details(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """`<details>` on a line of its own, to its `</details>`, with blocks in it and perhaps a `<summary>`."""
    opening = None if state.is_code_block(line) else DETAILS.fullmatch(line_at(state, line))
    if not opening or silent:
        return bool(opening)
    first, last, level = line + 1, line, 1
    while level and last + 1 < end:
        last += 1
        level += bool(DETAILS.fullmatch(text := line_at(state, last))) - (text == "</details>")
    summary = opening[1]
    if summary is None and first < end and (below := SUMMARY.fullmatch(line_at(state, first))):
        summary, first = below[1], first + 1
    state.push("details_open", "details", 1).map = [line, last + 1]
    if summary:
        state.push("summary_open", "summary", 1)
        token = state.push("inline", "", 0)
        token.content, token.children, token.map = summary, [], [line, first]
        state.push("summary_close", "summary", -1)
    parent, lines = state.parentType, state.lineMax
    state.parentType, state.lineMax = "details", last if level == 0 else last + 1
    state.md.block.tokenize(state, min(first, state.lineMax), state.lineMax)
    state.parentType, state.lineMax, state.line = parent, lines, last + 1
    state.push("details_close", "details", -1)
    return True


def mark_tasks(state: StateCore) -> None:
    """Items of lists that begin with `[ ]` or `[x]` get a box. The plugin that does it takes quadratic time."""
    for item, paragraph, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type == "list_item_open" and paragraph.type == "paragraph_open" and inline.children:
            first = inline.children[0]
            if first.type == "text" and (task := TASK.match(first.content)):
                first.content = f"{BOXES[task[1]]} {first.content[task.end() :]}"
                item.attrSet("class", "task")
