"""Text is cut between the characters that people see."""

import pytest

from chats.graphemes import cut_graphemes

GRAPHEMES = [
    "\r\n",
    "e\u0301",  # an accent of its own
    "o\u0302\u0323",
    "👩🏽‍🚒",  # a person, a skin tone and a profession
    "👩‍❤️‍💋‍👨",
    "🇵🇹",  # two letters that make a flag
    "🏴󠁧󠁢󠁷󠁬󠁳󠁿",  # a flag of tags
    "7\ufe0f\u20e3",
    "\u1112\u1161\u11ab",  # the parts of a Korean syllable
    "กำ",
    "நி",
    "क्षि",
]


@pytest.mark.parametrize("grapheme", GRAPHEMES)
def test_no_grapheme_is_cut(grapheme: str) -> None:
    text = f"ab{grapheme}cd"
    size = len(grapheme)
    for longest in range(2, 2 + size):
        assert cut_graphemes(text, longest) == "ab"
    assert cut_graphemes(text, 2 + size) == f"ab{grapheme}"
    assert cut_graphemes(text, len(text)) == text


def test_flags_are_cut_between_pairs() -> None:
    assert cut_graphemes("🇵🇹🇫🇷🇩🇪", 5) == "🇵🇹🇫🇷"


def test_what_is_too_long_itself_is_cut() -> None:
    assert cut_graphemes("a" + "\u0301" * 1_000, 60) == "a" + "\u0301" * 59
