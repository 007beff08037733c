"""A setting that cannot be used stops the start and is named; the defaults are production's; all are described."""

import ast
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
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
    return manage(home, "check", *options, **settings)


def manage(home: Path, *arguments: str, **settings: str | None) -> subprocess.CompletedProcess[str]:
    """What a command of `manage.py` says with these settings and good secrets; None leaves a setting out."""
    given: dict[str, str | None] = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_KEYS": Fernet.generate_key().decode(),
        **settings,
    }
    variables = {name: value for name, value in given.items() if value is not None}
    variables |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True, timeout=120)


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
        ("DATABASE_URL", "sqlite:///"),
        ("TRUSTED_PROXIES", "abc"),
        ("PRIVATE_NETWORKS", "10.0.0.0/8,"),
        ("PRIVATE_NETWORKS", "10.0.0.0/8,10.0.0.7/8"),
        ("PRIVATE_NETWORKS", "10.0.0.0/8:80"),
        ("PRIVATE_NETWORKS", "10.0.0.256"),
        ("PRIVATE_NETWORKS", "http://ollama.internal"),
        ("PRIVATE_NETWORKS", "ollama.internal:99999"),
        ("PRIVATE_NETWORKS", "ollama.internal:"),
        ("PRIVATE_NETWORKS", "[::1]:x"),
        ("PRIVATE_NETWORKS", "2"),
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


LOCAL = "HTTPS=0\nPRIVATE_NETWORKS=1\n"
SHOW = "from django.conf import settings; print(settings.HTTPS, settings.PRIVATE_NETWORKS, settings.PORT)"


@pytest.fixture
def local(home: Path) -> Iterator[Path]:
    """The project's folder with the `.env.local` of `make run`, and a `.env` that says otherwise."""
    (home / ".env.local").write_text(LOCAL)
    (home / ".env").write_text("HTTPS=1\nPORT=8001\n")
    yield home
    (home / ".env.local").unlink()
    (home / ".env").unlink()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "False True 8001"),
        ({"PRIVATE_NETWORKS": "0", "PORT": "8002"}, "False False 8002"),
        ({"LLM_PRIVATE_NETWORKS": "0"}, "False False 8001"),
        ({"PRIVATE_NETWORKS": "127.0.0.1,10.1.0.0/16"}, "False ('127.0.0.1', '10.1.0.0/16') 8001"),
        ({"PRIVATE_NETWORKS": "ollama:11434, [::1]:80"}, "False ('ollama:11434', '[::1]:80') 8001"),
        ({"LOCAL_ENV": "0"}, "True False 8001"),
    ],
)
def test_the_environment_wins_over_local_settings_and_these_over_env(
    local: Path, given: dict[str, str], expected: str
) -> None:
    done = manage(local, "shell", "--no-imports", "--command", SHOW, **given)
    assert done.stdout.strip() == expected, done.stderr


def test_the_old_name_of_private_networks_is_accepted_in_a_file(home: Path) -> None:
    (home / ".env").write_text("LLM_PRIVATE_NETWORKS=1\n")
    try:
        assert " True " in manage(home, "shell", "--no-imports", "--command", SHOW).stdout
    finally:
        (home / ".env").unlink()


def test_variables_of_others_may_be_in_a_file(home: Path) -> None:
    (home / ".env").write_text("OTEL_SERVICE_NAME=studio\n")
    try:
        show = "import os; print(os.environ['OTEL_SERVICE_NAME'])"
        assert manage(home, "shell", "--no-imports", "--command", show).stdout == "studio\n"
    finally:
        (home / ".env").unlink()


def test_check_tells_of_local_settings(home: Path, local: Path) -> None:
    read, ignored = check(local), check(local, LOCAL_ENV="0")
    assert "There is a .env.local. It is read; make serve ignores it." in read.stdout
    assert "There is a .env.local. It is ignored" in ignored.stdout
    deploy = ("--deploy", "--fail-level", "WARNING")
    assert "aistudio.W001" in check(local, *deploy, HTTPS="1").stderr
    assert check(local, *deploy, LOCAL_ENV="0").returncode == 0


def test_make_writes_local_settings_once(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for _ in range(2):
        subprocess.run(["make", "--silent", ".env.local"], cwd=tmp_path, check=True, timeout=120)
        lines = (tmp_path / ".env.local").read_text().splitlines()
        assert [line for line in lines if not line.startswith("#")] == LOCAL.split()
    (tmp_path / ".env.local").write_text("HTTPS=1\n")
    subprocess.run(["make", "--silent", ".env.local"], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / ".env.local").read_text() == "HTTPS=1\n"


@pytest.mark.parametrize(("target", "reads"), [("run", True), ("dev", True), ("serve", False)])
def test_make_serve_alone_ignores_local_settings(target: str, reads: bool) -> None:
    printed = subprocess.run(
        ["make", "--print-data-base", "--dry-run", target], cwd=ROOT, capture_output=True, text=True
    )
    variables = printed.stdout.partition(f"\n{target}: ")[2].partition("\n\n")[0]
    assert ("LOCAL_ENV := 0" in variables) is not reads
    assert (".env.local" in variables.splitlines()[0]) is reads


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
