"""The markdown of answers as HTML that is safe to show, also while it grows.

Whoever wrote an answer is not to be trusted: HTML in it is shown, not obeyed, links lead to the web or to mail only,
images are not loaded but linked, and the result is cleaned once more. However a text is made, the time to render it
grows with its length only, and what is very long is shown as it is.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

LONGEST_MARKDOWN = 100_000  # characters of a text; what comes after them is shown as it is
LONGEST_INLINE = 5_000  # characters of a paragraph in which emphasis, links and so on are looked for
LONGEST_CODE = 20_000  # characters of a block that are coloured
LONGEST_LINE = 2_000  # characters of a line of such a block
MOST_COLOURED = 60_000  # characters in all
PLAIN_PIECE = 20_000  # characters of a block of text that is shown as it is
DEEPEST = 40  # levels of lists and quotes in each other, of which a list takes two; a deeper block is shown as it is
LONGEST_FORMULA = 2_000  # characters
MOST_LINES_OF_FORMULA = 30
LONGEST_KEPT = 20_000  # characters of a text whose HTML is remembered
KEPT = 256  # texts

LINK = re.compile(r"(https?://|mailto:)[^\s]", re.IGNORECASE)
NEWLINE = re.compile(r"\r\n?|\n")
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
# Those that people ask for. Not any that Pygments knows: a lexer that hangs on some text would hang the server.
# fmt: off
LANGUAGES = frozenset((
    "bash", "c", "c++", "cpp", "c#", "cs", "csharp", "clojure", "console", "cmake", "css", "dart", "diff", "docker",
    "dockerfile", "elixir", "erlang", "fortran", "go", "golang", "graphql", "groovy", "haskell", "hs", "hcl",
    "html", "http", "ini", "java", "javascript", "js", "json", "jsx", "julia", "kotlin", "latex", "tex", "less",
    "lua", "make", "makefile", "matlab", "nginx", "nix", "objective-c", "ocaml", "pascal", "perl", "php",
    "powershell", "properties", "protobuf", "py", "python", "python3", "r", "rb", "rs", "ruby", "rust", "scala",
    "scss", "sh", "shell", "sql", "swift", "terraform", "tf", "toml", "ts", "tsx", "typescript", "vim", "vue",
    "xml", "yaml", "yml", "zig", "zsh",
))
# fmt: on
ALIGNMENT = re.compile(r"text-align:(left|right|center)")

FORMATTER = HtmlFormatter(nowrap=True)
CLEANER = nh3.Cleaner(
    tags={
        *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "strong", "em", "s", "a", "code"),
        *("pre", "span", "div", "table", "thead", "tbody", "tr", "th", "td"),
    },
    attributes={
        **{name: {"class"} for name in ("code", "span", "th", "td", "p")},
        "a": {"href", "title", "target"},
        "div": {"class", "tabindex"},
        "pre": {"tabindex"},
        "ol": {"start"},
    },
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
)


class Change(NamedTuple):
    """From the block of this index on there are now these blocks, and no others after them."""

    first: int
    blocks: list[str]


class Growing:
    """A text that grows. Its top-level blocks become HTML as they are finished, the last one again and again.

    What it holds after some characters does not depend on the steps in which they came.
    """

    def __init__(self) -> None:
        self.finished = 0  # blocks that stay as they are
        self.length = 0  # characters of those
        self.open = ""  # the text of the last one, and of what is not known to be another yet
        self.is_plain = False
        self.level = 2  # of the last heading of those that are finished; that of the message comes before

    def grow(self, more: str) -> Change:
        """Add to the text. Links to definitions that come later are only found by `render`."""
        first, self.open = self.finished, self.open + more
        blocks: list[str] = []
        if not self.is_plain:
            blocks += self.grow_markdown()
        if self.is_plain:
            blocks += self.grow_plain()
        return Change(first, blocks)

    def grow_markdown(self) -> list[str]:
        room = LONGEST_MARKDOWN - self.length
        self.is_plain = len(self.open) > room
        if self.is_plain:
            room = self.open.rfind("\n", 0, room) + 1 or room
        text = self.open[:room]
        env: dict[str, Any] = {"colours": MOST_COLOURED, "level": self.level}
        groups = list(top_level(MARKDOWN.parse(text, env)))
        starts = starts_of(groups, text)
        blocks, levels = [], []
        for group, start, end in zip(groups, starts, [*starts, len(text)][1:], strict=False):
            if is_too_deep(group):
                blocks.append(plain_block(text[start:end].rstrip("\r\n")))
            else:
                blocks.append(sanitize(RENDERER.render(group, MARKDOWN.options, env)))
            levels.append(env["level"])
        count, characters = (len(groups), room) if self.is_plain else finished(starts, text)
        if count:
            self.level = levels[count - 1]
        self.finish(count, characters)
        return blocks

    def grow_plain(self) -> list[str]:
        blocks = []
        while len(self.open) > PLAIN_PIECE:
            end = self.open.rfind("\n", 0, PLAIN_PIECE) + 1 or PLAIN_PIECE
            blocks.append(plain_block(self.open[:end]))
            self.finish(1, end)
        return [*blocks, plain_block(self.open)] if self.open else blocks

    def finish(self, blocks: int, characters: int) -> None:
        self.finished += blocks
        self.length += characters
        self.open = self.open[characters:]


def render(text: str) -> list[str]:
    """The blocks of a text that is whole, as safe HTML."""
    return list((render_and_keep if len(text) <= LONGEST_KEPT else render_all)(text))


def render_all(text: str) -> Sequence[str]:
    return tuple(Growing().grow(text).blocks)


render_and_keep = lru_cache(KEPT)(render_all)


def plain_block(text: str) -> str:
    return f'<div class="block"><p class="plain">{escapeHtml(text)}</p></div>'


def sanitize(html: str) -> str:
    return f'<div class="block">{CLEANER.clean(html)}</div>'


def top_level(tokens: list[Token]) -> Iterator[list[Token]]:
    """The tokens of each block that is in no other."""
    group = []
    for token in tokens:
        group.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield group
            group = []


def starts_of(groups: list[list[Token]], text: str) -> list[int]:
    """How many characters of the text come before each of these."""
    lines = [0, *(found.end() for found in NEWLINE.finditer(text))]
    return [lines[group[0].map[0] if group[0].map else 0] for group in groups]


def finished(starts: list[int], text: str) -> tuple[int, int]:
    """How many blocks with these starts stay, whatever comes after the text, and how many characters that is."""
    if len(starts) < 2:
        return 0, 0
    # one whose first line is not whole may yet turn out to belong to the one before
    count = len(starts) - (1 if NEWLINE.search(text, starts[-1]) else 2)
    return count, starts[count] if count else 0


def is_too_deep(group: list[Token]) -> bool:
    """Whether the parser may have left out some of it."""
    return any(token.level >= DEEPEST - 1 for token in group)


# what we add to markdown-it


def inline(state: StateCore) -> None:
    """Its rule of this name, for texts that are not too long for it."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = token.children or []
        if len(token.content) > LONGEST_INLINE:
            token.children.append(Token("text", "", 0, content=token.content))
        else:
            state.md.inline.parse(token.content, state.md, state.env, token.children)


def line_break(state: StateInline, silent: bool) -> bool:
    """`<br>`, the one tag that models cannot do without: in cells of tables."""
    found = re.compile(r"<br ?/?>", re.IGNORECASE).match(state.src, state.pos)
    if not found:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = found.end()
    return True


def formula(state: StateInline, silent: bool) -> bool:
    """Maths, which stays as it was written."""
    found = FORMULA.match(state.src, state.pos)
    before = state.src[state.pos - 1 : state.pos]
    if not found or before == "\\" or (before.isalnum() and not found[0].startswith("\\")):
        return False
    if not silent:
        state.push("formula", "", 0).content = found[0]
    state.pos = found.end()
    return True


def formula_block(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """Maths on lines of its own, which are not to be taken for lists and the like; a blank line ends it, too.

    As with code, its first line alone says what it is: a growing text must not turn out to have been something else.
    """
    if state.is_code_block(line):
        return False
    first = line_at(state, line)
    begin, close = first[:2], FORMULA_ENDS.get(first[:2])
    if close is None or (first != begin and not (first.endswith(close) and len(first) > len(begin + close))):
        return False
    if silent:
        return True
    last = line
    while not is_end(state, line, last, close) and last + 1 < min(end, line + MOST_LINES_OF_FORMULA):
        if not line_at(state, last + 1):
            break
        last += 1
    written = state.getLines(line, last + 1, state.blkIndent, False).strip()
    token = state.push("formula_block", "", 0)
    token.content = written.removeprefix(begin).removesuffix(close).strip("\n")
    token.map = [line, last + 1]
    state.line = last + 1
    return True


def line_at(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()


def is_end(state: StateBlock, first: int, line: int, close: str) -> bool:
    text = line_at(state, line)
    return text.endswith(close) and (line > first or len(text) > len(close))


def show_formula(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<span class="math">{escapeHtml(tokens[index].content)}</span>'


def show_formula_block(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<div class="math" tabindex="0">{escapeHtml(tokens[index].content)}</div>'


def show_code(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """A block of code under the name of its language, coloured where that is known and the block not too long."""
    code = tokens[index].content
    language = (tokens[index].info.split() or [""])[0][:30]
    shown = escapeHtml(code)
    fits = len(code) <= min(LONGEST_CODE, env["colours"]) and max(map(len, code.splitlines()), default=0) < LONGEST_LINE
    if language.lower() in LANGUAGES and fits:
        env["colours"] -= len(code)
        shown = highlight(code, get_lexer_by_name(language.lower(), stripnl=False), FORMATTER)
    title = f'<span class="language">{escapeHtml(language)}</span>'
    return f'<div class="code">{title}<pre tabindex="0"><code>{shown}</code></pre></div>'


def show_image(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """A link to the image: to load it would tell its host who reads this."""
    address, name = str(tokens[index].attrs["src"]), escapeHtml(tokens[index].content)
    before = [token.type for token in tokens[:index]]
    if before.count("link_open") > before.count("link_close"):
        return name or escapeHtml(address)
    return f'<a href="{escapeHtml(address)}" target="_blank">{name or escapeHtml(address)}</a>'


def show_link(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("target", "_blank")
    return RENDERER.renderToken(tokens, index, options, env)


def show_heading(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Below those of the page, and no level left out: many answers begin with the second or third."""
    if tokens[index].nesting == 1:
        env["level"] = min(6, int(tokens[index].tag[1]) + 2, env["level"] + 1)
    tokens[index].tag = f"h{env['level']}"
    return RENDERER.renderToken(tokens, index, options, env)


def show_cell(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """With a class, for the page allows no styles."""
    token = tokens[index]
    if found := ALIGNMENT.match(str(token.attrs.pop("style", ""))):
        token.attrSet("class", found[1])
    return RENDERER.renderToken(tokens, index, options, env)


def wrap(html: str, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return html


def build_parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "linkify": True, "maxNesting": DEEPEST}
    markdown = MarkdownIt("commonmark", options).enable(["table", "strikethrough", "linkify"])
    markdown.validateLink = lambda url: bool(LINK.match(url))  # type: ignore[method-assign]
    if markdown.linkify:
        markdown.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    markdown.core.ruler.at("inline", inline)
    markdown.inline.ruler.before("escape", "formula", formula)
    markdown.inline.ruler.before("html_inline", "line_break", line_break)
    # what interrupts a paragraph is asked at each of its lines
    markdown.block.ruler.before("fence", "formula_block", formula_block, {"alt": ["paragraph", "reference"]})
    rules = {
        "formula": show_formula,
        "formula_block": show_formula_block,
        "fence": show_code,
        "code_block": show_code,
        "image": show_image,
        "link_open": show_link,
        "table_open": partial(wrap, '<div class="table" tabindex="0"><table>'),
        "table_close": partial(wrap, "</table></div>"),
        **dict.fromkeys(("heading_open", "heading_close"), show_heading),
        **dict.fromkeys(("th_open", "td_open"), show_cell),
    }
    renderer: Any = markdown.renderer
    for name, rule in rules.items():
        renderer.rules[name] = rule
    return markdown


MARKDOWN = build_parser()
RENDERER: Any = MARKDOWN.renderer
