"""Finding and storing rows where it happens often: with SQL that the ORM composes once, one writer after the other.

To compose it takes the ORM several times as long as the database needs to run it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, cached_property
from threading import RLock
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, connections, models, transaction
from django.db.models.query import get_related_populators

Model = TypeVar("Model", bound=models.Model)
Key = int | str | UUID

STAND_INS: dict[Any, Callable[[int], Key]] = {  # for keys, while a statement is composed; each is unlike the others
    int: lambda place: -place,
    str: lambda place: f"-{place}",
    UUID: lambda place: UUID(int=place),
}


_one_writer = RLock()


@contextmanager
def writing() -> Iterator[None]:
    """A transaction that writes. In SQLite, where there is one writer, the threads of this process take turns.

    SQLite itself would have them sleep and look again, ever longer, while another writes.
    """
    with _one_writer if connection.vendor == "sqlite" else nullcontext(), transaction.atomic():
        yield


class Composed(NamedTuple):
    """A statement, which key each of its parameters is, and how instances are made of its rows."""

    model: type[models.Model]
    statement: str
    keys: list[int]
    names: list[str]  # of the model's own columns, which come first
    converters: list[tuple[int, list[Any], Any]]
    related: list[Any]  # for each relation that is selected along: what puts it in its place


class Lookup(Generic[Model]):
    """Finds the rows of a queryset that `compose` makes of keys: integers, texts and uuids.

    It must be the same queryset for all keys, but for their values. It may select related rows along.
    """

    def __init__(self, *kinds: type[Key], compose: Callable[..., models.QuerySet[Model]]) -> None:
        self.stand_ins = [STAND_INS[kind](place) for place, kind in enumerate(kinds, 2**40)]
        self.compose = compose

    @cached_property
    def composed(self) -> Composed | None:
        """None where no row is ever found, whatever the keys: `none()` is no statement."""
        queryset = self.compose(*self.stand_ins)
        compiler = queryset.query.get_compiler(connection=connection)
        try:
            statement, parameters = compiler.as_sql()
        except EmptyResultSet:
            return None
        known = [adapted(key) for key in self.stand_ins]
        columns = [expression for expression, *_ in compiler.select]
        return Composed(
            model=queryset.model,
            statement=statement,
            keys=[known.index(parameter) for parameter in parameters],
            names=[column.target.attname for column in columns[: len(queryset.model._meta.concrete_fields)]],
            converters=[(place, *found) for place, found in compiler.get_converters(columns).items()],
            related=get_related_populators(compiler.klass_info, compiler.select, DEFAULT_DB_ALIAS),  # type: ignore[call-arg]
        )

    def rows(self, *keys: Key) -> list[Any]:
        """The values of each row as the database has them: the model's columns, then what was annotated."""
        composed = self.composed
        if composed is None:
            return []
        with own_connection().cursor() as cursor:
            cursor.execute(composed.statement, [adapted(keys[place]) for place in composed.keys])
            return cursor.fetchall()

    def made(self, row: Sequence[Any]) -> Model:
        """The instance of a row."""
        composed, own, values = self.composed, own_connection(), list(row)
        assert composed  # there is a row
        for place, convert, expression in composed.converters:
            for converter in convert:
                values[place] = converter(values[place], expression, own)
        instance: Any = composed.model.from_db(own.alias, composed.names, values[: len(composed.names)])
        for populator in composed.related:
            populator.populate(values, instance)
        return instance

    def first(self, *keys: Key) -> Model | None:
        return next(map(self.made, self.rows(*keys)), None)


def own_connection() -> Any:
    """This thread's connection. `connection` looks for it anew with each use, as often as there are fields."""
    return connections[DEFAULT_DB_ALIAS]


def adapted(key: Key) -> Any:
    return UUIDS.get_db_prep_value(key, connection) if isinstance(key, UUID) else key


UUIDS: Any = models.UUIDField()


def insert(instance: models.Model) -> None:
    """Store a new instance and set its key: what `save(force_insert=True)` does without inheritance and signals.

    Its SQL is composed once for each model.
    """
    statement, fields, sets_key = statement_of(type(instance))
    own = own_connection()
    with own.cursor() as cursor:
        cursor.execute(statement, values_of(instance, fields, own, added=True))
        if sets_key:
            instance.pk = cursor.fetchone()[0]
    instance._state.adding, instance._state.db = False, own.alias


def update(instances: Sequence[models.Model], names: tuple[str, ...]) -> None:
    """Store these fields of instances of one model."""
    statement, fields = update_of(type(instances[0]), names)
    own = own_connection()
    with own.cursor() as cursor:
        cursor.executemany(statement, [[*values_of(item, fields, own), item.pk] for item in instances])


def values_of(instance: models.Model, fields: Sequence[tuple[str, Any]], own: Any, *, added: bool = False) -> list[Any]:
    known = instance.__dict__
    return [
        field.get_db_prep_save(field.pre_save(instance, added), own) if field else known[name] for name, field in fields
    ]


@cache
def statement_of(model: type[models.Model]) -> tuple[str, list[tuple[str, Any]], bool]:
    meta: Any = model._meta
    quote = connection.ops.quote_name
    fields = [field for field in meta.local_concrete_fields if field is not meta.auto_field]
    columns = ", ".join(quote(field.column) for field in fields)
    statement = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"  # noqa: S608
    if meta.auto_field:
        statement += f" RETURNING {quote(meta.auto_field.column)}"
    return statement, list(map(prepared, fields)), meta.auto_field is not None


@cache
def update_of(model: type[models.Model], names: tuple[str, ...]) -> tuple[str, list[tuple[str, Any]]]:
    meta: Any = model._meta
    quote = connection.ops.quote_name
    fields = [meta.get_field(name) for name in names]
    changes = ", ".join(f"{quote(field.column)} = %s" for field in fields)
    statement = f"UPDATE {quote(meta.db_table)} SET {changes} WHERE {quote(meta.pk.column)} = %s"  # noqa: S608
    return statement, list(map(prepared, fields))


def prepared(field: Any) -> tuple[str, Any]:
    """Where an instance has the value, and the field where that must be asked how it is stored."""
    return field.attname, None if type(field) in AS_THEY_ARE else field


# what drivers take as it is; asking the field for each value would take longer than storing the row
AS_THEY_ARE = (
    models.BigIntegerField,
    models.BooleanField,
    models.CharField,
    models.ForeignKey,
    models.OneToOneField,
    models.TextField,
)
