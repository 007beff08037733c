"""Colours code. Runs in extractor processes, because some of Pygments' lexers take exponential time for some texts."""

from itertools import groupby
from operator import itemgetter

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

FORMATTER = HtmlFormatter(nowrap=True)


def colour_html(data: bytes, *, language: str) -> str:
    """The code as HTML with spans whose classes are Pygments' short names of token types."""
    return highlight(data.decode(), get_lexer_by_name(language, stripnl=False), FORMATTER)


def colour_tokens(data: bytes, *, language: str) -> list[tuple[str, str]]:
    """The code as pairs of a token type ("Keyword.Constant") and its text, for `string_to_tokentype`."""
    tokens = get_lexer_by_name(language, stripnl=False).get_tokens(data.decode())
    return [(".".join(kind), "".join(text for _, text in pairs)) for kind, pairs in groupby(tokens, itemgetter(0))]
