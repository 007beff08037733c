"""Backup and restore of the whole database, from either kind to either kind."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connections, transaction

from core.database.backup_file import Damaged, Reader, written
from core.database.connections import (
    Config,
    Migrations,
    current,
    drop_tables,
    is_sqlite,
    make_tables,
    opened,
    set_sequences,
    snapshot,
    tables_after,
)
from core.database.encryption import EncryptedField, EncryptedStr, UnreadableSecret, fingerprint
from core.database.table_dump import Row, Say, Table, batches, first_difference, tables

NOTE = "FIELD_KEYS and SECRET_KEY are not in this file. Without those FIELD_KEYS no stored secret of it can be read."
IN_A_HURRY = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"  # of a file that is thrown away when anything fails
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '20s'"


def backup(config: Config, path: Path, say: Say) -> int:
    """Write all rows of a database to a file, as they are at one moment; returns how many.

    Others go on writing meanwhile. Raises Unsuitable, Damaged (something else is in the file's place), OSError.
    """
    with snapshot(config) as using:
        migrations = current(using)
        counts: dict[str, int] = {}
        with written(path) as archive:
            unreadable = 0
            for table in tables(apps):
                archive.add(table.label, lines_of(table, using, counts, say))
                if secrets := secrets_of(table):
                    unreadable += sum(unreadable_in(row, secrets) for row in table.rows(using))
            if unreadable:
                say(f"The present FIELD_KEYS cannot read {unreadable:,} of its secrets: keep the key that can, too.")
            archive.close(
                {
                    "version": settings.VERSION,
                    "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "database": connections[using].vendor,
                    "note": NOTE,
                    "field_keys": [fingerprint(key) for key in settings.FIELD_KEYS],
                    "migrations": sorted(migrations),
                    "tables": {
                        table.label: {"rows": counts[table.label], "columns": table.columns} for table in tables(apps)
                    },
                }
            )
    return sum(counts.values())


def lines_of(table: Table, using: str, counts: dict[str, int], say: Say) -> Iterator[bytes]:
    counts[table.label] = 0
    for batch in batches(table.rows(using), say, table.label, table.count(using)):
        counts[table.label] += len(batch)
        yield from map(table.line, batch)


@dataclass(frozen=True)
class Content:
    """What a whole backup holds, and how it can be read."""

    archive: Reader
    migrations: Migrations
    tables: list[Table]

    @classmethod
    def of(cls, archive: Reader) -> "Content":
        """Raises Unsuitable for a backup of a newer version, Damaged for one that contradicts itself."""
        try:
            migrations = {(label, name) for label, name in archive.manifest["migrations"]}
            columns = {label: described["columns"] for label, described in archive.manifest["tables"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Damaged("The backup's manifest is not as this program writes one.") from None
        content = cls(archive, migrations, tables_after(migrations))
        if {table.label: table.columns for table in content.tables} != columns:
            raise Damaged("The backup's tables are not those that its migrations make.")
        return content

    def count(self, table: Table) -> int:
        return int(self.archive.manifest["tables"][table.label]["rows"])

    def rows(self, table: Table) -> Iterator[Row]:
        """Raises Damaged for what is no row."""
        try:
            yield from map(table.row, self.archive.lines(table.label))
        except (ValueError, ValidationError):
            raise Damaged(f"The backup has something else than rows of {table.label}.") from None

    def check(self) -> int:
        """Read every row; how many secrets the present FIELD_KEYS cannot read. Raises Damaged."""
        unreadable = 0
        for table in self.tables:
            count, secrets = 0, secrets_of(table)
            for row in self.rows(table):
                count += 1
                unreadable += unreadable_in(row, secrets)
            if count != self.count(table):
                raise Damaged(f"The backup has {count:,} rows of {table.label}, not {self.count(table):,}.")
        return unreadable

    def missing_keys(self) -> list[str]:
        """The fingerprints of keys that it was made with and that are not in FIELD_KEYS."""
        present = {fingerprint(key) for key in settings.FIELD_KEYS}
        return [made_with for made_with in self.archive.manifest["field_keys"] if made_with not in present]


def secrets_of(table: Table) -> list[int]:
    """Which values of its rows are encrypted."""
    return [index for index, field in enumerate(table.fields) if isinstance(field, EncryptedField)]


def unreadable_in(row: Row, secrets: list[int]) -> int:
    return sum(not is_readable(row[index]) for index in secrets)


def is_readable(ciphertext: Any) -> bool:
    try:
        EncryptedStr(ciphertext or "").reveal()
    except UnreadableSecret:
        return False
    return True


def restore(config: Config, content: Content, say: Say) -> None:
    """Put a checked backup in the place of all that a database has, migrated to this version: all of it or nothing.

    Raises Unsuitable, Damaged, Unfit (a row that this kind of database does not take), Django's DatabaseError.
    """
    if is_sqlite(config):
        restore_sqlite(config, content, say)
        return
    with opened("restored", config) as using, transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute(LOCK_TIMEOUT)
        drop_tables(using)
        fill(using, content, say)


def restore_sqlite(config: Config, content: Content, say: Say) -> None:
    """Into a file beside it, and from there in one transaction: a server that still has it open sees the new rows."""
    target = Path(config["NAME"])
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=target.parent) as folder:
        made = str(Path(folder) / "made.sqlite3")
        with opened("restored", {**config, "NAME": made}, init_command=IN_A_HURRY) as using:
            fill(using, content, say)
        say("Putting it into place")
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(target)) as place:
            source.backup(place)


def fill(using: str, content: Content, say: Say) -> None:
    """Make the tables, store the rows, read them again, and migrate to this version."""
    make_tables(using, content.migrations)
    with transaction.atomic(using=using):
        for table in content.tables:
            for batch in batches(content.rows(table), say, table.label, content.count(table)):
                table.store(using, batch)
        connections[using].check_constraints()
        say("Reading it again")
        for table in content.tables:
            compare(table, content.rows(table), table.rows(using))
        set_sequences(using, content.tables)
    call_command("migrate", database=using, verbosity=0, interactive=False)


def compare(table: Table, wanted: Iterable[Row], found: Iterable[Row]) -> None:
    key = first_difference(table, wanted, found)
    if key is not None:
        raise Damaged(f"The row {key} of {table.label} came back as another than it was; nothing was changed.")
