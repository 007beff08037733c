"""Shows the characters that change the direction of a text: unseen, they make it look like another text."""

import re

SHOWN = {code: f"⟨U+{code:04X}⟩" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
IN_UTF_8 = re.compile(b"\xe2(\x80[\xaa-\xae]|\x81[\xa6-\xa9])")
FIELD = re.compile(r"(<textarea\b.*?</textarea>|<(?:input|option)\b[^>]*>)", re.DOTALL | re.IGNORECASE)


def show_bidi(text: str) -> str:
    """The text with embeddings, overrides and isolates by their numbers."""
    return text.translate(SHOWN)


def show_bidi_in_page(html: bytes) -> bytes:
    """A page with these characters by their numbers. What a form would send back stays as it is."""
    pieces = FIELD.split(html.decode())
    pieces[::2] = map(show_bidi, pieces[::2])
    return "".join(pieces).encode()
