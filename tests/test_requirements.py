"""Each package that production code imports is in requirements.in; each package there has a reason and a use."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.test_imports import LEVEL, modules, tree_of

LINE = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?(?P<range>[<>=\d.,]*) +# (?P<reason>\S.*)")
OPTIONAL = {"opentelemetry"}  # traces are loaded only where it is installed; the developers' requirements have it
NOT_IMPORTED = {  # what uses a package instead
    "argon2-cffi": ("groups/passwords.py", "Argon2PasswordHasher"),
    "drf-spectacular-sidecar": ("aistudio/settings.py", '"drf_spectacular_sidecar"'),
    "whitenoise": ("aistudio/settings.py", '"whitenoise.middleware.'),
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, re.Match[str]]:
    lines = [LINE.fullmatch(line) for line in (ROOT / "requirements.in").read_text().splitlines()]
    assert all(lines), "Each line is a package, its versions, and # its reason."
    return {normal(line["name"]): line for line in lines if line}


def imported() -> dict[str, str]:
    """The packages that are imported at the top of names, with a module that does."""
    found = {}
    for module in modules():
        for node in ast.walk(tree_of(module)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            found |= {name.partition(".")[0]: module for name in names}
    ours = sys.stdlib_module_names | LEVEL.keys() | OPTIONAL
    return {name: module for name, module in found.items() if name not in ours}


def test_what_is_imported_is_declared() -> None:
    distributions = packages_distributions()
    missing = {
        f"{name} ({module})"
        for name, module in imported().items()
        if not {normal(each) for each in distributions.get(name, [name])} & declared().keys()
    }
    assert missing == set()


def test_what_is_declared_is_used() -> None:
    distributions = packages_distributions()
    used = {normal(each) for name in imported() for each in distributions.get(name, [name])}
    assert declared().keys() - used == NOT_IMPORTED.keys()


@pytest.mark.parametrize("package", NOT_IMPORTED)
def test_what_is_not_imported_is_used_otherwise(package: str) -> None:
    place, text = NOT_IMPORTED[package]
    files = [ROOT / place] if Path(place).suffix else (ROOT / place).rglob("*.py")
    assert any(text in file.read_text() for file in files)


def test_uvicorn_is_pinned_to_its_minor_version() -> None:
    """We use private names of it, which a minor version may change."""
    low, high = re.findall(r"0\.(\d+)", declared()["uvicorn"]["range"])
    assert int(high) == int(low) + 1


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_pins_name_no_registry(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()
