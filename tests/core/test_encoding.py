"""A database whose encoding is not UTF-8 is refused in one line when the server, or any command, starts."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.live import ROOT, Variables, environment, free_port
from tests.talking import NUMBER


def refusal(variables: Variables, *command: str) -> str:
    """What the command says, which must be one line."""
    done = subprocess.run(
        [sys.executable, "manage.py", *command], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60
    )
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    return line


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@pytest.mark.parametrize("command", ["runserver", "migrate"])
def test_postgresql_in_another_encoding(postgres: str, tmp_path: Path, encoding: str, command: str) -> None:
    name = f"encoding_{next(NUMBER)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0".encode())
    variables = environment(tmp_path, DATABASE_URL=f"{postgres.rpartition('/')[0]}/{name}")
    port = [f"127.0.0.1:{free_port()}"] if command == "runserver" else []
    assert f"its encoding is {encoding}, and AI Studio needs UTF8." in refusal(variables, command, *port)


def test_sqlite_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "utf16.sqlite3"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA encoding = 'UTF-16le'")
        database.execute("CREATE TABLE one (a TEXT)")
    variables = environment(tmp_path, DATABASE_URL=f"sqlite:///{path}")
    line = refusal(variables, "runserver", f"127.0.0.1:{free_port()}")
    assert "its encoding is UTF-16le, and AI Studio needs UTF-8." in line
