"""A database and a backup of commit 60d45d9 become those of this version and lose nothing.

The files in `upgrade/` were made by that commit's own server and commands: the database as SQL for SQLite and for
PostgreSQL, its backup, and all its rows as JSON. Newer commits read them and cannot make them.
"""

import gzip
import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections, models, transaction
from pytest_django import DjangoDbBlocker

from aistudio.settings import database
from core.database.backup import BackupContent, restore
from core.database.backup_file import open_backup
from core.database.casefold import fold
from core.database.connections import connect
from core.database.table_dump import LEFT_OUT, Table, normalize_json, tables
from core.database.url import Config
from tests.core.databases import sqlite
from tests.live import environment, free_port, is_healthy, running
from tests.talking import new_database, until

Row = dict[str, object]
Rows = dict[str, dict[str, Row]]  # by label and by key

FILES = Path(__file__).parent / "upgrade"
MADE = json.loads(gzip.decompress((FILES / "60d45d9.json.gz").read_bytes()))
KNOWN = MADE["known"]
RENAMED = {
    "groups.auditevent": "core.auditevent",
    "groups.idempotentrequest": "core.idempotentrequest",
    "groups.attempts": "groups.signinattempt",
    "chats.run": "chats.activeanswer",
    "chats.piece": "chats.journalentry",
}
# Django derives these from a model's name, and newer versions rename them with it. Nothing here reads them.
DERIVED = {"auth.permission": {"codename", "name"}}


@pytest.fixture(autouse=True, scope="module")
def databases(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Tests of this module open databases of their own."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def old_sqlite(tmp_path: Path) -> Config:
    """The SQLite file of that commit."""
    with closing(sqlite3.connect(tmp_path / "old.sqlite3")) as connection:
        connection.executescript(gzip.decompress((FILES / "60d45d9.sql.gz").read_bytes()).decode())
    return sqlite(tmp_path / "old.sqlite3")


@pytest.fixture
def old_postgres(postgres: str) -> Config:
    """The PostgreSQL database of that commit."""
    url = new_database(postgres)
    with psycopg.connect(url, autocommit=True) as connection:  # its own: the dump changes the search_path
        connection.execute(gzip.decompress((FILES / "60d45d9.pg.sql.gz").read_bytes()))
    return database(url)


@pytest.fixture
def empty_sqlite(tmp_path: Path) -> Config:
    return sqlite(tmp_path / "empty.sqlite3")


@pytest.fixture
def empty_postgres(postgres: str) -> Config:
    return database(new_database(postgres))


def migrate(config: Config) -> None:
    with connect("old", config) as using:
        call_command("migrate", database=using, verbosity=0, interactive=False)


def restore_backup(config: Config) -> None:
    with open_backup(FILES / "60d45d9.backup.zip") as archive:
        content = BackupContent.of(archive)
        assert content.check() == 0
        restore(config, content, lambda _: None)


def expected_rows() -> Rows:
    """The rows of that commit under today's labels, and their names as they are folded today."""
    rows: Rows = {RENAMED.get(label, label): model["rows"] for label, model in MADE["models"].items()}
    for kind in rows["contenttypes.contenttype"].values():
        label = RENAMED.get(f"{kind['app_label']}.{kind['model']}", f"{kind['app_label']}.{kind['model']}")
        kind["app_label"], kind["model"] = label.split(".")
    for row in (row for table in rows.values() for row in table.values()):
        row |= {name: fold(str(row[name.removesuffix("_folded")])) for name in row if name.endswith("_folded")}
    return rows


EXPECTED = expected_rows()


def read_rows(config: Config) -> Rows:
    rows: Rows = {}
    with connect("read", config) as using, transaction.atomic(using=using):
        for table in [*tables(apps), *(Table(apps.get_model(label)) for label in LEFT_OUT)]:
            rows[table.label] = {}
            for row in table.rows(using):
                values = dict(zip(table.columns, json.loads(table.encode(row)), strict=True))
                for field in table.fields:
                    if isinstance(field, models.JSONField) and values[field.column] is not None:
                        values[field.column] = normalize_json(json.loads(values[field.column]))
                rows[table.label][str(table.key(row))] = values
    return rows


def losses(config: Config, *, without: Collection[str] = ()) -> list[str]:
    """What the database lacks or has changed. New tables and columns are allowed, and Django's rows of new models."""
    found, lost = read_rows(config), []
    for label, rows in EXPECTED.items():
        if label in without:
            continue
        if label not in ("contenttypes.contenttype", "auth.permission") and found[label].keys() != rows.keys():
            lost.append(f"{label}: {sorted(found[label].keys() ^ rows.keys())}")
            continue
        for key, row in rows.items():
            now = found[label].get(key, {})
            lost += [
                f"{label} {key}: {column} is {now.get(column)!r}, not {value!r}"
                for column, value in row.items()
                if column not in DERIVED.get(label, ()) and (column not in now or now[column] != value)
            ]
    return lost


def new_key(config: Config, label: str, **values: object) -> int:
    with connect("write", config) as using:
        return int(apps.get_model(label).objects.using(using).create(**values).pk)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_it_migrates_and_loses_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    config = request.getfixturevalue(f"old_{kind}")
    migrate(config)
    assert losses(config) == []
    # renamed tables keep their sequences
    assert new_key(config, "core.AuditEvent", object_type="groups") == MADE["sqlite_sequence"]["groups_auditevent"] + 1


@pytest.mark.parametrize("target", ["empty_sqlite", "old_sqlite", "empty_postgres", "old_postgres"])
def test_its_backup_can_be_restored(target: str, request: pytest.FixtureRequest) -> None:
    config = request.getfixturevalue(target)
    restore_backup(config)
    assert losses(config, without=LEFT_OUT) == []
    with connect("read", config) as using:
        there = set(connections[using].introspection.table_names())
    assert not there & {MADE["models"][label]["table"] for label in RENAMED}
    last = max(map(int, MADE["models"]["groups.auditevent"]["rows"]))
    assert new_key(config, "core.AuditEvent", object_type="groups") == last + 1


def test_a_server_goes_on_with_it(old_sqlite: Config, tmp_path: Path) -> None:
    migrate(old_sqlite)
    variables = environment(
        tmp_path,
        SECRET_KEY=KNOWN["secret_key"],
        FIELD_KEYS=",".join(KNOWN["field_keys"]),
        DATABASE_URL=f"sqlite:///{old_sqlite['NAME']}",
    )
    address = f"127.0.0.1:{free_port()}"
    with running(variables, tmp_path / "server.log", "runserver", address) as server:
        server.wait_until(lambda: is_healthy(f"http://{address}"))
        with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False, timeout=120) as http:

            def get(path: str, key: str) -> httpx.Response:
                return http.get(path, headers={"Authorization": f"Bearer {key}"})

            def last_message(session: str) -> Any:
                return get(f"/sessions/{session}/messages", bob).json()[-1]

            tree, bob, interrupted = KNOWN["tree_of_bob"], KNOWN["usable_keys"]["bob"], KNOWN["streaming"]
            assert [get("/users/me", key).status_code for key in KNOWN["usable_keys"].values()] == [200, 200, 200]
            assert get("/users/me", KNOWN["revoked_key_of_bob"]).status_code == 401
            assert last_message(tree["session"])["id"] == str(tree["leaf"])
            until(lambda: last_message(interrupted["session"])["attributes"]["status"] == "interrupted")
            assert last_message(interrupted["session"])["attributes"]["text"] == interrupted["arrived"]
