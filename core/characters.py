"""Characters that nobody sees, and characters that control what shows a text."""

import re

# C0, DEL and C1, and the separators of lines and paragraphs
CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
CONTROL = re.compile(f"[{CONTROLS}]")
DIRECTIONS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # of text from right to left
# Unicode's Default_Ignorable_Code_Point, the marks of annotations, and the Braille pattern without dots
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
NOT_FOR_TERMINALS = re.compile(rf"[{CONTROLS}{DIRECTIONS}\ud800-\udfff]")


def escape_controls(text: str) -> str:
    r"""The text with \x1b in place of an escape character: a terminal shows it, and does not obey it."""
    return NOT_FOR_TERMINALS.sub(lambda match: ascii(match[0])[1:-1], text)
