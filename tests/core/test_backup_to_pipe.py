"""`backup -` writes to standard output: a whole backup, or something that nobody takes for one."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.core.databases import Config
from tests.live import ROOT, Variables, environment, manage

BACKUP = [sys.executable, "manage.py", "backup", "-"]


@pytest.fixture
def variables(filled: Config, tmp_path: Path) -> Variables:
    return environment(tmp_path, DATABASE_URL=f"sqlite:///{filled['NAME']}")


def test_what_comes_through_a_pipe_can_be_restored(variables: Variables, tmp_path: Path) -> None:
    piped, stored, restored = (tmp_path / name for name in ("piped.zip", "stored.zip", "restored.sqlite3"))
    with subprocess.Popen(BACKUP, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        backup, said = process.communicate(timeout=60)  # a pipe, which cannot seek
    assert process.returncode == 0, said
    assert b"rows are in the backup." in said
    piped.write_bytes(backup)
    target = {**variables, "DATABASE_URL": f"sqlite:///{restored}"}
    manage(target, "restore", str(piped), "--noinput")
    manage(target, "backup", str(stored))
    ours, theirs = (rows_of(path) for path in (piped, stored))
    assert ours == {**theirs, "core.auditevent": ours["core.auditevent"]}  # the restore has a record of its own
    assert ours["chats.message"]


def rows_of(path: Path) -> dict[str, int]:
    """How many rows each table has in a backup."""
    with zipfile.ZipFile(path) as archive:
        return {name: table["rows"] for name, table in json.loads(archive.read("manifest.json"))["tables"].items()}


def test_a_reader_that_goes_away_is_said_in_one_line(variables: Variables) -> None:
    with subprocess.Popen(BACKUP, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        *_, last = process.stderr.read().decode().splitlines()
    assert process.returncode == 1
    assert last == "CommandError: - cannot be written: Broken pipe."
