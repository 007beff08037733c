"""Imports point down, and stand at the top of files."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (  # from the top; what stands in one line is strange to each other
    ("wiring",),
    ("gateway", "chats"),
    ("sources",),
    ("tools",),
    ("usage",),
    ("llms",),
    ("groups",),
    ("bricks",),
)
APPS = sorted({name for layer in LAYERS for name in layer} - {"wiring", "bricks"})
WIRING = (
    "aistudio.urls",
    "aistudio.api",
    "aistudio.asgi",
    "aistudio.serving",
    "aistudio.probes",
    "aistudio.management",
)
ABOVE_MODELS = {"serializers", "views", "admin"}


def part_of(module: str) -> str | None:
    """The part of the house that a module belongs to; None when it is not ours."""
    if any(f"{module}.".startswith(f"{wiring}.") for wiring in WIRING):
        return "wiring"
    package = module.partition(".")[0]
    return "bricks" if package == "aistudio" else package if package in APPS else None


def may_import(importer: str, imported: str) -> bool:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    return importer == imported or level[importer] < level[imported]


@cache
def modules() -> dict[str, Path]:
    """Every module of ours, by its dotted name."""
    folders = [ROOT / name for name in ("aistudio", *APPS)]
    files = [file.relative_to(ROOT) for folder in folders for file in folder.rglob("*.py")]
    return {".".join(file.with_suffix("").parts).removesuffix(".__init__"): ROOT / file for file in files}


def imports(module: str, tree: ast.AST) -> Iterator[str]:
    """What is imported, each name in full: `from a import b` is `a.b`, be it a module or something in one."""
    is_package = modules()[module].name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    importer = part_of(module)
    assert importer
    upward = [
        imported
        for imported in imports(module, tree_of(module))
        if (part := part_of(imported)) and not may_import(importer, part)
    ]
    assert not upward


@pytest.mark.parametrize("module", [name for name in modules() if name.endswith(".models")])
def test_models_know_nothing_of_what_shows_them(module: str) -> None:
    ours = [imported for imported in imports(module, tree_of(module)) if part_of(imported)]
    assert not [imported for imported in ours if ABOVE_MODELS & set(imported.split("."))]


@pytest.mark.parametrize("module", modules())
def test_imports_stand_at_the_top(module: str) -> None:
    functions = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [imported for function in functions for imported in imports(module, function)]


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text())
