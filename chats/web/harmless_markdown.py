"""Texts for a file of markdown that has several of them: none can pass for another one, or load an image.

Whatever shows the file may obey HTML, and does not know where a text ends.
"""

import re
import unicodedata
from collections.abc import Sequence

from django.utils.translation import gettext
from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token
from markdown_it.utils import EnvType

from chats.web.markdown import NEWLINE, group_blocks
from chats.web.markdown_parser import LINE_BREAK, LONGEST_INLINE, MOST_NESTING, parse_inline

MOST_PARSED = 500_000  # characters of a file, because parsing takes seconds; other texts are put in fences as a whole

RISK = re.compile(r"[<#]|!\[|```|~~~|^[ \t>]*(=+|-+)[ \t]*$", re.MULTILINE)
IMAGE = re.compile(r"!\[([^\[\]]*)\]\([^()\n]*\)")
DEFINITION = re.compile(r"^[ \t>*+\-\d.)]*\[((?:\\.|[^\[\]\\]){1,999})\]:", re.MULTILINE)
SPECIAL = re.compile(r"([\\`*_\[\]<>!#&~|])")
BACKTICKS = re.compile("`{3,}")

PARSER = MarkdownIt("commonmark", {"html": True, "maxNesting": MOST_NESTING})
PARSER.core.ruler.at("inline", parse_inline)


def escape_name(name: str) -> str:
    """A name for the line of a heading."""
    return SPECIAL.sub(r"\\\1", " ".join(name.split()))


def harmless_texts(texts: Sequence[str], headings: Sequence[str]) -> list[str]:
    """The texts of a file. Put in fences is what may look like one of the headings of the file, and HTML.

    Of images only their descriptions are left.
    """
    parsed, words, shown = 0, [letters(heading) for heading in headings], []
    names = {normalizeReference(name) for text in texts for name in DEFINITION.findall(text)}
    env: EnvType = {"references": {name: {"href": "", "title": ""} for name in names}}  # for images of other texts
    for text in texts:
        if not RISK.search(text):
            shown.append(text)
        elif parsed + len(text) > MOST_PARSED:
            shown.append(put_in_fence(text))
        else:
            parsed += len(text)
            shown.append(harmless(NEWLINE.sub("\n", text), env, words))
    return shown


def harmless(text: str, env: EnvType, headings: Sequence[str]) -> str:
    lines, parts, done = text.split("\n"), [], 0
    for group in group_blocks(PARSER.parse(text, env)):
        start, end = group[0].map or (done, done)
        parts += lines[done:start]  # blank ones, and definitions of references
        block, done = "\n".join(lines[start:end]), end
        if any(child.type == "image" for token in group for child in token.children or []):
            block = IMAGE.sub(rf"({gettext('Image')}: \1)", block)
            group = PARSER.parse(block, env)
        if is_harmful(group, headings):
            block = put_in_fence(block)
        elif group[0].type == "fence" and end - start - 1 == len(group[0].content.splitlines()):  # it has no end
            block = f"{block}\n{group[0].markup}"
        parts.append(block)
    return "\n".join([*parts, *lines[done:]])


def put_in_fence(text: str) -> str:
    fence = max(["```", *(found + "`" for found in BACKTICKS.findall(text))], key=len)
    return f"{fence}\n{text}\n{fence}"


def is_harmful(block: Sequence[Token], headings: Sequence[str]) -> bool:
    """Whether HTML, an image or one of the headings is in it."""
    opened = ""
    for token in block:
        children = token.children or []
        if token.type == "html_block" or token.level >= MOST_NESTING - 1:  # deeper, the parser drops text
            return True
        if len(token.content) > LONGEST_INLINE and token.type == "inline" and re.search(r"<|!\[", token.content):
            return True  # it was not parsed
        if any(child.type == "image" or is_tag(child) for child in children):
            return True
        if opened == "heading_open":
            shown = "".join("\n" if child.type.endswith("break") else child.content for child in children)
            if any(letters(line).startswith(tuple(headings)) for line in shown.split("\n")):
                return True
        opened = token.type
    return False


def is_tag(token: Token) -> bool:
    return token.type == "html_inline" and not LINE_BREAK.fullmatch(token.content)


def letters(text: str) -> str:
    """What of a heading is not punctuation, numbers or unseen, in one form."""
    return "".join(filter(str.isalpha, unicodedata.normalize("NFKC", text).casefold()))
