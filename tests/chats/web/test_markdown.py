"""Markdown of whoever it comes from, as HTML that can be shown."""

import re
import time
from html.parser import HTMLParser

import pytest

from chats.colouring import Colourer
from chats.web import markdown
from chats.web.formulas import MATHML_ATTRIBUTES, MATHML_TAGS
from chats.web.markdown import LONGEST_MARKDOWN, BlockChange, MarkdownStream

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "script in a cell": "|a|\n|-|\n|<script>alert(1)</script>|",
    "handler": '<img src=x onerror="alert(1)"> <b onclick=alert(1)>b</b>',
    "iframe": '<iframe src="https://evil.example"></iframe><object data="https://evil.example"></object>',
    "svg": "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "style": "<style>@import url(https://evil.example/x.css)</style><p style='background:url(https://evil.example)'>",
    "form": "<form action=https://evil.example><input name=q><button>Sign in</button></form>",
    "meta": '<meta http-equiv=refresh content="0;url=https://evil.example"><base href=https://evil.example>',
    "broken": '</div></article><div <p \'"><<<script</script x="',
    "comment": "<!-- --!><script>alert(1)</script> -->",
    "javascript link": "[x](javascript:alert(1)) [y](JaVaScRiPt:alert(1)) [z](\tjava\nscript:alert(1))",
    "encoded link": "[x](javascript&#58;alert(1)) [y](&#106;avascript:alert(1)) <javascript:alert(1)>",
    "data link": "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==) [y](vbscript:x) [z](file:///etc/passwd)",
    "own link": "[sign out](/sign-out) [x](//evil.example) [y](#main) [z](?q=1)",
    "reference": "[x]\n\n[x]: javascript:alert(1)",
    "image": "![i](https://evil.example/pixel.png) ![j](data:image/svg+xml;base64,PHN2Zz4=) ![k](javascript:alert(1))",
    "image in link": '[![i](https://evil.example/i.png "t")](https://example.com "\\" onmouseover=alert(1) x=\\"")',
    "quotes": '[x](https://example.com/"onmouseover=alert(1)) ![" onerror="alert(1)](https://example.com)',
    "language": '```"><script>alert(1)</script>\ncode\n```\n\n```py onload=alert(1)\n"</code></pre><script>"\n```',
    "formula": "$<script>alert(1)</script>$ and\n\n$$\n<img src=x onerror=alert(1)>\n$$",
    "MathML": "<math href=javascript:alert(1)><mtext><img src=x onerror=alert(1)></mtext></math>",
    "style in LaTeX": r"$\style{background:url(https://evil.example)}{x}$ and $\color{red\" onx=y}{z}$",
    "link in LaTeX": r"$\href{javascript:alert(1)}{x}$ and $\url{https://evil.example}$ and $\unicode{x3C}$",
    "HTML in LaTeX": r"$\text{<img src=x onerror=alert(1)>}$ and $$\text{</math><script>alert(1)</script>}$$",
    "mutation": r"$$\text{<mglyph><style><!--</style><img title=\"--><img src=x onerror=alert(1)>\">}$$",
    "annotation": r"$\text{</mtext><annotation-xml encoding=\"text/html\"><script>alert(1)</script>}$",
    "details": "<details open>\n<summary onclick=alert(1)>x</summary>\n<script>x</script>\n</details>",
    "summary": "<details>\n<summary><img src=x onerror=alert(1)></summary>\n[x](javascript:alert(1))\n</details>",
    "footnote": '[^"><script>alert(1)</script>]\n\n[^"><script>alert(1)</script>]: <b onclick=alert(1)>',
    "task": "- [x] <input type=checkbox onclick=alert(1)>",
    "line break": "<br onclick=alert(1)> <br/ ><br\n>",
    "characters": "\0 \u202e evil \u2028 \U0001f4a9 &#0; &#xd83d; &NotAnEntity; &lt;script&gt;",
}
ALLOWED = {
    **{name: {"class"} for name in ("p", "code", "span", "th", "td", "li")},
    **dict.fromkeys(MATHML_TAGS, MATHML_ATTRIBUTES),
    **{name: set() for name in ("br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "sup", "strong", "em", "s")},
    **{name: set() for name in ("summary", "details", "table", "thead", "tbody", "tr")},
    "a": {"href", "title", "target", "rel"},
    "div": {"class", "tabindex", "dir"},
    "pre": {"tabindex"},
    "ol": {"start"},
}
SOME = """Term
----
A *word* and `code`, [a link](https://example.com/a_b?x=1&y=2), https://example.com/bare, ~~gone~~.
Next line<br>after

- one

- two
  - nested

    more of it

1. first
para lazily
> quote
- list
--

| a | b |
|:--|--:|
| 1 | 2 |

```python
def due(days: int) -> "date":

    return days
```

    indented

end of \\(x_1*y*z\\) and $5 to $10 and $a_b*c*d$

$$
- a
= b
$$
- [ ] to do
- [x] *done*

noted[^1]

[^1]: The note

    goes on

<details>
<summary>More</summary>
inside

<details><summary>deeper</summary>
- a
</details>

back
</details>

\\begin{align*}
a &= b \\\\
  &= c
\\end{align*}
***
# Last
"""
LONG = {
    "list": "- a\n",
    "table": "|a|b|\n|-|-|\n" + "|1|2|\n" * 100,
    "brackets": "[",
    "images": "![",
    "emphasis": "*a **b _c ",
    "backticks": "`a``b```c",
    "quotes": ">",
    "quoted lines": "> a\n",
    "lists in quotes": "> 1. ",
    "lists in quotes on lines": "> 1. " * 15 + "a\n",
    "references": "[a]: http://x\n",
    "formulas": "$$a\n",
    "dollars": "$a ",
    "links": "https://a.",
    "tags": "<a ",
    "one word": "x",
}


def append(growing: MarkdownStream, text: str) -> BlockChange:
    parsed = growing.parse(text)
    return growing.render(parsed, Colourer("colour_html").colour_sync(parsed.codes))


def render(text: str) -> list[str]:
    return markdown.render(text, Colourer("colour_html"))


class Tags(HTMLParser):
    """Every tag of a text must be one that may be shown."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= ALLOWED[tag], (tag, attrs)
        if address := dict(attrs).get("href"):
            assert re.match(r"(https?://|mailto:)", address)
            assert dict(attrs)["rel"] == "noopener noreferrer nofollow"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_that_acts_is_let_through(text: str) -> None:
    for block in render(text):
        Tags().feed(block)
    for block in append(MarkdownStream(), text[:-3]).blocks:
        Tags().feed(block)


def test_it_says_what_was_written() -> None:
    html = "".join(render(SOME))
    for part in (
        "<h3>Term</h3>",  # no level is left out, though it is one of the second
        "<em>word</em>",
        '<a href="https://example.com/a_b?x=1&amp;y=2" target="_blank" rel="noopener noreferrer nofollow">a link</a>',
        'href="https://example.com/bare"',
        "<s>gone</s>",
        "Next line<br>",
        '<td class="right">2</td>',
        '<span class="language">python</span>',
        '<span class="k">def</span>',
        "<msub><mi>x</mi><mn>1</mn></msub>",
        "</math> and $5 to $10 and <math>",
        '<div class="math" tabindex="0"><math display="block">',
        '<li class="task">\N{BALLOT BOX} to do</li>',
        '<li class="task">\N{BALLOT BOX WITH CHECK} <em>done</em></li>',
        "noted<sup>[1]</sup>",
        '<div class="footnote"><sup>[1]</sup><p>The note</p>',
        "<details>\n<summary>More</summary>\n<p>inside</p>\n<details>",
    ):
        assert part in html
    assert '<a href="https://example.com/i.png" ' in "".join(render("![what it shows](https://example.com/i.png)"))


@pytest.mark.parametrize("step", [1, 2, 5, 17, 1000])
def test_a_growing_text_ends_as_one_that_is_whole(step: int) -> None:
    growing, blocks, seen = MarkdownStream(), [], []
    for start in range(0, len(SOME), step):
        change = append(growing, SOME[start : start + step])
        seen.append(change.first)
        blocks[change.first :] = change.blocks
    assert blocks == render(SOME)
    assert seen == sorted(seen)
    assert step > 5 or max(seen) > 10  # what is finished stays


def test_where_a_text_stands_does_not_depend_on_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one can read on after any number of characters."""
    monkeypatch.setattr(markdown, "LONGEST_MARKDOWN", 1_000)
    monkeypatch.setattr(markdown, "PLAIN_PIECE", 200)
    text = SOME + "x" * 500 + "\n" + "word " * 200
    assert len(SOME) < 1_000 < len(text) - 400
    for end in (0, 10, 100, 333, len(SOME), len(SOME) + 10, len(text) - 200, len(text)):
        at_once, in_steps = MarkdownStream(), MarkdownStream()
        append(at_once, text[:end])
        for start in range(0, end, 13):
            append(in_steps, text[start : min(end, start + 13)])
        assert vars(at_once) == vars(in_steps)


@pytest.mark.parametrize("unit", LONG.values(), ids=LONG)
def test_no_text_takes_long(unit: str) -> None:
    began = time.process_time()
    blocks = render(unit * (6_000 // len(unit)))
    assert time.process_time() - began < 5
    assert blocks or unit.startswith("[a]:")


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(("levels", "is_plain"), [(10, False), (25, True)])
def test_nothing_is_lost_where_lists_nest_deeply(levels: int, is_plain: bool, step: int) -> None:
    items = "".join(f"{'  ' * level}- item{level}\n" for level in range(levels))
    text = f"*Before*\n\n{items}\n{'>' * levels * 2} quoted\n\nAfter <b>\n"
    growing, blocks = MarkdownStream(), []
    for start in range(0, len(text), step):
        change = append(growing, text[start : start + step])
        blocks[change.first :] = change.blocks
    assert blocks == render(text)
    html = "".join(blocks)
    for part in ("<em>Before</em>", *(f"item{level}" for level in range(levels)), "quoted", "After &lt;b&gt;"):
        assert part in html
    assert ('<p class="plain">- item0' in html) == is_plain


def test_what_is_very_long_is_shown_as_it_is() -> None:
    text = "Lorem *ipsum* dolor.\n\n" * 10_000
    began = time.process_time()
    blocks = render(text)
    assert time.process_time() - began < 10
    plain = [block for block in blocks if 'class="plain"' in block]
    assert "<em>" in blocks[0]
    assert sum(map(len, plain)) > len(text) - LONGEST_MARKDOWN - 10
    code = "".join(render("```python\n" + "x = 1  # comment\n" * 5_000 + "```"))
    assert code.count("x = 1  # comment") == 5_000
