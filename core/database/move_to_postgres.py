"""Moves the whole database from SQLite to PostgreSQL; an interrupted move can go on.

Rows are copied in the order of their keys, a batch in each transaction, so the last key in the target tells where to go
on. Foreign keys are dropped during the copy, because tables refer to each other, and added again, which checks them,
after all rows were compared. The table MOVE_UNDER_WAY in the target keeps their definitions and the source's path.
"""

from pathlib import Path

from django.apps import apps
from django.db import connections, transaction
from django.db.migrations.recorder import MigrationRecorder

from core.database.connections import (
    MOVE_UNDER_WAY,
    Migrations,
    Unsuitable,
    connect,
    create_tables,
    current_migrations,
    describe_database,
    is_sqlite,
    reset_sequences,
)
from core.database.table_dump import Say, Table, batches, first_difference, tables
from core.database.url import Config

ROWS_PER_TRANSACTION = 10_000
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
    if not Path(source_config["NAME"]).is_file():  # SQLite would make it
        raise Unsuitable(f"There is no file {source_config['NAME']}.")
    with (
        connect("source", source_config) as source,
        transaction.atomic(using=source),  # IMMEDIATE: it waits for writers and then keeps them out
        connect("target", target_config) as target,
    ):
        migrations = current_migrations(source)
        present = connections[target].introspection.table_names()
        if MOVE_UNDER_WAY in present:
            check_target(source, target, migrations)
            say("Going on with the move that was interrupted")
        elif present:
            database = describe_database(target_config)
            raise Unsuitable(f"{database} is not empty: it has {len(present)} tables. Name an empty one.")
        else:
            prepare_target(source, target, migrations)
        moved = sum(copy_rows(table, source, target, say) for table in tables(apps))
        say("Comparing every row")
        for table in tables(apps):
            with transaction.atomic(using=target):
                key = first_difference(table, table.rows(source), table.rows(target))
            if key is not None:
                raise Unsuitable(
                    f"The row {key} of {table.label} is not the same in both: the source was changed after the move "
                    "began. Begin again with an empty database."
                )
        complete_target(target, say)
    return moved


def prepare_target(source: str, target: str, migrations: Migrations) -> None:
    """Create the tables without foreign keys, and the table that remembers those and the source."""
    with transaction.atomic(using=target), connections[target].cursor() as cursor:
        create_tables(target, migrations)
        cursor.execute(f"CREATE TABLE {MOVE_UNDER_WAY} (source text NOT NULL, foreign_keys text[] NOT NULL)")
        cursor.execute(FOREIGN_KEYS)
        statements = cursor.fetchall()
        for _, drop in statements:
            cursor.execute(drop)
        cursor.execute(
            f"INSERT INTO {MOVE_UNDER_WAY} VALUES (%s, %s)",  # noqa: S608
            [source_path(source), [add for add, _ in statements]],
        )


def check_target(source: str, target: str, migrations: Migrations) -> None:
    """Raise Unsuitable unless the move to the target began from this source, with these migrations."""
    with connections[target].cursor() as cursor:
        cursor.execute(f"SELECT source FROM {MOVE_UNDER_WAY}")  # noqa: S608
        (first_source,) = cursor.fetchone()
    if first_source != source_path(source):
        raise Unsuitable(f"A move from {first_source} was begun there. Go on with that, or name an empty database.")
    if set(MigrationRecorder(connections[target]).applied_migrations()) != migrations:
        raise Unsuitable("Another version began this move. Begin again with an empty database.")


def source_path(source: str) -> str:
    """The absolute path of the SQLite file, by which an interrupted move is recognized."""
    return str(Path(connections[source].settings_dict["NAME"]).resolve())


def copy_rows(table: Table, source: str, target: str, say: Say) -> int:
    """Copy the rows after the last one in the target; returns how many rows the table has in all."""
    total, present = table.count(source), table.count(target)
    last = table.model._base_manager.using(target).order_by("pk").last()
    rows = table.rows(source, after=last and last.pk)
    for batch in batches(rows, say, table.label, total - present, ROWS_PER_TRANSACTION):
        with transaction.atomic(using=target):
            table.insert(target, batch)
    return total


def complete_target(target: str, say: Say) -> None:
    """Add the foreign keys, which checks them, and drop MOVE_UNDER_WAY."""
    say("Putting the foreign keys back")
    with transaction.atomic(using=target), connections[target].cursor() as cursor:
        cursor.execute(f"SELECT unnest(foreign_keys) FROM {MOVE_UNDER_WAY}")  # noqa: S608
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        reset_sequences(target, tables(apps))
        cursor.execute(f"DROP TABLE {MOVE_UNDER_WAY}")
    with connections[target].cursor() as cursor:
        cursor.execute("ANALYZE")
