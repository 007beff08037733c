"""The move from SQLite to PostgreSQL: every row, and on from where it was interrupted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import OperationalError

from aistudio.settings import database
from core.database.backup import backup
from core.database.connections import MOVE_UNDER_WAY, Unsuitable, connect
from core.database.move_to_postgres import ROWS_PER_TRANSACTION, move
from core.database.table_dump import tables
from groups.models import Group
from tests.core.databases import MANY, Config, content, copy, differences, started
from tests.live import free_port
from tests.talking import new_database, until

FOREIGN_KEYS = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1"


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """Tests of this module open databases of their own."""
    with django_db_blocker.unblock():
        yield


def silent(_: str) -> None:
    """Print no progress."""


def test_a_move_that_is_killed_goes_on(
    filled: Config, postgres: str, filled_postgres: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, url = copy(filled, tmp_path / "source.sqlite3", many=True), new_database(postgres)
    there = f"sqlite:///{source['NAME']}"
    with psycopg.connect(url, autocommit=True) as watch, psycopg.connect(url) as blocker:

        def messages() -> int:
            return watch.execute("SELECT count(*) FROM chats_message").fetchone()[0]  # type: ignore[index]

        process = started(tmp_path, "move_database", there, url)
        until(lambda: watch.execute("SELECT to_regclass(%s)", [MOVE_UNDER_WAY]).fetchone() != (None,))
        blocker.execute("LOCK TABLE chats_session")  # its turn comes after that of the messages
        until(messages)
        process.kill()
        assert process.wait() == -9
        blocker.rollback()
        assert messages() in (ROWS_PER_TRANSACTION, 2 * ROWS_PER_TRANSACTION, MANY + 2)
        with pytest.raises(Unsuitable, match="was begun there"):
            move(filled, database(url), silent)
        with pytest.raises(Unsuitable, match=r"A move to .* is under way"):  # it must not pass for a whole one
            backup(database(url), tmp_path / "half.zip", silent)
        for command in (("runserver", f"127.0.0.1:{free_port()}"), ("quickstart",)):
            assert started(tmp_path, *command, DATABASE_URL=url).wait(120) == 1

        call_command("move_database", there, url)

        assert "Going on" in capsys.readouterr().out
        assert differences(content(source), content(database(url))) == []
        with psycopg.connect(filled_postgres) as fresh:
            assert watch.execute(FOREIGN_KEYS).fetchall() == fresh.execute(FOREIGN_KEYS).fetchall()
    with connect("moved", database(url)) as using:
        assert Group.objects.using(using).create(name="New").pk == 42


def test_a_restore_takes_the_place_of_a_half_moved_one(filled: Config, postgres: str, tmp_path: Path) -> None:
    url = new_database(postgres)

    def stop(said: str) -> None:
        if "Comparing" in said:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(filled, database(url), stop)
    backup(filled, tmp_path / "whole.zip", silent)
    assert started(tmp_path, "restore", str(tmp_path / "whole.zip"), "--noinput", DATABASE_URL=url).wait(120) == 0
    backup(database(url), tmp_path / "again.zip", silent)


def test_nobody_writes_to_the_source_meanwhile_and_what_was_changed_since_is_found(
    filled: Config, postgres: str, tmp_path: Path
) -> None:
    source, target = copy(filled, tmp_path / "source.sqlite3"), database(new_database(postgres))

    def interrupt(words: str) -> None:
        if words == "Comparing every row":
            with pytest.raises(OperationalError, match="locked"), connect("other", source, timeout=0.1) as using:
                Group.objects.using(using).update(name="Changed")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(source, target, interrupt)
    with connect("source", source) as using:
        Group.objects.using(using).update(name="Changed")
    with pytest.raises(Unsuitable, match=r"The row 41 of groups\.group is not the same"):
        move(source, target, silent)


def test_a_move_that_another_version_began_begins_again(filled: Config, postgres: str) -> None:
    url = new_database(postgres)

    def interrupt(words: str) -> None:
        if words == "Comparing every row":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(filled, database(url), interrupt)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM django_migrations WHERE app = 'core'")
    with pytest.raises(Unsuitable, match="Another version began this move"):
        move(filled, database(url), silent)


def test_only_an_empty_postgresql_is_moved_to(filled: Config, postgres: str, tmp_path: Path) -> None:
    source, target = copy(filled, tmp_path / "source.sqlite3"), new_database(postgres)
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("CREATE TABLE of_someone_else ()")
    good = f"sqlite:///{source['NAME']}"
    for here, there, words in (
        (good, target, "not empty: it has 1 tables"),
        (good, good, "from SQLite to PostgreSQL"),
        (f"{good}.none", target, "no file"),
        (good, "nonsense", "TARGET: It must be"),
        (good, "postgres://me:canary@127.0.0.1:1/x", "PostgreSQL x at 127.0.0.1: "),
    ):
        with pytest.raises(CommandError, match=words) as refused:
            call_command("move_database", here, there)
        assert "canary" not in str(refused.value)


def test_keys_sort_the_same_in_both() -> None:
    """A move goes on after the last key in the target. The order of texts would depend on the database's locale."""
    kinds = {
        table.model._meta.pk.target_field.get_internal_type()
        if table.model._meta.pk.is_relation
        else table.model._meta.pk.get_internal_type()
        for table in tables(apps)
    }
    assert kinds <= {"AutoField", "BigAutoField", "BigIntegerField", "IntegerField", "UUIDField"}
