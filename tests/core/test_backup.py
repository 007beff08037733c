"""Backup and restore: everything, from either kind of database to either, all of it or nothing."""

import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import count, cycle
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connections, models, transaction
from django.test.utils import isolate_apps

from aistudio.settings import database
from chats.models import Chat
from core.database.backup import BackupContent, backup, restore
from core.database.backup_file import Damaged, create_backup_file, open_backup
from core.database.connections import Unsuitable, connect, create_tables, tables_after
from core.database.table_dump import LEFT_OUT, Table, Unfit, tables
from groups.models import Group, User
from llms.models import LLM
from tests.core.databases import (
    METADATA,
    NASTY,
    SECRET,
    Config,
    all_migrations,
    content,
    copied,
    copy,
    differences,
    sqlite,
    started,
)
from tests.talking import Studio, new_database, until


def silent(_: str) -> None:
    """Print no progress."""


@pytest.fixture(autouse=True, scope="module")
def databases(django_db_blocker: Any) -> Iterator[None]:
    """Tests of this module open databases of their own."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def saved(filled: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of `filled`."""
    path = tmp_path_factory.mktemp("saved") / "saved.zip"
    backup(filled, path, silent)
    return path


def put(path: Path, config: Config) -> Config:
    """Restore the file into the database; returns the database."""
    with open_backup(path) as archive:
        found = BackupContent.of(archive)
        assert found.check() == 0
        restore(config, found, silent)
    return config


def changed(saved: Path, path: Path, *, add: dict[str, bytes] | None = None, **manifest: Any) -> Path:
    """A copy of a backup with another manifest, or other rows, and a correct digest."""
    with zipfile.ZipFile(saved) as old, create_backup_file(path) as archive:
        for name in (add or {}).keys() | {name.removesuffix(".jsonl") for name in old.namelist()} - {"manifest.json"}:
            archive.add(name, [add[name]] if add and name in add else old.read(f"{name}.jsonl").splitlines())
        archive.close({**json.loads(old.read("manifest.json")), **manifest})
    return path


def test_every_table_is_copied_or_left_out_for_a_reason(filled: Config) -> None:
    with connect("read", filled) as using:
        there = set(connections[using].introspection.table_names()) - {"django_migrations"}
    copied = {table.model._meta.db_table for table in tables(apps)}
    assert there - copied == {apps.get_model(label)._meta.db_table for label in LEFT_OUT}
    assert copied <= there


def test_it_comes_back_on_the_other_kind_of_database_and_back_again(
    filled: Config, saved: Path, postgres: str, tmp_path: Path
) -> None:
    there = put(saved, database(new_database(postgres)))
    backup(there, tmp_path / "there.zip", silent)
    here = put(tmp_path / "there.zip", sqlite(tmp_path / "here.sqlite3"))

    before = content(filled)
    assert differences(before, content(there)) == []
    assert content(there) == content(here)
    assert min(len(before[table.label]) for table in tables(apps) if table.model.__module__.endswith("s.models")) > 0
    for config in (there, here):
        with connect("read", config) as using:
            user = User.objects.using(using).get()
            assert (user.email, user.name) == ("Ünï@example.com", NASTY)
            assert user.check_password(NASTY)
            assert LLM.objects.using(using).get().api_key.reveal() == SECRET
            assert Chat.objects.using(using).get().llm_settings.metadata["a"][2:] == METADATA["a"][2:]
            assert Group.objects.using(using).create(name="New").pk == 42
            assert not apps.get_model("sessions.session").objects.using(using).exists()
            assert not call_command("migrate", check_unapplied=True, database=using, verbosity=0)


def test_what_was_altered_or_is_something_else_is_refused(saved: Path, tmp_path: Path) -> None:
    whole, broken = saved.read_bytes(), tmp_path / "broken.zip"
    chosen = random.Random(7)  # noqa: S311
    cuts = [whole[:length] for length in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    flips = [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
        for at, bit in zip(chosen.choices(range(len(whole)), k=40), cycle(range(8)))
    ]
    for octets in (*cuts, *flips, whole + b"\n", b"SQLite format 3\0" * 99):
        broken.write_bytes(octets)
        with pytest.raises(Damaged, match=r"broken\.zip"), open_backup(broken):
            pass


def test_what_contradicts_itself_or_is_newer_is_refused(saved: Path, tmp_path: Path) -> None:
    manifest = json.loads(zipfile.ZipFile(saved).read("manifest.json"))
    migrations, there, made = manifest["migrations"], manifest["tables"], tmp_path / "made.zip"
    two = {**there["groups.group"], "rows": 2}
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (Damaged, "format 2", {"format": 2}),
        (Unsuitable, r"chats\.0999_newer", {"migrations": [*migrations, ["chats", "0999_newer"]]}),
        (Damaged, "tables are not those", {"tables": {}}),
        (Damaged, r"1 rows of groups\.group, not 2", {"tables": {**there, "groups.group": two}}),
        (Damaged, r"no row of groups\.group", {"add": {"groups.group": b"[1]"}}),
    ]
    for error, words, changes in cases:
        with pytest.raises(error, match=words), open_backup(changed(saved, made, **changes)) as archive:
            BackupContent.of(archive).check()


def test_one_of_an_earlier_version_is_migrated(tmp_path: Path) -> None:
    earlier = {node for node in all_migrations() if node[0] != "chats"} | {("chats", "0001_initial")}
    found = tables_after(earlier)
    with connect("earlier", sqlite(tmp_path / "earlier.sqlite3")) as using:
        create_tables(using, earlier)
        User.objects.using(using).create(email="alice@example.com")
        with create_backup_file(tmp_path / "earlier.zip") as archive:
            for table in found:
                archive.add(table.label, map(table.encode, table.rows(using)))
            archive.close(
                {
                    "migrations": sorted(earlier),
                    "field_keys": [],
                    "tables": {t.label: {"rows": t.count(using), "columns": t.columns} for t in found},
                }
            )

    rows = content(put(tmp_path / "earlier.zip", sqlite(tmp_path / "now.sqlite3")))

    assert "alice@example.com" in rows["groups.user"][0]
    assert rows["chats.message"] == []


def test_a_row_that_the_other_database_cannot_hold_is_named_and_nothing_is_changed(
    filled: Config, filled_postgres: str, tmp_path: Path
) -> None:
    source, there = copy(filled, tmp_path / "long.sqlite3"), database(copied(filled_postgres))
    before = content(there)
    with connect("source", source) as using:
        Group.objects.using(using).update(name="long" * 100)
    backup(source, tmp_path / "long.zip", silent)

    with pytest.raises(Unfit, match=r"groups\.group: the row with the key 41 "):
        put(tmp_path / "long.zip", there)

    assert content(there) == before
    table = Table(Group)
    row = dict(zip(table.columns, before[table.label][0], strict=True)) | {"name": "N\0UL"}
    with (
        connect("there", there) as using,
        pytest.raises(Unfit, match=r"groups\.group: the row with the key 41 .* NUL"),
        transaction.atomic(using=using),
    ):
        table.insert(using, [tuple(row.values())])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_restore_that_is_killed_changes_nothing(
    filled: Config, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    backup(copy(filled, tmp_path / "many.sqlite3", many=True), tmp_path / "many.zip", silent)
    if kind == "sqlite":
        url = f"sqlite:///{copy(filled, tmp_path / 'here.sqlite3')['NAME']}"
    else:
        url = copied(request.getfixturevalue("filled_postgres"))
    before = content(database(url))

    process = started(tmp_path, "restore", str(tmp_path / "many.zip"), "--noinput", DATABASE_URL=url)
    until(lambda: stores_messages(url, tmp_path) or process.poll() is not None)
    process.kill()

    assert process.wait() == -9
    assert content(database(url)) == before


def stores_messages(url: str, folder: Path) -> bool:
    """Whether a restore is storing messages at this moment."""
    if url.startswith("sqlite"):
        with suppress(FileNotFoundError):  # a journal comes and goes
            return any(part.stat().st_size > 2**20 for part in folder.glob(".restoring-*/*"))
        return False
    with psycopg.connect(url, application_name="watch") as watch:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s"
        return watch.execute(asked, ['COPY "chats_message"%']).fetchone() != (0,)


def test_a_backup_while_the_server_writes_is_of_one_moment(studio: Studio, tmp_path: Path) -> None:
    chat, stop, asked = studio.chat(), Event(), count()
    done: list[int] = []

    def ask_on() -> None:
        while not stop.is_set():
            studio.call("POST", f"/sessions/{studio.session(chat)}/messages", {"text": f"/echo {next(asked)}"})
            done.append(1)

    config = database(studio.variables["DATABASE_URL"])
    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask_on) for _ in range(4)]
        for number in range(3):
            backup(config, tmp_path / f"{number}.zip", silent)
            enough = len(done) + 5
            until(lambda enough=enough: len(done) >= enough)  # type: ignore[misc]
        stop.set()
    assert not any(task.result() for task in asking)

    sizes = [pairs(tmp_path / f"{number}.zip") for number in range(3)]
    assert sizes == sorted(set(sizes))


def pairs(path: Path) -> int:
    """How many answers there are. Each must have its question, and each question its answer."""
    with open_backup(path) as archive:
        found = BackupContent.of(archive)
        rows = {
            table.label: [dict(zip(table.columns, row, strict=True)) for row in found.rows(table)]
            for table in found.tables
        }
    messages = {row["id"]: row for row in rows["chats.message"]}
    answers = {row["parent_id"] for row in messages.values() if row["role"] == "assistant"}
    assert {key for key, row in messages.items() if row["role"] == "user"} == answers
    assert {row["session_id"] for row in messages.values()} <= {row["id"] for row in rows["chats.session"]}
    assert {row["leaf_id"] for row in rows["chats.session"]} - {None} <= messages.keys()
    return len(answers)


def test_it_asks_first_and_says_which_keys_are_missing(
    saved: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.sqlite3"
    made_with = json.loads(zipfile.ZipFile(saved).read("manifest.json"))["field_keys"]
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(settings.DATABASES, "default", sqlite(there))
    monkeypatch.setattr("builtins.input", lambda question: "no" if str(there) in question else "yes")

    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("restore", str(saved))

    said = capsys.readouterr().out
    assert made_with[0] in said
    assert "cannot read 1 of its secrets" in said
    assert not there.exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_audit_has_that_it_was_restored(
    saved: Path, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'there.sqlite3'}"
    if kind == "postgresql":
        url = new_database(request.getfixturevalue("postgres"))
    assert started(tmp_path, "restore", str(saved), "--noinput", DATABASE_URL=url).wait(120) == 0
    table = next(table for table in tables(apps) if table.label == "core.auditevent")
    *_, last = (dict(zip(table.columns, row, strict=True)) for row in content(database(url))[table.label])
    assert (last["action"], last["object_type"], last["door"]) == ("restored", "database", "command")
    assert "the backup of 20" in last["detail"]


def test_a_backup_takes_the_place_of_a_backup_and_of_nothing_else(filled: Config, tmp_path: Path) -> None:
    other = tmp_path / "precious.sqlite3"
    shutil.copy(filled["NAME"], other)
    with pytest.raises(Damaged, match="left alone"):
        backup(filled, other, silent)
    assert sorted(tmp_path.iterdir()) == [other]


@isolate_apps("tests")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_values_of_every_kind_are_the_same_again(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    class Thing(models.Model):  # noqa: DJ008
        money = models.DecimalField(max_digits=20, decimal_places=10)
        octets = models.BinaryField()
        lasting = models.DurationField()
        day = models.DateField()
        hour = models.TimeField()
        address = models.GenericIPAddressField(null=True)
        json = models.JSONField(null=True)
        made = models.GeneratedField(expression=models.F("id"), output_field=models.BigIntegerField(), db_persist=True)

        class Meta:
            app_label = "tests"

    table, address = Table(Thing), "2001:db8::1"
    given = {
        "id": 2**62,
        "money": Decimal("-12345.0123456789"),
        "octets": b"\0\xff",
        "lasting": timedelta(days=-3, microseconds=7),
        "day": date(1, 1, 1),
        "hour": time(23, 59, 59, 999999),
        "address": address,
        "json": "null",
    }
    row = tuple(given[column] for column in table.columns)
    url = f"sqlite:///{tmp_path / 'things'}" if kind == "sqlite" else new_database(request.getfixturevalue("postgres"))
    with connect("things", database(url)) as using:
        with connections[using].schema_editor() as editor:
            editor.create_model(Thing)
        with transaction.atomic(using=using):
            table.insert(using, [table.decode(table.encode(row))])
            assert [table.decode(table.encode(found)) for found in table.rows(using)] == [row]
