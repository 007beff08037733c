"""Connections to databases other than the served one, their migration state and tables, and what failures mean."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.color import no_style
from django.db import DatabaseError, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from core.database.postgresql import OtherEncoding
from core.database.table_dump import Table, first_line, tables
from core.database.url import Config

Migrations = set[tuple[str, str]]  # app label and name

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
MOVE_UNDER_WAY = "aistudio_move"  # the table that a database has until a move to it is complete
HALF_MOVED = "A move to {database} is under way. Go on with manage.py move_database."


def describe_failure(error: DatabaseError) -> str:
    """What the database says, in one sentence, and what helps if it lacks tables or columns."""
    said = " ".join(str(error).split()).rstrip(".")
    hint = " Run manage.py migrate." if "no such" in said or "does not exist" in said else ""
    return f"{said}.{hint}"


class Unsuitable(Exception):
    """A database or a backup that cannot be used for the purpose. The message says why."""


class Unreachable(Unsuitable):
    """A database that cannot be reached, perhaps only now."""


@contextmanager
def connect(alias: str, config: Config, **options: object) -> Iterator[str]:
    """Add a database to Django's connections under an alias and yield the alias; remove it at the end.

    The connection is not pooled. `options` replace entries of the database's OPTIONS. Raises Unreachable, or Unsuitable
    if a PostgreSQL database is not in UTF-8.
    """
    config = deepcopy(config)
    config["OPTIONS"] = {**config.get("OPTIONS", {}), **options}
    config["OPTIONS"].pop("pool", None)
    connections.databases[alias] = {**config}
    connections.configure_settings(connections.databases)
    try:
        try:
            connections[alias].ensure_connection()
        except (DatabaseError, ImproperlyConfigured) as error:
            kind = Unsuitable if isinstance(error, OtherEncoding) else Unreachable
            raise kind(f"{describe_database(config)}: {first_line(error)}.") from None
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


@contextmanager
def snapshot(config: Config) -> Iterator[str]:
    """Yield an alias through which a database is read as it is at this moment, while others go on writing to it."""
    options = {"transaction_mode": "DEFERRED"} if is_sqlite(config) else {}
    with connect("snapshot", config, **options) as using, transaction.atomic(using=using):
        if not is_sqlite(config):
            with connections[using].cursor() as cursor:
                cursor.execute(SNAPSHOT)
        yield using


def is_sqlite(config: Mapping[str, object]) -> bool:
    """Whether this is the configuration of a SQLite database."""
    return "sqlite3" in str(config["ENGINE"])


def describe_database(config: Mapping[str, object]) -> str:
    """The kind, name and host of a database, without its password."""
    if is_sqlite(config):
        return f"SQLite {config['NAME']}"
    return f"PostgreSQL {config['NAME']} at {config.get('HOST') or 'its socket'}"


def current_migrations(using: str) -> Migrations:
    """The migrations of a database. Raises Unsuitable unless they are exactly those of this version."""
    loader = MigrationLoader(connections[using])
    applied, known = set(loader.applied_migrations), set(loader.graph.nodes)
    database = describe_database(connections[using].settings_dict)
    if MOVE_UNDER_WAY in connections[using].introspection.table_names():
        raise Unsuitable(HALF_MOVED.format(database=database))
    if missing := known - applied:
        raise Unsuitable(f"{database} lacks {join_names(missing)}. Run manage.py migrate on it first.")
    labels = {label for label, _ in known}
    if newer := {node for node in applied - known if node[0] in labels}:
        raise Unsuitable(f"{database} is of a newer version: this version has no {join_names(newer)}.")
    return known


def refuse_unusable(config: Config) -> None:
    """Raise Unsuitable if a move to the database is not complete, so that nobody takes its rows for all rows.

    So is a database whose encoding is not UTF-8. One that cannot be reached is not refused, because a server may start
    before its database.
    """
    with suppress(Unreachable), connect("at_start", config) as using, connections[using].cursor() as cursor:
        if not is_sqlite(config):
            half_moved = MOVE_UNDER_WAY in connections[using].introspection.table_names(cursor)
            obstacle = HALF_MOVED.format(database=describe_database(config)) if half_moved else ""
        else:  # never the target of a move
            cursor.execute("PRAGMA encoding")
            (encoding,) = cursor.fetchone()
            problem = f"{describe_database(config)}: its encoding is {encoding}, and AI Studio needs UTF-8."
            obstacle = "" if encoding == "UTF-8" else problem
        if obstacle:
            raise Unsuitable(obstacle)


def tables_after(migrations: Migrations) -> list[Table]:
    """The tables as these migrations define them. Raises Unsuitable if this version lacks one of the migrations."""
    loader = MigrationLoader(None)
    if newer := migrations - set(loader.graph.nodes):
        raise Unsuitable(f"The backup is of a newer version: this version has no {join_names(newer)}.")
    return tables(loader.project_state(sorted(migrations)).apps)


def join_names(migrations: Migrations) -> str:
    return ", ".join(sorted(f"{label}.{name}" for label, name in migrations))


def create_tables(using: str, migrations: Migrations) -> None:
    """Create the tables as these migrations define them in an empty database, without the rows that they add."""
    connection = connections[using]
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    executor.migrate(None, [step for step in plan if (step[0].app_label, step[0].name) in migrations])
    with connection.cursor() as cursor, connection.constraint_checks_disabled():
        for table in tables_after(migrations):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table.model._meta.db_table)}")  # noqa: S608
    # On PostgreSQL some migrations make constraints immediate until the end of the transaction; this defers them again.
    connection.check_constraints()


def drop_tables(using: str) -> None:
    """Drop all tables of this program, those of earlier versions too. Only PostgreSQL can undo that."""
    connection = connections[using]
    loader = MigrationLoader(connection)
    applied = sorted(set(loader.applied_migrations) & set(loader.graph.nodes))
    registries = (apps, loader.project_state(applied).apps)  # tables had other names in earlier versions
    ours = {model._meta.db_table for known in registries for model in known.get_models(include_auto_created=True)}
    ours |= {"django_migrations", MOVE_UNDER_WAY}
    if present := ours & set(connection.introspection.table_names()):
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {', '.join(map(connection.ops.quote_name, sorted(present)))}")


def reset_sequences(using: str, copied: list[Table]) -> None:
    """Set the sequences past the highest copied keys. SQLite needs no statement for it."""
    with connections[using].cursor() as cursor:
        for statement in connections[using].ops.sequence_reset_sql(no_style(), [table.model for table in copied]):
            cursor.execute(statement)
