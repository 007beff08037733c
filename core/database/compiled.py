"""Statements that the ORM composes once, for reads that almost every request makes.

The ORM takes several times as long to compose a statement as the database takes to run it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC
from functools import cache, cached_property
from threading import RLock
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, models, transaction
from django.utils.timezone import make_aware

Model = TypeVar("Model", bound=models.Model)
Key = int | str | UUID
Row = tuple[Any, ...]
Convert = Callable[[object], object]

STAND_INS: dict[type[Key], Callable[[int], Key]] = {  # values for keys while a statement is composed, all different
    int: lambda number: -number,
    str: lambda number: f"-{number}",
    UUID: lambda number: UUID(int=number),
}
UUIDS: "models.UUIDField[UUID, UUID]" = models.UUIDField()
# Fields whose values every driver returns as Python has them. The values of other fields are converted.
UNCONVERTED = (models.CharField, models.FloatField, models.ForeignKey, models.IntegerField, models.TextField)

_one_writer = RLock()


@contextmanager
def write_transaction() -> Iterator[None]:
    """A transaction that writes. SQLite allows one writer, so the threads of this process take turns there.

    Without this lock, waiting threads would sleep and retry, with growing pauses.
    """
    with _one_writer if connection.vendor == "sqlite" else nullcontext(), transaction.atomic():
        yield


class CompiledQuery:
    """A `values_list()` that `compose` makes from keys of the given types. Its statement is composed once.

    `compose` must return the same queryset for all keys, but for their values.
    """

    def __init__(self, *kinds: type[Key], compose: Callable[..., models.QuerySet[Any, Row]]) -> None:
        self.stand_ins = [STAND_INS[kind](number) for number, kind in enumerate(kinds, 2**40)]
        self.compose = compose

    @cached_property
    def statement(self) -> tuple[str, list[tuple[int | None, Any]]] | None:
        """The SQL and its parameters, each the index of a key, or None and a constant. None if no row can match."""
        try:
            sql, parameters = self.compose(*self.stand_ins).query.sql_with_params()
        except EmptyResultSet:
            return None
        keys = [database_value(key) for key in self.stand_ins]
        return sql, [(keys.index(value), None) if value in keys else (None, value) for value in parameters]

    def rows(self, *keys: Key) -> list[Row]:
        """The rows, with their values as the database driver returns them."""
        if self.statement is None:
            return []
        sql, parameters = self.statement
        with connection.cursor() as cursor:
            cursor.execute(sql, [value if at is None else database_value(keys[at]) for at, value in parameters])
            return cursor.fetchall()

    def get(self, *keys: Key) -> Row | None:
        """The first row, or None."""
        return next(iter(self.rows(*keys)), None)


def database_value(key: Key) -> Any:
    """The key as the database driver takes it."""
    return UUIDS.get_db_prep_value(key, connection) if isinstance(key, UUID) else key


@cache
def column_names(model: type[models.Model], *without: str) -> tuple[str, ...]:
    """The names of a model's columns, in their order, as `values_list()` and `to_instance()` take them."""
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname not in without)


def to_instance(model: type[Model], names: tuple[str, ...], values: Sequence[object]) -> Model:
    """The stored instance whose row has these columns; other columns are deferred."""
    return model.from_db(DEFAULT_DB_ALIAS, names, python_values(model, names, values))


def python_values(model: type[models.Model], names: tuple[str, ...], values: Sequence[object]) -> list[object]:
    """The values of these columns as the fields have them in Python."""
    fields = zip(converters(model, names), values, strict=True)
    return [convert(value) if convert and value is not None else value for convert, value in fields]


@cache
def converters(model: type[models.Model], names: tuple[str, ...]) -> list[Convert | None]:
    """A converter for each of these columns, or None where the driver returns the Python value."""
    return [converter(model._meta.get_field(name)) for name in names]


def converter(field: Any) -> Convert | None:
    """Makes what the driver returns into the field's Python value; None if it already is that."""
    if hasattr(field, "from_db_value"):
        return lambda value: field.from_db_value(value, None, connection)
    if isinstance(field, models.DateTimeField) and connection.vendor == "sqlite":  # stores UTC, without saying so
        return lambda value: make_aware(field.to_python(value), UTC)
    return None if isinstance(field, UNCONVERTED) else field.to_python
