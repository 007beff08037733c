"""Backup and restore of the whole database, from SQLite or PostgreSQL to SQLite or PostgreSQL."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connections, transaction

from core.database.backup_file import BackupReader, Damaged, TableSummary, create_backup_file, stream_backup
from core.database.connections import (
    Migrations,
    connect,
    create_tables,
    current_migrations,
    drop_tables,
    is_sqlite,
    reset_sequences,
    snapshot,
    tables_after,
)
from core.database.encryption import EncryptedField, EncryptedStr, UnreadableSecret, fingerprint
from core.database.table_dump import Row, Say, Table, batches, first_difference, tables
from core.database.url import Config, PrivateConnection

NOTE = "FIELD_KEYS and SECRET_KEY are not in this file. Without these FIELD_KEYS its secrets cannot be read."
# Safe only for a file that is deleted when anything fails.
FAST_AND_UNSAFE = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '20s'"


def backup(config: Config, to: Path | IO[bytes], say: Say) -> int:
    """Write all rows of a database, as they are at one moment, to a path or a pipe; returns how many rows there are.

    Others go on writing to the database. Raises Unsuitable, Damaged (at the path is something other than a backup),
    OSError.
    """
    with snapshot(config) as using:
        migrations = current_migrations(using)
        summaries: dict[str, TableSummary] = {}
        unreadable = 0
        with create_backup_file(to) if isinstance(to, Path) else stream_backup(to) as writer:
            for table in tables(apps):
                rows = batches(table.rows(using), say, table.label, table.count(using))
                count = writer.add(table.label, (table.encode(row) for batch in rows for row in batch))
                summaries[table.label] = {"rows": count, "columns": table.columns}
                unreadable += count_unreadable(table, table.rows(using))
            if unreadable:
                say(f"FIELD_KEYS cannot read {unreadable:,} of the secrets: keep the key that can, too.")
            writer.close(
                {
                    "version": settings.VERSION,
                    "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "database": connections[using].vendor,
                    "note": NOTE,
                    "field_keys": [fingerprint(key) for key in settings.FIELD_KEYS],
                    "migrations": sorted(migrations),
                    "tables": summaries,
                }
            )
    return sum(summary["rows"] for summary in summaries.values())


@dataclass(frozen=True)
class BackupContent:
    """The tables of a backup, in the form that they had when it was made."""

    archive: BackupReader
    migrations: Migrations
    tables: list[Table]

    @classmethod
    def of(cls, archive: BackupReader) -> "BackupContent":
        """Raises Unsuitable if the backup is of a newer version, Damaged if its manifest contradicts itself."""
        try:
            migrations = {(label, name) for label, name in archive.manifest["migrations"]}
            columns = {label: summary["columns"] for label, summary in archive.manifest["tables"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Damaged("The backup's manifest is malformed.") from None
        content = cls(archive, migrations, tables_after(migrations))
        if {table.label: table.columns for table in content.tables} != columns:
            raise Damaged("The backup's tables are not those that its migrations make.")
        return content

    def count(self, table: Table) -> int:
        """How many rows the manifest states."""
        return int(self.archive.manifest["tables"][table.label]["rows"])

    def rows(self, table: Table) -> Iterator[Row]:
        """Raises Damaged at a line that is not a row of the table."""
        try:
            yield from map(table.decode, self.archive.lines(table.label))
        except (ValueError, ValidationError):
            raise Damaged(f"The backup has a line that is no row of {table.label}.") from None

    def check(self) -> int:
        """Read all rows; returns how many secrets FIELD_KEYS cannot decrypt. Raises Damaged."""
        unreadable = 0
        for table in self.tables:
            count = sum(1 for _ in self.rows(table))
            if count != self.count(table):
                raise Damaged(f"The backup has {count:,} rows of {table.label}, not {self.count(table):,}.")
            unreadable += count_unreadable(table, self.rows(table))
        return unreadable


def count_unreadable(table: Table, rows: Iterable[Row]) -> int:
    """How many secrets in the rows FIELD_KEYS cannot decrypt. Does not read the rows if the table has no secrets."""
    secrets = [index for index, field in enumerate(table.fields) if isinstance(field, EncryptedField)]
    unreadable = 0
    for row in rows if secrets else ():
        for index in secrets:
            try:
                EncryptedStr(row[index] or "").reveal()
            except UnreadableSecret:
                unreadable += 1
    return unreadable


def restore(config: Config, content: BackupContent, say: Say) -> None:
    """Replace all rows of a database by those of a checked backup, and migrate it; all of it or nothing.

    Raises Unsuitable, Damaged, Unfit (this kind of database cannot hold one of the rows), Django's DatabaseError.
    """
    if not is_sqlite(config):
        with connect("restored", config) as using, transaction.atomic(using=using):
            with connections[using].cursor() as cursor:
                cursor.execute(LOCK_TIMEOUT)
            drop_tables(using)
            fill_database(using, content, say)
        return
    # SQLite: fill a new file, then copy it into place in one transaction, which a running server sees at once.
    target = Path(config["NAME"])
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=target.parent) as folder:
        new_file = str(Path(folder) / "new.sqlite3")
        with connect("restored", {**config, "NAME": new_file}, init_command=FAST_AND_UNSAFE) as using:
            fill_database(using, content, say)
        say("Putting it into place")
        with closing(sqlite3.connect(new_file)) as source, closing(PrivateConnection(str(target))) as destination:
            source.backup(destination)


def fill_database(using: str, content: BackupContent, say: Say) -> None:
    """Create the tables of the backup, insert its rows, compare them, and migrate to this version."""
    create_tables(using, content.migrations)
    with transaction.atomic(using=using):
        for table in content.tables:
            for batch in batches(content.rows(table), say, table.label, content.count(table)):
                table.insert(using, batch)
        connections[using].check_constraints()
        say("Reading it again")
        for table in content.tables:
            key = first_difference(table, content.rows(table), table.rows(using))
            if key is not None:
                raise Damaged(f"The row {key} of {table.label} was read back with other values.")
        reset_sequences(using, content.tables)
    call_command("migrate", database=using, verbosity=0, interactive=False)
