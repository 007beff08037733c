"""Cuts text between graphemes, the characters that people see: an emoji or an accented letter can be several."""

from itertools import takewhile

import regex

GRAPHEME = regex.compile(r"\X")


def cut_graphemes(text: str, longest: int) -> str:
    """The beginning of the text: as many whole graphemes as `longest` code points hold."""
    if len(text) <= longest:
        return text
    ends = (grapheme.end() for grapheme in GRAPHEME.finditer(text))
    return text[: max(takewhile(lambda end: end <= longest, ends), default=longest)]
