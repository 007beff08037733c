"""What the root of the repository may hold: a file of anything else belongs into a folder."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "manage.py",
    "pyproject.toml",
    "requirements-dev.in",
    "requirements-dev.txt",
    "requirements.in",
    "requirements.txt",
    "schemathesis.toml",
}
FOLDERS = {".ci", "bench", "deploy", "docs", "tests"}  # beside the apps
APPS = {"aistudio", "chats", "usage", "llms", "groups", "core"}
LARGEST = 1_000_000  # bytes of a file in the root


def test_the_root_holds_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    if listed.returncode == 0:
        names = {name.partition("/")[0] for name in listed.stdout.split("\0") if name}
    else:  # not a clone
        made = {".env", ".env.local", ".venv", ".venv-next", "data"}
        caches = {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "__pycache__"}
        names = {path.name for path in ROOT.iterdir()} - made - caches
    assert names == FILES | FOLDERS | APPS
    assert [name for name in FILES if (ROOT / name).stat().st_size > LARGEST] == []


def test_the_license_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
