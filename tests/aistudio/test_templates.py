"""What holds for all our templates: every word can be translated, and no script or style is inline."""

import re
from pathlib import Path

import pytest
from django.template.base import Lexer, TokenType

from tests.live import ROOT

NAMES = {"AI Studio", "· AI Studio", "ms", "with-sidebar", "bare"}  # the same in every language, and no words
OURS = sorted(
    file
    for folder in ("aistudio", "chats", "core", "groups", "usage")
    for file in (ROOT / folder / "templates").rglob("*.html")
    if not {"unfold", "admin"} & set(file.parts)
)


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.name)
def test_every_word_can_be_translated(file: Path) -> None:
    kept, inside = "", False
    for token in Lexer(file.read_text()).tokenize():
        if token.token_type == TokenType.BLOCK:
            inside = {"blocktranslate": True, "endblocktranslate": False}.get(token.contents.split()[0], inside)
            kept += "\n"
        elif token.token_type == TokenType.TEXT and not inside:
            kept += token.contents
    spoken = re.findall(r'\b(?:aria-label|title|placeholder|alt)="([^"]+)"', kept)
    written = re.sub(r"<[^>]*>", "\n", re.sub(r"<(\w[^<]*?)>", "\n", kept))
    words = [text.strip() for text in [*spoken, *written.split("\n")] if re.search(r"[A-Za-z]{2}", text)]
    assert not set(words) - NAMES


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.name)
def test_nothing_is_inline(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


def test_the_pages_are_light() -> None:
    files = [file for folder in ("aistudio", "chats") for file in (ROOT / folder / "static").rglob("*.*s")]
    assert {file.suffix for file in files} == {".js", ".css"}
    assert sum(file.stat().st_size for file in files) < 90_000  # bytes, before compression
