"""Reads and writes whole tables for backups and moves between SQLite and PostgreSQL.

A row is a tuple of Python values in the order of `Table.columns`. JSON columns stay text, because only their text tells
JSON's null from SQL's.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from itertools import islice, zip_longest
from typing import Any

import orjson
from django.apps.registry import Apps
from django.db import DataError, IntegrityError, connections, models
from django.db.migrations.state import StateApps
from django.db.models.functions import Cast
from django.utils.duration import duration_string

# Tables that no copy holds, with the reason. All other tables of Django's app registry are copied.
LEFT_OUT = {"sessions.session": "sign-ins of browsers: a copy must not sign anyone in again"}

BATCH_SIZE = 2_000  # rows in memory
PROGRESS_INTERVAL = 3  # seconds
# Fields whose values have no type in JSON, or are stored by each kind of database in its own form.
CONVERTED = (
    models.BinaryField,
    models.DateField,
    models.DecimalField,
    models.DurationField,
    models.TimeField,
    models.UUIDField,
)

Row = tuple[object, ...]
Say = Callable[[str], object]  # tells people how far the work is


class Unfit(Exception):
    """The other database cannot hold a row. The message names the row and shows none of its values."""


@dataclass(frozen=True)
class Table:
    """The table of a model: one of today's models, or one of the state after some earlier migrations."""

    model: type[models.Model]

    @property
    def label(self) -> str:
        return self.model._meta.label_lower

    @cached_property
    def fields(self) -> list[models.Field]:
        """The stored fields in the order of their columns' names, because migrations change the order in the model."""
        stored = [field for field in self.model._meta.local_concrete_fields if not field.generated]
        return sorted(stored, key=lambda field: str(field.column))

    @property
    def columns(self) -> list[str]:
        return [str(field.column) for field in self.fields]

    @cached_property
    def json_fields(self) -> list[models.Field]:
        return [field for field in self.fields if isinstance(field, models.JSONField)]

    @cached_property
    def converted(self) -> dict[int, models.Field]:
        """The fields of the kinds in CONVERTED, and the foreign keys to such fields, by their index in a row."""
        return {
            index: field
            for index, field in enumerate(self.fields)
            if isinstance(field.target_field if isinstance(field, models.ForeignKey) else field, CONVERTED)
        }

    def count(self, using: str) -> int:
        return self.model._base_manager.using(using).count()

    def rows(self, using: str, after: object = None) -> Iterator[Row]:
        """All rows, or those with a greater key than `after`, in the order of their keys; never all in memory.

        On PostgreSQL, call this within a transaction.
        """
        queryset = self.model._base_manager.using(using).order_by("pk")
        if after is not None:
            queryset = queryset.filter(pk__gt=after)
        texts = {f"text_of_{field.attname}": Cast(field.attname, models.TextField()) for field in self.json_fields}
        names = [f"text_of_{field.attname}" if field in self.json_fields else field.attname for field in self.fields]
        return queryset.annotate(**texts).values_list(*names).iterator(BATCH_SIZE)

    def key(self, row: Row) -> object:
        return row[self.fields.index(self.model._meta.pk)]

    def insert(self, using: str, rows: Iterable[Row]) -> None:
        """Insert the rows; call it within a transaction. Raises Unfit."""
        rows, connection = list(rows), connections[using]
        prepared: list[list[Any]] = [list(row) for row in rows]
        for values in prepared:
            for index, field in self.converted.items():
                values[index] = field.get_db_prep_save(values[index], connection)
        quote = connection.ops.quote_name
        target = f"{quote(self.model._meta.db_table)} ({', '.join(map(quote, self.columns))})"
        try:
            with connection.wrap_database_errors, connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                        for values in prepared:
                            copy.write_row(values)
                else:
                    places = ", ".join(["%s"] * len(self.fields))
                    cursor.executemany(f"INSERT INTO {target} VALUES ({places})", prepared)  # noqa: S608
        except (DataError, IntegrityError) as error:
            culprit = self._describe_culprit(error, rows)
            raise Unfit(f"{self.label}: {culprit} cannot be stored: {first_line(error)}") from None

    def _describe_culprit(self, error: Exception, rows: list[Row]) -> str:
        """Names the row that the database refused, if it is known."""
        context = getattr(getattr(error.__cause__, "diag", None), "context", None) or ""
        if line := re.search(r", line (\d+)", context):
            return f"the row with the key {self.key(rows[int(line[1]) - 1])}"
        for row in rows:  # PostgreSQL does not store the character NUL
            if any(isinstance(value, str) and "\0" in value for value in row):
                return f"the row with the key {self.key(row)}"
        return "a row"

    def encode(self, row: Row) -> bytes:
        """The row as a line of JSON for `decode`."""
        return orjson.dumps(row, default=json_default)

    def decode(self, line: bytes) -> Row:
        """The row that `encode` wrote. Raises ValueError or ValidationError if the line is no row of this table."""
        values = orjson.loads(line)
        if not isinstance(values, list) or len(values) != len(self.fields):
            raise ValueError(f"This is no row of {self.label}.")
        for index, field in self.converted.items():
            values[index] = field.to_python(values[index])
        return tuple(values)

    def are_equal(self, one: Row, other: Row) -> bool:
        """Compares values. PostgreSQL reorders the members of JSON objects and rewrites numbers."""
        if one == other:
            return True
        for field, *pair in zip(self.fields, one, other, strict=True):
            if field in self.json_fields:
                pair = [normalize_json(json.loads(value)) if isinstance(value, str) else value for value in pair]
            if pair[0] != pair[1]:
                return False
        return True


def batches(rows: Iterable[Row], say: Say, what: str, total: int, size: int = BATCH_SIZE) -> Iterator[list[Row]]:
    """The rows in lists of `size`. Tells the progress every PROGRESS_INTERVAL seconds."""
    rows, done, reported_at = iter(rows), 0, time.monotonic()
    while batch := list(islice(rows, size)):
        yield batch
        done += len(batch)
        if time.monotonic() > reported_at + PROGRESS_INTERVAL:
            say(f"{what}: {done:,} of {total:,} rows")
            reported_at = time.monotonic()


def tables(apps: Apps | StateApps) -> list[Table]:
    """The tables of all managed models in a registry (Django's, or that of a migration state) without LEFT_OUT."""
    copied = [
        Table(model)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and model._meta.label_lower not in LEFT_OUT
    ]
    return sorted(copied, key=lambda table: table.label)


def first_difference(table: Table, expected: Iterable[Row], actual: Iterable[Row]) -> object:
    """The key of the first row that differs between two iterables in the order of keys; None if none differs."""
    for one, other in zip_longest(expected, actual):
        if one is None or other is None or not table.are_equal(one, other):
            return table.key(one or other)
    return None


def first_line(error: Exception) -> str:
    """The first line of a database's error message; the following lines show values."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def json_default(value: object) -> str:
    """Encodes a value that orjson cannot, in the form that its field's `to_python` reads."""
    match value:
        case bytes() | memoryview():
            return base64.b64encode(value).decode()
        case timedelta():
            return duration_string(value)
        case Decimal():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no form in a backup")


def normalize_json(value: object) -> object:
    """Makes integers of whole floats, as PostgreSQL does with numbers in JSON."""
    if isinstance(value, dict):
        return {key: normalize_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normalize_json(item) for item in value]
    return int(Decimal(repr(value))) if isinstance(value, float) and value.is_integer() else value
