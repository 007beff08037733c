"""`core` is a library: nothing in it names an app, in Python, templates, scripts or style sheets."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.live import ROOT

APPS = sorted(each.parent.name for each in ROOT.glob("*/apps.py") if each.parent.name not in ("core", "aistudio"))
FILES = sorted(
    file
    for file in (ROOT / "core").rglob("*")
    if file.suffix in (".py", ".html", ".js", ".css") and "migrations" not in file.parts
)
# A module, a path, a table or a URL name of an app. An attribute of that name, such as answer.usage, is none.
REFERENCE = re.compile(rf"(?<![\w.])(?:{'|'.join(APPS)})(?:[./:]\w|_[a-z]+_)")
WORD = re.compile(rf"\b(?:{'|'.join(APPS)}|conversations?)\b")
URL_NAME = re.compile(r"{% url ['\"]|\b(?:reverse|reverse_lazy|redirect)\(['\"](?!admin:)")


def names(text: str, suffix: str) -> Iterator[str]:
    """What in a file names an app."""
    yield from (found[0] for found in URL_NAME.finditer(text))
    if suffix != ".py":
        yield from (found[0] for found in WORD.finditer(text))
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] in (*APPS, "aistudio"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in (*APPS, "aistudio"):
            yield node.module
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (node.value in APPS or REFERENCE.search(node.value))
        ):
            yield node.value


def test_there_are_apps_and_files() -> None:
    assert {"chats", "groups", "llms", "usage"} <= set(APPS)
    assert {".py", ".html", ".js", ".css"} == {file.suffix for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_core_names_no_app(file: object) -> None:
    path = ROOT / str(file)
    assert list(names(path.read_text(), path.suffix)) == []


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("from chats.models import Chat", ".py"),
        ("import usage.checks", ".py"),
        ("url = reverse('admin:chats_chat_changelist')", ".py"),
        ("url = reverse('sign-in')", ".py"),
        ("apps.get_app_config('groups')", ".py"),
        ("import_module('llms.vendors.http')", ".py"),
        ("{% url 'home' %}", ".html"),
        ('{% include "chats/sidebar.html" %}', ".html"),
        (".conversation { position: relative; }", ".css"),
        ('fetch("/chats/1")', ".js"),
    ],
)
def test_the_test_finds_names(text: str, suffix: str) -> None:
    assert list(names(text, suffix))
