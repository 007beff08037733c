"""Files that hold conversations and digests of passwords are for their owner alone, whatever the process's umask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import environment, manage
from tests.talking import Studio, ask, opened, text_of, until

SUFFIXES = ("", "-wal", "-shm")


@pytest.fixture(scope="module", autouse=True)
def generous() -> Iterator[None]:
    """New files may be read and written by everyone, if nothing else is said."""
    usual = os.umask(0)
    yield
    os.umask(usual)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with opened(tmp_path, servers=1) as studio:
        yield studio


def modes(database: Path) -> dict[str, str]:
    """Those of the database's files that exist."""
    paths = [database.with_name(database.name + suffix) for suffix in SUFFIXES]
    return {path.name: oct(path.stat().st_mode & 0o777) for path in paths if path.exists()}


def private(database: Path) -> dict[str, str]:
    return {f"{database.name}{suffix}": "0o600" for suffix in SUFFIXES}


def test_the_database_while_it_is_served(studio: Studio) -> None:
    database = studio.folder / "live.sqlite3"
    session = studio.session(studio.chat())
    assert text_of(ask(studio.urls[0], studio.key, session, "/echo hello")) == "hello"
    assert modes(database) == private(database)

    for suffix in SUFFIXES:  # as if an earlier version had made them
        os.chmod(f"{database}{suffix}", 0o644)
    with studio.server():
        until(lambda: modes(database) == private(database))


def test_backup_and_restore(tmp_path: Path) -> None:
    one, other = tmp_path / "one.sqlite3", tmp_path / "other.sqlite3"
    variables = environment(tmp_path, DATABASE_URL=f"sqlite:///{one}")
    manage(variables, "migrate", "--verbosity", "0")
    manage(variables, "backup", str(tmp_path / "saved.zip"))
    os.chmod(tmp_path / "saved.zip", 0o644)
    manage(variables, "backup", str(tmp_path / "saved.zip"))
    manage({**variables, "DATABASE_URL": f"sqlite:///{other}"}, "restore", "--noinput", str(tmp_path / "saved.zip"))
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(
        ("one.sqlite3", "other.sqlite3", "saved.zip"), 0o600
    )


def test_a_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.sqlite3").mkdir()
    variables = environment(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'folder.sqlite3'}")
    with pytest.raises(AssertionError, match="unable to open database file"):
        manage(variables, "migrate")
    assert (tmp_path / "folder.sqlite3").stat().st_mode & 0o111  # a folder is left as it is
