"""Every table of the database, and its rows as they are: for backups and moves, from one kind of database to another.

A row is a tuple of what Python makes of its columns; JSON stays text, which tells its null from that of SQL.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from itertools import islice, zip_longest
from typing import Any

import orjson
from django.apps.registry import Apps
from django.db import DataError, IntegrityError, connections, models
from django.db.models.functions import Cast
from django.utils.duration import duration_string

# what no copy holds, and why; all else that Django's registry of models has is copied
LEFT_OUT = {"sessions.session": "sign-ins of browsers: a copy must not sign anyone in again"}

AT_ONCE = 2_000  # rows in memory
SECONDS_SILENT = 3
TRANSLATED = (  # what JSON has no word for, or what databases keep each in its own form
    models.BinaryField,
    models.DateField,
    models.DecimalField,
    models.DurationField,
    models.TimeField,
    models.UUIDField,
)

Row = tuple[Any, ...]
Say = Callable[[str], None]


class Unfit(Exception):
    """A row that the other database cannot hold; the words name it and show nothing of it."""


@dataclass(frozen=True)
class Table:
    """A model's table, in today's form or in that of an earlier migration."""

    model: type[models.Model]

    @property
    def label(self) -> str:
        return self.model._meta.label_lower

    @cached_property
    def fields(self) -> list[Any]:
        """By the names of their columns, for their order is another after migrations than in a model."""
        stored = [field for field in self.model._meta.local_concrete_fields if not field.generated]
        return sorted(stored, key=lambda field: field.column)

    @property
    def columns(self) -> list[str]:
        return [field.column for field in self.fields]

    def count(self, using: str) -> int:
        return self.model._base_manager.using(using).count()

    def rows(self, using: str, after: Any = None) -> Iterator[Row]:
        """All rows, or those after that key, in the order of their keys; not kept in memory.

        In PostgreSQL this must be called in a transaction.
        """
        found = self.model._base_manager.using(using).order_by("pk")
        if after is not None:
            found = found.filter(pk__gt=after)
        texts = {f"text_of_{field.attname}": Cast(field.attname, models.TextField()) for field in self._of_json}
        names = [f"text_of_{field.attname}" if field in self._of_json else field.attname for field in self.fields]
        return found.annotate(**texts).values_list(*names).iterator(AT_ONCE)

    def last_key(self, using: str) -> Any:
        return self.model._base_manager.using(using).order_by("-pk").values_list("pk", flat=True).first()

    def key(self, row: Row) -> Any:
        return row[self.fields.index(self.model._meta.pk)]

    def store(self, using: str, rows: Iterable[Row]) -> None:
        """Insert the rows; raises Unfit. It belongs into a transaction."""
        rows = list(rows)
        prepared = [self._prepare(connections[using], row) for row in rows]
        try:
            if connections[using].vendor == "postgresql":
                self._copy(using, prepared)
            else:
                self._insert(using, prepared)
        except (DataError, IntegrityError) as error:
            raise Unfit(f"{self.label}: {self._culprit(error, rows)} cannot be stored: {first_line(error)}") from None

    def line(self, row: Row) -> bytes:
        """The row as JSON, which `row` reads."""
        return orjson.dumps(row, default=in_json)

    def row(self, line: bytes) -> Row:
        """The row of a line; raises ValueError for one that is none of this table."""
        values = orjson.loads(line)
        if not isinstance(values, list) or len(values) != len(self.fields):
            raise ValueError(f"This is no row of {self.label}.")
        for index in self._translated:
            values[index] = self._kinds[index].to_python(values[index])
        return tuple(values)

    def same(self, one: Row, other: Row) -> bool:
        """Whether they say the same; PostgreSQL writes JSON in an order and with numbers of its own."""
        return one == other or self._plain(one) == self._plain(other)

    @cached_property
    def _kinds(self) -> list[Any]:
        """The fields, and of foreign keys what they point to."""
        return [field.target_field if field.is_relation else field for field in self.fields]

    @cached_property
    def _translated(self) -> list[int]:
        return [index for index, field in enumerate(self._kinds) if isinstance(field, TRANSLATED)]

    @cached_property
    def _of_json(self) -> list[Any]:
        return [field for field in self.fields if isinstance(field, models.JSONField)]

    def _prepare(self, connection: Any, row: Row) -> Sequence[Any]:
        values = list(row)
        for index in self._translated:
            values[index] = self._kinds[index].get_db_prep_save(values[index], connection)
        return values

    def _plain(self, row: Row) -> list[Any]:
        return [
            plain(json.loads(value)) if field in self._of_json and value is not None else value
            for field, value in zip(self.fields, row, strict=True)
        ]

    def _copy(self, using: str, rows: Sequence[Sequence[Any]]) -> None:
        statement = f"COPY {self._target(using)} FROM STDIN"
        with (
            connections[using].wrap_database_errors,
            connections[using].cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def _insert(self, using: str, rows: Sequence[Sequence[Any]]) -> None:
        places = ", ".join(["%s"] * len(self.fields))
        with connections[using].cursor() as cursor:
            cursor.executemany(f"INSERT INTO {self._target(using)} VALUES ({places})", rows)  # noqa: S608

    def _target(self, using: str) -> str:
        quoted = connections[using].ops.quote_name
        return f"{quoted(self.model._meta.db_table)} ({', '.join(map(quoted, self.columns))})"

    def _culprit(self, error: Exception, rows: list[Row]) -> str:
        """Which row it was, where that can be told."""
        context = getattr(getattr(error.__cause__, "diag", None), "context", None) or ""
        line = re.search(r", line (\d+)", context)
        row = rows[int(line[1]) - 1] if line else next((row for row in rows if holds_nul(row)), None)
        return f"the row with the key {self.key(row)}" if row else "a row"


def batches(rows: Iterable[Row], say: Say, what: str, total: int, size: int = AT_ONCE) -> Iterator[list[Row]]:
    """The rows, so many at once; says now and then how far it is."""
    rows, done, said = iter(rows), 0, time.monotonic()
    while batch := list(islice(rows, size)):
        yield batch
        done += len(batch)
        if time.monotonic() > said + SECONDS_SILENT:
            say(f"{what}: {done:,} of {total:,} rows")
            said = time.monotonic()


def tables(apps: Apps | Any) -> list[Table]:
    """Those of all managed models of a registry, that of Django or of a migration's state, but for LEFT_OUT."""
    found = [
        Table(model)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and model._meta.label_lower not in LEFT_OUT
    ]
    return sorted(found, key=lambda table: table.label)


def first_difference(table: Table, wanted: Iterable[Row], found: Iterable[Row]) -> Any:
    """The key of the first row that is not the same in both, which are in the order of their keys; None without one."""
    for one, other in zip_longest(wanted, found):
        if one is None or other is None or not table.same(one, other):
            return table.key(one or other)
    return None


def holds_nul(row: Row) -> bool:
    """PostgreSQL does not store this character."""
    return any(isinstance(value, str) and "\0" in value for value in row)


def first_line(error: Exception) -> str:
    """What a database says is wrong; the lines after it show values."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def in_json(value: Any) -> str:
    """What fields' `to_python` reads again, of values that JSON has no word for."""
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return duration_string(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in a backup")


def plain(value: Any) -> Any:
    """JSON without what PostgreSQL changes in it: a float that is whole comes back as an integer."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(Decimal(repr(value))) if isinstance(value, float) and value.is_integer() else value
