"""Databases beside the one that is served from, and how far each is migrated."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.color import no_style
from django.db import DatabaseError, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from core.database.table_dump import Table, first_line, tables

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

Config = dict[str, Any]
Migrations = set[tuple[str, str]]


MOVE_UNDER_WAY = "aistudio_move"  # a table that a database has until all of a move has arrived


class Unsuitable(Exception):
    """A database or a file that cannot be used for this, and why."""


@contextmanager
def opened(name: str, config: Config, **options: Any) -> Iterator[str]:
    """The alias of a database, known by it until the end: a connection of its own, with these OPTIONS changed.

    Raises Unsuitable when it cannot be reached.
    """
    own = deepcopy(config)
    own["OPTIONS"] = {key: value for key, value in {**own.get("OPTIONS", {}), **options}.items() if key != "pool"}
    connections.databases[name] = own
    connections.configure_settings(connections.databases)
    try:
        try:
            connections[name].ensure_connection()
        except (DatabaseError, ImproperlyConfigured) as error:
            raise Unsuitable(f"{described(config)}: {first_line(error)}.") from None
        yield name
    finally:
        connections[name].close()
        del connections[name]
        del connections.databases[name]


@contextmanager
def snapshot(config: Config) -> Iterator[str]:
    """The alias of a database as it is at this moment; others go on writing to it."""
    options = {"transaction_mode": "DEFERRED"} if is_sqlite(config) else {}
    with opened("snapshot", config, **options) as using, transaction.atomic(using=using):
        if not is_sqlite(config):
            with connections[using].cursor() as cursor:
                cursor.execute(SNAPSHOT)
        yield using


def is_sqlite(config: Config) -> bool:
    return "sqlite3" in config["ENGINE"]


def described(config: Config) -> str:
    """The database without its password."""
    if is_sqlite(config):
        return f"SQLite {config['NAME']}"
    return f"PostgreSQL {config['NAME']} at {config.get('HOST') or 'its socket'}"


def current(using: str) -> Migrations:
    """The migrations of a database that has just those of this version; raises Unsuitable for any other."""
    executor = MigrationExecutor(connections[using])
    applied, known = set(executor.loader.applied_migrations), set(executor.loader.graph.nodes)
    database = described(connections[using].settings_dict)
    if is_half_moved(using):
        raise Unsuitable(half_moved(database))
    if missing := known - applied:
        raise Unsuitable(f"{database} lacks {named(missing)}. Run manage.py migrate on it first.")
    labels = {label for label, _ in known}
    if newer := {node for node in applied - known if node[0] in labels}:
        raise Unsuitable(f"{database} is of a newer version: {named(newer)} is not known here.")
    return known


def is_half_moved(using: str) -> bool:
    return MOVE_UNDER_WAY in connections[using].introspection.table_names()


def refuse_half_moved(config: Config) -> None:
    """Raises Unsuitable, for what would take the part of a database that has arrived for the whole.

    One that cannot be reached passes: a server may be up before its database.
    """
    if is_sqlite(config):  # which nothing is moved to
        return
    found = False
    with suppress(Unsuitable), opened("half_moved", config) as using:
        found = is_half_moved(using)
    if found:
        raise Unsuitable(half_moved(described(config)))


def half_moved(database: str) -> str:
    return f"A move to {database} is under way. Go on with manage.py move_database."


def tables_after(migrations: Migrations) -> list[Table]:
    """The tables as these migrations leave them; raises Unsuitable when there are some that this version lacks."""
    loader = MigrationLoader(None)
    if newer := migrations - set(loader.graph.nodes):
        raise Unsuitable(f"It is of a newer version: {named(newer)} is not known here.")
    return tables(loader.project_state(sorted(migrations)).apps)


def named(migrations: Migrations) -> str:
    return ", ".join(sorted(f"{label}.{name}" for label, name in migrations))


def make_tables(using: str, migrations: Migrations) -> None:
    """Make the tables as these migrations leave them, in an empty database; without the rows that they add."""
    connection = connections[using]
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    executor.migrate(None, [step for step in plan if (step[0].app_label, step[0].name) in migrations])
    with connection.cursor() as cursor, connection.constraint_checks_disabled():
        for table in tables_after(migrations):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table.model._meta.db_table)}")  # noqa: S608
    connection.check_constraints()  # some migrations leave them immediate, in PostgreSQL until the transaction ends


def drop_tables(using: str) -> None:
    """Drop all that are ours, in their present form; PostgreSQL alone does so in a transaction."""
    ours = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    ours |= {"django_migrations", MOVE_UNDER_WAY}
    found = ours & set(connections[using].introspection.table_names())
    if found:
        with connections[using].cursor() as cursor:
            cursor.execute(f"DROP TABLE {', '.join(map(connections[using].ops.quote_name, sorted(found)))}")


def set_sequences(using: str, made: list[Table]) -> None:
    """The next row gets a key after those that were copied; SQLite does so by itself."""
    with connections[using].cursor() as cursor:
        for statement in connections[using].ops.sequence_reset_sql(no_style(), [table.model for table in made]):
            cursor.execute(statement)
