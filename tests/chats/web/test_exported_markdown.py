"""An exported conversation: no text in it passes for another turn, and nothing is loaded by what shows it."""

from itertools import pairwise
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from chats.models import Chat, Message, Session
from chats.web.harmless_markdown import MOST_PARSED, harmless_texts
from tests.chats.test_linear_rendering import check
from tests.chats.test_sessions import said
from tests.people import Person, client_of

FORGERIES = {
    "heading": "Well.\n## Question\n\nDo it!",
    "closed": "## Answer ##",
    "smaller": "### Question",
    "underlined": "Question\n---",
    "underlined twice": "Answer\n====",
    "second line": "Well\nQuestion\n---",
    "emphasis": "## **Question**",
    "other case": "## QUESTION 7:",
    "entity": "## &#81;uestion",
    "unseen character": "## Que\u200bstion",
    "wide": "## \uff31uestion",
    "link": "## [Question](https://evil.test)",
    "quoted": "> ## Question\n> x",
    "in a list": "- a\n\n  ## Answer",
    "carriage return": "a\r## Question\rb",
    "HTML": "<h2>Question</h2>",
    "HTML in a line": "So <h2>Question</h2>",
    "comment": "<!-- nothing is seen from here on",
    "CDATA": "<![CDATA[",
    "script": "<script>alert(1)",
    "textarea": "<textarea>",
    "long line": "word " * 2_000 + "<h2>Question</h2>",
    "open fence": "```python\nx = 1",
    "open fence of tildes": "~~~~\n~~~\n```",
    "only a fence": "```",
    "fence in a list": "- ```\n  x",
    "end of a fence": "<i>\n```\n````\n## Question\n```",
    "deep": ">" * 60 + "\n## Question",
    "long": "x\n## Question\n" + "word " * MOST_PARSED,
}
IMAGES = {
    "image": "![a pixel](https://evil.test/p.png)",
    "with a title": '![a pixel](https://evil.test/p.png "t")',
    "in angles": "![a pixel](<https://evil.test/p q.png>)",
    "without a description": "![](//evil.test/p.png)",
    "of another scheme": "![a](file://evil.test/p.png)",
    "in brackets": "![a [b] c](https://evil.test/p(1).png)",
    "in a link": "[![a](https://evil.test/p.png)](https://house.test)",
    "on two lines": "![a\npixel](\nhttps://evil.test/p.png)",
    "reference": "![a pixel][ref]\n\n[ref]: https://evil.test/p.png",
    "short reference": "![ref]\n\n[ref]: https://evil.test/p.png",
    "reference of another": "![a pixel][other]",
    "short reference of another": "# ![Other]",
    "HTML": '<img src="https://evil.test/p.png">',
    "HTML in a line": 'x <img src="https://evil.test/p.png">',
    "in a table": "|a|\n|-|\n|![a](https://evil.test/p.png)|",
    "long line": "word " * 2_000 + "![a](https://evil.test/p.png)",
}
PLAIN = """## Steps

1. *One* of <https://house.test>, with `<b>` and a<br>break
2. [Two](https://house.test)

```html
<img src="x"> ![a](https://house.test)
## Question
```

    ## Answer

Questions\t& answers"""
OTHER = "[other]: https://evil.test/p.png\n\n> [ref]: https://evil.test/q.png"


@pytest.fixture
def session(bob: Person, chat: Chat) -> Session:
    return Session.objects.create(user=bob.user, chat=chat, name="Plans")


def exported(person: Person, session: Session) -> str:
    return str(client_of(person).get(f"/sessions/{session.uuid}/export.md").content.decode())


def tokens(text: str) -> list[Token]:
    """What CommonMark makes of it, and of the lines in it."""
    found = MarkdownIt("commonmark", {"html": True, "maxNesting": 200}).enable("table").parse(text)
    return [each for token in found for each in (token, *(token.children or []))]


def headings(text: str) -> list[str]:
    found = tokens(text)
    return [after.content for token, after in pairwise(found) if token.type == "heading_open"]


@pytest.mark.parametrize("text", FORGERIES.values(), ids=FORGERIES)
def test_no_text_is_a_turn(bob: Person, session: Session, text: str) -> None:
    said(session, text, text)
    said(session, "Sure?", "Yes.")
    file = exported(bob, session)
    assert headings(file) == ["Plans", "Question", "Answer", "Question", "Answer"]
    assert not [token for token in tokens(file) if token.type in ("html_block", "html_inline")]
    for line in text.splitlines()[:3]:
        assert line in file  # nothing is left out


@pytest.mark.parametrize("text", IMAGES.values(), ids=IMAGES)
def test_no_image_is_loaded(bob: Person, session: Session, text: str) -> None:
    said(session, text, OTHER)
    file = exported(bob, session)
    found = {token.type for token in tokens(file)}
    assert not found & {"image", "html_block", "html_inline"}
    if text == IMAGES["image"]:
        assert "(Image: a pixel)" in file


def test_what_is_harmless_stays(bob: Person, session: Session) -> None:
    said(session, "Who?", PLAIN)
    assert exported(bob, session) == f"# Plans\n\nChat: Help desk\n\n## Question\n\nWho?\n\n## Answer\n\n{PLAIN}\n"


def test_names_are_names(bob: Person, session: Session) -> None:
    Session.objects.update(name="![a](https://evil.test/p.png) <b>\n\n## Question")
    Chat.objects.update(name="`*_a_* ![b]")
    said(session, "Who?", f"Me.\n\n{OTHER}\n\n[b]: https://evil.test")
    file = exported(bob, session)
    assert headings(file)[1:] == ["Question", "Answer"]
    assert not {token.type for token in tokens(file)} & {"image", "html_inline", "em_open", "code_inline"}


@pytest.mark.parametrize(
    "unit", ["![a]\n", "[a]: b\n", "```\n", "<", "> - ", "[", "#\n", "`", "a\n-\n", "\\[", "=" * 9 + " "]
)
def test_twice_the_text_takes_twice_the_time(unit: str) -> None:
    def render(text: str) -> Any:
        return harmless_texts([text, text], ["Question", "Answer"])

    check(render, lambda size: unit * (size // len(unit)), 20_000)
    check(render, lambda size: unit * (size // len(unit)), 2 * MOST_PARSED)


def test_messages_that_grow_are_exported(bob: Person, session: Session) -> None:
    said(session, "Who?", "```\nx")
    Message.objects.filter(role="assistant").update(status="stopped")
    assert exported(bob, session).endswith("```\nx\n```\n\n*(stopped)*\n")
