"""The markdown that answers may use: CommonMark with tables, strikethrough, bare links, `<br>` and formulas."""

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from chats.web.markdown_renderer import AnswerRenderer

LONGEST_INLINE = 5_000  # characters of a paragraph that is parsed for emphasis, links and so on
MOST_NESTING = 40  # levels of lists and quotes inside each other; a list takes two
LONGEST_FORMULA = 2_000  # characters
MOST_LINES_OF_FORMULA = 30
CELLS_PER_CHARACTER = 2  # of a table; a row that is complete has less than one
MOST_CELLS_OF_SMALL_TABLE = 200

LINK = re.compile(r"(https?://|mailto:)[^\s]", re.IGNORECASE)
LINE_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
FORMULA = re.compile(
    rf"""
      \\\( .{{1,{LONGEST_FORMULA}}}? \\\)
    | \\\[ .{{1,{LONGEST_FORMULA}}}? \\\]
    | \$\$ [^$]{{1,{LONGEST_FORMULA}}} \$\$
    | \$ (?! [\s$] ) [^$\n]{{1,{LONGEST_FORMULA}}} (?<! [\s\\] ) \$ (?! \d )  # not the prices in: from $5 to $10
    """,
    re.VERBOSE | re.DOTALL,
)
FORMULA_ENDS = {"$$": "$$", "\\[": "\\]"}


def build_parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "linkify": True, "maxNesting": MOST_NESTING}
    parser = MarkdownIt("commonmark", options, renderer_cls=AnswerRenderer)
    parser.enable(["table", "strikethrough", "linkify"])
    parser.validateLink = lambda url: bool(LINK.match(url))  # type: ignore[method-assign]
    if parser.linkify:
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    parser.core.ruler.at("inline", parse_inline)
    limit_tables(parser)
    parser.inline.ruler.before("escape", "formula", parse_formula)
    parser.inline.ruler.before("html_inline", "line_break", parse_line_break)
    # "alt" lists the blocks that a formula may interrupt.
    parser.block.ruler.before("fence", "formula_block", parse_formula_block, {"alt": ["paragraph", "reference"]})
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


def parse_formula(state: StateInline, silent: bool) -> bool:
    """A formula within a paragraph. Its source is shown as it is."""
    match = FORMULA.match(state.src, state.pos)
    before = state.src[state.pos - 1 : state.pos]
    if not match or before == "\\" or (before.isalnum() and not match[0].startswith("\\")):
        return False
    if not silent:
        state.push("formula", "", 0).content = match[0]
    state.pos = match.end()
    return True


def parse_formula_block(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """A formula on lines of its own, whose lines are no lists or headings. A blank line ends it, too.

    Like a block of code, its first line alone decides what it is, so that a growing text does not change its meaning.
    """

    def text_at(number: int) -> str:
        return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()

    if state.is_code_block(line):
        return False
    first = text_at(line)
    opening, closing = first[:2], FORMULA_ENDS.get(first[:2])
    if closing is None:
        return False
    is_one_line = first.endswith(closing) and len(first) > len(opening + closing)
    if first != opening and not is_one_line:
        return False
    if silent:
        return True
    last = line
    while not is_one_line and last + 1 < min(end, line + MOST_LINES_OF_FORMULA) and (text := text_at(last + 1)):
        last += 1
        if text.endswith(closing):
            break
    source = state.getLines(line, last + 1, state.blkIndent, False).strip()
    token = state.push("formula_block", "", 0)
    token.content = source.removeprefix(opening).removesuffix(closing).strip("\n")
    token.map = [line, last + 1]
    state.line = last + 1
    return True
