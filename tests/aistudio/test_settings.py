"""A setting that cannot be used stops the start and is named; the defaults are production's; all are described."""

import ast
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.live import ROOT, environment

NAME_IN_TABLE = re.compile(r"^\| `([A-Z_]+)` \|", re.MULTILINE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own folder at another place, where no `.env` is; the apps are found where they are."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "aistudio", folder / "aistudio", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", folder)
    return folder


def check(home: Path, *options: str, **settings: str | None) -> subprocess.CompletedProcess[str]:
    """What `manage.py check` says with these settings and good secrets; None leaves a setting out."""
    given: dict[str, str | None] = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_KEYS": Fernet.generate_key().decode(),
        **settings,
    }
    variables = {name: value for name, value in given.items() if value is not None}
    variables |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "manage.py", "check", *options]
    return subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", None),
        ("SECRET_KEY", "short"),
        ("FIELD_KEYS", None),
        ("FIELD_KEYS", "nonsense"),
        ("DATABASE_URL", "postgres://u:sec#ret@h/db"),
        ("DATABASE_URL", "mysql://u@h/db"),
        ("DATABASE_URL", "postgres://u@h/db?prepare_threshold=often"),
        ("ALLOWED_HOSTS", "http://a"),
        ("HOST", "a b"),
        ("PORT", "abc"),
        ("PORT", "0"),
        ("DEBUG", "perhaps"),
        ("AUDIT_LOG", "file"),
        ("DATABASE_URL", "nonsense"),
        ("TRUSTED_PROXIES", "abc"),
        ("CSRF_TRUSTED_ORIGINS", "example.com"),
        ("METRICS_TOKEN", "short"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_stops_the_start_with_one_line_that_names_it(home: Path, name: str, value: str | None) -> None:
    done = check(home, **{name: value})

    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f" {name}: " in line


def test_the_defaults_are_fit_for_production(home: Path) -> None:
    done = check(home, "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_every_setting_is_described_once() -> None:
    described = NAME_IN_TABLE.findall((ROOT / "docs" / "settings.md").read_text())
    assert sorted(described) == sorted(settings_read())


def test_servers_under_test_are_told_every_setting(tmp_path: Path) -> None:
    assert settings_read() <= environment(tmp_path).keys()  # or a developer's `.env` would fill the gap


def settings_read() -> set[str]:
    """The names that settings.py reads: the first arguments of `env.str(...)` and its like."""
    tree = ast.parse((ROOT / "aistudio" / "settings.py").read_text())
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and node.func.attr not in ("read_env", "add_parser")
        and isinstance(node.args[0], ast.Constant)
    }
