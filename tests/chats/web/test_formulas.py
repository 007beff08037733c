"""Which text of an answer is a formula, and which formulas are shown as such."""

import pytest

from chats.colouring import Colourer
from chats.web import markdown
from chats.web.formulas import DEEPEST_FORMULA, LONGEST_FORMULA, MOST_FORMULAS
from chats.web.markdown import MarkdownStream

MONEY = [
    "$5 and $6",
    "from $5 to $10",
    "It costs $5, or $6.",
    "US$5 and A$7",
    "5$ or 6$",
    "between $5 and 10$",
    "$5-$10",
    "$20k/$30k",
    "$1,000.50 and $2,000.75",
    "($5) and ($6)",
    "**$5** and **$6**",
    "R$ 50 e R$ 60",
    "$ 5 and $ 6",
    "pay $5.",
    "$5 (about €4) or $6",
    "a price of $5/month, not $6/month",
    "$HOME and $PATH",
    "$HOME/$USER",
    "${a}${b}",
    "cd $HOME/x; ls $PWD",
    "`$x$` and `$y$`",
    "    $x$",
    "```\n$x$\n```",
    "https://example.com/?a=$b$&c=$d$",
    "[here](https://example.com/$a$)",
    "| $5 | $6 |\n|-|-|\n| $7 | $8 |",
    "\\$x\\$",
    "a$x$b",
    "$x $y",
    "$ $",
    "$\n$",
    "the $ sign, and again the $",
    "$x",
    "\\(x",
    "\\[x",
    "$1 bills, $5 bills, and $10 bills",
    "save $100 to $200 a year",
    "$5,$6,$7",
    "he has 100$ and she 200$",
    "$5 each, or 3 for 10$",
]
MATHS = [
    "$x$",
    "$x^2$",
    "$5$",
    "$5 + 6$",
    "$5 \\text{ and } 6$",
    "the $n$th",
    "the $1$st, $2$nd and $3$rd",
    "$x$-axis",
    "($x$)",
    "**$x$**",
    "$x$, $y$ and $z$",
    "it costs $5, and $x$ is free",
    "设$x$为",
    "$x$为$y$",
    "für $x \\geq 0$ gilt",
    "$a_1, a_2$",
    "$\\alpha$",
    "$|x|$",
    "$f(x) = 5$",
    "$0 \\le x < 1$",
    "$x = 5$ and $y = 6$",
    "$$x$$",
    "$$\nx\n$$",
    "$$\nx\n= y\n$$",
    "text $$x$$ text",
    "\\(x\\)",
    "\\( x \\)",
    "\\[x\\]",
    "\\[\nx\n\\]",
    "a \\[x\\] b",
    "- $x$",
    "> $x$",
    "# $x$",
    "| $x$ |\n|-|\n| $y$ |",
    "1. $$\n   x\n   $$",
    "\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}",
    "\\begin{equation}\\begin{split} a &= b \\end{split}\\end{equation}",
    "\\begin{cases} 1 & x > 0 \\\\ 0 \\end{cases}",
    "$\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}$",
    "$\\frac{\\sqrt{\\pi}}{2}$",
]
UNREADABLE = [
    "\\frac{a",
    "a}",
    "\\nosuchcommand{x}",
    "\\def\\a{\\a\\a}\\a",
    "\\newcommand{\\a}{xx}\\a",
    "\\style{background:url(https://evil.example)}{x}",
    "a & b",
    "\\left( x",
    "{" * (DEEPEST_FORMULA + 1) + "x" + "}" * (DEEPEST_FORMULA + 1),
    "\\left(" * (DEEPEST_FORMULA + 1) + "x" + "\\right)" * (DEEPEST_FORMULA + 1),
    "x" * LONGEST_FORMULA + "y",
]


def html_of(text: str) -> str:
    return "".join(markdown.render(text, Colourer("colour_html")))


@pytest.mark.parametrize("text", MONEY)
def test_money_and_code_stay(text: str) -> None:
    html = html_of(text)
    assert "<math" not in html and 'class="math"' not in html


@pytest.mark.parametrize("text", MATHS)
def test_maths_becomes_mathml(text: str) -> None:
    html = html_of(text)
    assert "<math" in html
    assert 'class="math">' not in html and "\\begin" not in html  # no source


@pytest.mark.parametrize("latex", UNREADABLE)
def test_what_cannot_be_read_stays_source(latex: str) -> None:
    html = html_of(f"$$\n{latex}\n$$")
    assert "<math" not in html and '<span class="math">' in html
    assert latex.replace("&", "&amp;") in html


def test_deep_groups_are_read_up_to_a_limit() -> None:
    assert "<math" in html_of(f"${'{' * DEEPEST_FORMULA}x{'}' * DEEPEST_FORMULA}$")


@pytest.mark.parametrize("step", [7, 10_000])
def test_a_message_has_so_many_formulas(step: int) -> None:
    text = "$x$\n\n" * (MOST_FORMULAS + 5)
    growing, blocks = MarkdownStream(), []
    for start in range(0, len(text), step):
        change = growing.render(growing.parse(text[start : start + step]), {})
        blocks[change.first :] = change.blocks
    assert "".join(blocks).count("<math") == MOST_FORMULAS
    assert "".join(blocks).count('<span class="math">$x$</span>') == 5


def test_a_formula_that_grows_is_source_until_its_end() -> None:
    growing = MarkdownStream()
    assert "<math" not in growing.render(growing.parse("$$\nx^2"), {}).blocks[0]
    assert "<math" in growing.render(growing.parse("\n$$"), {}).blocks[0]


def test_equations_have_no_numbers_but_their_own() -> None:
    assert "(1)" not in html_of("\\begin{align}\na &= b\n\\end{align}")
    assert "(7)" in html_of("\\begin{equation}\na = b \\tag{7}\n\\end{equation}")
