"""A move of the whole database from SQLite to PostgreSQL, which goes on where it was interrupted.

Rows are copied in the order of their keys, some thousands in each transaction, so that the last key that is there says
where to go on. Foreign keys are taken off meanwhile, for tables point to each other; they are put back, which checks
them, when every row has been read again. A table of our own in the target remembers them, and that this is a move.
"""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connections, transaction

from core.database.connections import (
    MOVE_UNDER_WAY,
    Config,
    Unsuitable,
    current,
    described,
    is_sqlite,
    make_tables,
    opened,
    set_sequences,
)
from core.database.table_dump import Say, Table, batches, first_difference, tables

EACH = 10_000  # rows in a transaction
FOREIGN_KEYS = """
    SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)),
        format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
    FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::regnamespace
"""


def move(source_config: Config, target_config: Config, say: Say) -> int:
    """Copy all rows from SQLite to an empty PostgreSQL, or go on with it; returns how many rows the target has then.

    Nobody else can write to the source meanwhile. Raises Unsuitable, Unfit, Django's DatabaseError.
    """
    if not is_sqlite(source_config) or is_sqlite(target_config):
        raise Unsuitable("It moves from SQLite to PostgreSQL: sqlite:///path postgres://user@host/name.")
    if not Path(source_config["NAME"]).is_file():  # which SQLite would make
        raise Unsuitable(f"There is no file {source_config['NAME']}.")
    with (
        opened("source", source_config) as source,
        transaction.atomic(using=source),  # it is IMMEDIATE, so that it waits for writers and then keeps them out
        opened("target", target_config) as target,
    ):
        migrations = current(source)
        found = set(connections[target].introspection.table_names())
        if MOVE_UNDER_WAY in found:
            check_source(source, target)
            say("Going on with the move that was interrupted")
        elif found:
            raise Unsuitable(f"{described(target_config)} is not empty: it has {len(found)} tables. Name an empty one.")
        else:
            prepare(source, target, migrations)
        moved = sum(copy(table, source, target, say) for table in tables(apps))
        say("Comparing every row")
        for table in tables(apps):
            compare(table, source, target)
        finish(target, say)
    return moved


def prepare(source: str, target: str, migrations: Any) -> None:
    """Make the tables without their foreign keys, and what remembers them."""
    with transaction.atomic(using=target), connections[target].cursor() as cursor:
        make_tables(target, migrations)
        cursor.execute(f"CREATE TABLE {MOVE_UNDER_WAY} (source text NOT NULL, foreign_keys text[] NOT NULL)")
        cursor.execute(FOREIGN_KEYS)
        statements = cursor.fetchall()
        for _, drop in statements:
            cursor.execute(drop)
        cursor.execute(
            f"INSERT INTO {MOVE_UNDER_WAY} VALUES (%s, %s)",  # noqa: S608
            [name_of(source), [add for add, _ in statements]],
        )


def check_source(source: str, target: str) -> None:
    with connections[target].cursor() as cursor:
        cursor.execute(f"SELECT source FROM {MOVE_UNDER_WAY}")  # noqa: S608
        (begun_from,) = cursor.fetchone()
    if begun_from != name_of(source):
        raise Unsuitable(f"A move from {begun_from} was begun there. Go on with that, or name an empty database.")


def name_of(source: str) -> str:
    return str(Path(connections[source].settings_dict["NAME"]).resolve())


def copy(table: Table, source: str, target: str, say: Say) -> int:
    """Copy the rows after the last that is there; returns how many there are in all."""
    total, there = table.count(source), table.count(target)
    for batch in batches(table.rows(source, after=table.last_key(target)), say, table.label, total - there, EACH):
        with transaction.atomic(using=target):
            table.store(target, batch)
    return total


def compare(table: Table, source: str, target: str) -> None:
    with transaction.atomic(using=target):
        key = first_difference(table, table.rows(source), table.rows(target))
    if key is not None:
        raise Unsuitable(
            f"The row {key} of {table.label} is not the same in both: the source was changed after the move began. "
            "Begin again with an empty database."
        )


def finish(target: str, say: Say) -> None:
    """Put the foreign keys back, which checks them, and forget that this was a move."""
    say("Putting the foreign keys back")
    with transaction.atomic(using=target), connections[target].cursor() as cursor:
        cursor.execute(f"SELECT unnest(foreign_keys) FROM {MOVE_UNDER_WAY}")  # noqa: S608
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        set_sequences(target, tables(apps))
        cursor.execute(f"DROP TABLE {MOVE_UNDER_WAY}")
    with connections[target].cursor() as cursor:
        cursor.execute("ANALYZE")
