"""Imports point down, and stand at the top of files."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (  # from the top; folders in one line do not import each other
    ("aistudio",),
    ("gateway",),
    ("chats",),
    ("tools", "sources"),
    ("usage",),
    ("llms",),
    ("filters", "catalogues"),
    ("groups",),
    ("core",),
)
LEVEL = {app: number for number, layer in enumerate(LAYERS) for app in layer}
INTERFACES = {"serializers", "views", "admin", "api", "web", "terminal"}


def app_of(module: str) -> str | None:
    """The app that a module belongs to; None when it is not ours."""
    app = module.partition(".")[0]
    return app if app in LEVEL else None


def may_import(importer: str, imported: str) -> bool:
    return importer == imported or LEVEL[importer] < LEVEL[imported]


@cache
def modules() -> dict[str, Path]:
    """Every module of ours, by its dotted name."""
    files = [file.relative_to(ROOT) for app in LEVEL for file in (ROOT / app).rglob("*.py")]
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
    importer = app_of(module)
    assert importer
    upward = [
        imported
        for imported in imports(module, tree_of(module))
        if (app := app_of(imported)) and not may_import(importer, app)
    ]
    assert not upward


@pytest.mark.parametrize("module", [name for name in modules() if name.endswith(".models")])
def test_models_know_nothing_of_what_shows_them(module: str) -> None:
    ours = [imported for imported in imports(module, tree_of(module)) if app_of(imported)]
    assert not [imported for imported in ours if INTERFACES & set(imported.split("."))]


@pytest.mark.parametrize("module", modules())
def test_imports_stand_at_the_top(module: str) -> None:
    functions = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [imported for function in functions for imported in imports(module, function)]


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text())
