"""Formulas: which text of an answer is one, and its MathML.

Models write `$...$`, `$$...$$`, `\\(...\\)`, `\\[...\\]` and environments such as `align`. What cannot be read as a
formula stays as it was written.
"""

import re

from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from math_core import LatexError, LatexToMathML

LONGEST_FORMULA = 4_000  # characters
DEEPEST_FORMULA = 50  # levels of groups inside each other; the converter recurses
MOST_FORMULAS = 200  # of a message
MOST_LINES_OF_FORMULA = 30
LONGEST_ADDRESS = 300  # characters that are looked back for the beginning of an address

FORMULA = re.compile(
    rf"""
      \\\( .{{1,{LONGEST_FORMULA}}}? \\\)
    | \\\[ .{{1,{LONGEST_FORMULA}}}? \\\]
    | \$\$ [^$]{{1,{LONGEST_FORMULA}}} \$\$
    | \$ (?! [\s$] ) [^$\n]{{1,{LONGEST_FORMULA}}} (?<! [\s\\] ) \$
      (?! \d | {{ | (?! (?:th|st|nd|rd|s) \b ) [A-Za-z] )  # not $5 to $10, ${{a}}${{b}}, $HOME/$USER; but the $n$th
    """,
    re.VERBOSE | re.DOTALL,
)
MATHS = re.compile(r"[\\^_={}]")
WORD = re.compile(r"\s[A-Za-z]{2,}\s")
ENVIRONMENT = re.compile(
    r"\\begin(\{(?:equation|align|alignat|flalign|gather|multline|eqnarray|split|aligned|gathered|cases|array"
    r"|[pbBvV]?matrix)\*?\})"
)
FORMULA_ENDS = {"$$": "$$", "\\[": "\\]"}

GROUP = re.compile(r"\\(?:(begin|left)|(end|right))(?![A-Za-z])|\\.|({)|(})", re.DOTALL)
MACRO = re.compile(r"\\(?:[gex]?def|let|(?:re)?new|provide|Declare)", re.IGNORECASE)  # may expand to any length
NUMBERED = re.compile(r"(\\(?:begin|end)\{)(equation|align|alignat|flalign|gather|multline)\}")
OTHER_NAMES = {"{split}": "{aligned}", "{eqnarray}": "{align*}", "{eqnarray*}": "{align*}"}
STYLE = re.compile(r' style="([^"]*)"')
STYLE_CLASSES = {
    "text-align: right": "right",
    "text-align: left": "left",
    "width: 100%": "wide",
    "width: 50%": "margin",
    "padding-right: 0": "joins-next",
    "padding-left: 0": "joins-last",
    "border-right": "line-right",
    "border-top": "line-top",
}

CONVERTER = LatexToMathML(fancy_error=False)
MATHML_TAGS = {
    *("math", "mrow", "mi", "mn", "mo", "mtext", "ms", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "mpadded"),
    *("msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "mphantom"),
    *("mtable", "mtr", "mtd", "menclose"),
}
MATHML_ATTRIBUTES = {
    *("display", "displaystyle", "scriptlevel", "mathvariant", "class", "notation", "columnspan", "linethickness"),
    *("accent", "accentunder", "stretchy", "fence", "form", "largeop", "movablelimits", "symmetric"),
    *("lspace", "rspace", "minsize", "maxsize", "width", "height", "depth"),
}


def parse_formula(state: StateInline, silent: bool) -> bool:
    """A formula within a paragraph, and no price, variable of a shell, or part of an address."""
    match = FORMULA.match(state.src, state.pos)
    before = state.src[max(0, state.pos - LONGEST_ADDRESS) : state.pos]
    if not match or before.endswith("\\"):
        return False
    if match[0].startswith("$"):
        is_in_word = before[-1:].isascii() and before[-1:].isalnum()  # Chinese words have no spaces between them
        is_in_address = "://" in re.split(r"\s", before)[-1]
        has_words = match[0][1].isdigit() and not MATHS.search(match[0]) and WORD.search(match[0])  # $5 or so for 10$
        if is_in_word or is_in_address or has_words:
            return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content = match[0]
        size = 2 if match[0].startswith(("$$", "\\")) else 1
        token.info, token.block = match[0][size:-size], match[0].startswith(("$$", "\\["))
    state.pos = match.end()
    return True


def line_at(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()


def parse_formula_block(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """A formula on lines of its own, whose lines are no lists or headings. A blank line ends it, too.

    Like a block of code, its first line alone decides what it is, so that a growing text does not change its meaning.
    """

    if state.is_code_block(line):
        return False
    first = line_at(state, line)
    environment = ENVIRONMENT.match(first)
    opening = environment[0] if environment else first[:2]
    closing = f"\\end{environment[1]}" if environment else FORMULA_ENDS.get(opening)
    if closing is None:
        return False
    is_closed = first.endswith(closing) and len(first) > len(opening + closing)
    if first != opening and not is_closed and not environment:
        return False
    if silent:
        return True
    last = line
    while not is_closed and last + 1 < min(end, line + MOST_LINES_OF_FORMULA) and (text := line_at(state, last + 1)):
        last += 1
        is_closed = text.endswith(closing)
    token = state.push("formula_block", "", 0)
    token.content = state.getLines(line, last + 1, state.blkIndent, False).strip()
    if is_closed:
        token.info = token.content if environment else token.content[2:-2]
    token.block = True
    token.map = [line, last + 1]
    state.line = last + 1
    return True


def formula_html(source: str, latex: str, *, is_block: bool) -> str:
    """MathML of `latex`, or the source as text where that cannot be read, is too long or too deep."""
    if latex and len(latex) <= LONGEST_FORMULA and not MACRO.search(latex) and depth(latex) <= DEEPEST_FORMULA:
        latex = NUMBERED.sub(r"\1\2*}", latex)  # each formula would begin with (1)
        for name, other in OTHER_NAMES.items():
            latex = latex.replace(name, other)
        try:
            mathml = CONVERTER.convert_with_local_state(latex.strip(), displaystyle=is_block)
        except LatexError:
            pass
        else:
            return STYLE.sub(class_of_style, mathml)
    return f'<span class="math">{escapeHtml(source)}</span>'


def depth(latex: str) -> int:
    """How many groups lie inside each other at most."""
    level = deepest = 0
    for begins, ends, opens, closes in GROUP.findall(latex):
        level += bool(begins or opens) - bool(ends or closes)
        deepest = max(deepest, level)
    return deepest


def class_of_style(style: re.Match[str]) -> str:
    """Classes, because the page's content security policy allows no style attributes."""
    names = [name for part, name in STYLE_CLASSES.items() if part in style[1]]
    return f' class="{" ".join(names)}"' if names else ""
