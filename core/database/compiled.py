"""Finding and storing rows where it happens often: with SQL that the ORM composes once, one writer after the other.

To compose it takes the ORM several times as long as the database needs to run it, and what Django's cursors and models
do around that is not needed here either.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import cache, cached_property
from itertools import chain
from threading import RLock
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, connections, models, transaction
from django.db.models.base import ModelState
from django.db.models.query import get_related_populators

Model = TypeVar("Model", bound=models.Model)
Key = int | str | UUID
Fields = list[tuple[str, Any]]
Statement = tuple[str, Fields]  # and the fields whose values it takes

STAND_INS: dict[Any, Callable[[int], Key]] = {  # for keys, while a statement is composed; each is unlike the others
    int: lambda place: -place,
    str: lambda place: f"-{place}",
    UUID: lambda place: UUID(int=place),
}


_one_writer = RLock()


@contextmanager
def writing() -> Iterator[Any]:
    """A transaction that writes, given this thread's own connection.

    In SQLite, where there is one writer, the threads of this process take turns.

    SQLite itself would have them sleep and look again, ever longer, while another writes.
    """
    own = own_connection()
    with _one_writer if own.vendor == "sqlite" else nullcontext(), transaction.atomic():
        yield own


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

    It must be the same queryset for all keys, but for their values. It may select related rows along, and leave columns
    out.
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
        known = [adapted(key, connection) for key in self.stand_ins]
        columns = [expression for expression, *_ in compiler.select]
        return Composed(
            model=queryset.model,
            statement=statement,
            keys=[known.index(parameter) for parameter in parameters],
            names=[columns[place].target.attname for place in compiler.klass_info["select_fields"]],
            converters=[(place, *found) for place, found in compiler.get_converters(columns).items()],
            related=get_related_populators(compiler.klass_info, compiler.select, DEFAULT_DB_ALIAS),  # type: ignore[call-arg]
        )

    def rows(self, *keys: Key) -> list[Any]:
        """The values of each row as the database has them: the model's columns, then what was annotated."""
        composed = self.composed
        if composed is None:
            return []
        own = own_connection()
        return execute(own, composed.statement, [adapted(keys[place], own) for place in composed.keys])

    def made(self, row: Sequence[Any]) -> Model:
        """The instance of a row."""
        composed, values = self.composed, list(row)
        assert composed  # there is a row
        own = own_connection() if composed.converters else None
        for place, convert, expression in composed.converters:
            for converter in convert:
                values[place] = converter(values[place], expression, own)
        instance: Any = stored(composed.model, composed.names, values[: len(composed.names)])
        for related in composed.related:
            relate(instance, related, values)
        return instance

    def first(self, *keys: Key) -> Model | None:
        return next(map(self.made, self.rows(*keys)), None)


def own_connection() -> Any:
    """This thread's connection. `connection` looks for it anew with each use, as often as there are fields."""
    return connections[DEFAULT_DB_ALIAS]


def adapted(key: Key, own: Any) -> Any:
    return UUIDS.get_db_prep_value(key, own) if isinstance(key, UUID) else key


UUIDS: Any = models.UUIDField()


def stored(model: type[Model], names: Sequence[str], values: Sequence[Any]) -> Model:
    """An instance of what is stored: what `from_db` makes, without signals and a call for each field."""
    instance = model.__new__(model)
    state = instance._state = ModelState()
    state.adding, state.db = False, DEFAULT_DB_ALIAS
    instance.__dict__.update(zip(names, values, strict=True))
    return instance


def relate(instance: models.Model, related: Any, values: Sequence[Any]) -> None:
    """Put a related instance where Django's populator of the relation says that it belongs."""
    own = values[related.cols_start : related.cols_end]
    if own[related.pk_idx] is None:
        related.local_setter(instance, None)
        return
    other = stored(related.model_cls, related.init_list, own)
    for further in related.related_populators:
        relate(other, further, values)
    related.local_setter(instance, other)
    related.remote_setter(other, instance)


def execute(own: Any, statement: str, values: Sequence[Any], *, returns: bool = True) -> list[Any]:
    """Run it on this thread's own connection; gives the rows that it returns.

    By the driver alone, unless someone listens at Django's cursors.
    """
    own.ensure_connection()  # whose signal may add a listener
    if is_heard(own):
        with own.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if returns else []
    with own.wrap_database_errors, closing(drivers_cursor(own)) as cursor:
        cursor.execute(native(statement), values)
        return cursor.fetchall() if returns else []


def execute_each(own: Any, statement: str, many: Sequence[Sequence[Any]]) -> None:
    """Run it with each of these values; it returns no rows."""
    if len(many) == 1:  # for which PostgreSQL's driver would still begin and end a pipeline
        execute(own, statement, many[0], returns=False)
        return
    own.ensure_connection()
    if is_heard(own):
        with own.cursor() as cursor:
            cursor.executemany(statement, many)
    else:
        with own.wrap_database_errors, closing(drivers_cursor(own)) as cursor:
            cursor.executemany(native(statement), many)


def is_heard(own: Any) -> bool:
    """Whether someone listens at Django's cursors: its log of queries, or metrics."""
    return bool(own.queries_logged or own.execute_wrappers)


def drivers_cursor(own: Any) -> Any:
    """Of PostgreSQL's driver the one that lets the server plan a statement once, and not each time anew.

    To be closed at once: one of SQLite's that a traceback still holds would be closed by whatever thread collects the
    garbage, which waits for this connection, as this may wait for what that thread has locked.
    """
    return own.Database.Cursor(own.connection) if own.vendor == "postgresql" else own.connection.cursor()


@cache
def native(statement: str) -> str:
    """The statement as the driver has it."""
    return statement.replace("%s", "?") if connection.vendor == "sqlite" else statement


def new(model: type[Model], /, **values: Any) -> Model:
    """A new instance: what the model's own `__init__` makes, without signals and a look at each field."""
    constants, made, relations = defaults_of(model)
    instance = model.__new__(model)
    state = instance._state = ModelState()
    known = instance.__dict__
    known.update(constants)
    for attname, make in made:
        if attname not in values:
            known[attname] = make()
    for name, value in values.items():
        if column := relations.get(name):
            state.fields_cache[name] = value
            known[column] = value.pk
        else:
            known[name] = value
    return instance


@cache
def defaults_of(model: type[models.Model]) -> tuple[dict[str, Any], list[tuple[str, Any]], dict[str, str]]:
    """What fields have by default, which defaults are made anew for each instance, and the columns of its relations."""
    fields = model._meta.concrete_fields
    made = [field for field in fields if field.has_default() and callable(field.default)]
    constants = {field.attname: field.get_default() for field in fields if field not in made}
    return constants, [(field.attname, field.get_default) for field in made], dict(relations_of(model))


def insert(own: Any, instance: models.Model) -> None:
    """Store a new instance and set its key: as `save(force_insert=True)` would without inheritance and signals."""
    statement, fields = insert_of(type(instance))
    settle(instance, execute(own, statement, values_of(instance, fields, own, added=True))[0][0])


def update(own: Any, instances: Sequence[models.Model], names: tuple[str, ...]) -> None:
    """Store these fields of instances of one model."""
    statement, fields = update_of(type(instances[0]), names)
    execute_each(own, statement, [[*values_of(item, fields, own), item.pk] for item in instances])


def store(added: Sequence[models.Model], changed: models.Model, names: tuple[str, ...]) -> None:
    """Store new instances and set their keys, then these fields of one that was changed.

    Each may refer to new ones before it. PostgreSQL is asked once for all: asking takes longer than storing.
    """
    own = own_connection()
    if own.vendor == "postgresql":
        statement, parts = chain_of(tuple(map(type, added)), references_in(added, changed), type(changed), names)
        values = [values_of(item, fields, own, added=True) for item, fields in zip(added, parts, strict=False)]
        values.append([*values_of(changed, parts[-1], own), changed.pk])
        (keys,) = execute(own, statement, list(chain.from_iterable(values)))
        for instance, key in zip(added, keys, strict=True):
            settle(instance, key)
        for instance in (*added, changed):
            refer(instance)
    else:
        for instance in added:
            refer(instance)
            insert(own, instance)
        refer(changed)
        update(own, [changed], names)


def settle(instance: models.Model, key: Any) -> None:
    """It is stored now, and has this key."""
    instance.pk = key
    instance._state.adding, instance._state.db = False, DEFAULT_DB_ALIAS


def references_in(added: Sequence[models.Model], changed: models.Model) -> frozenset[tuple[int, str, int]]:
    """Which instance refers to which of the new ones before it, by their places, and in what column."""
    places = {id(instance): place for place, instance in enumerate(added)}
    return frozenset(
        (place, attname, places[id(related)])
        for place, instance in enumerate((*added, changed))
        for name, attname in relations_of(type(instance))
        if places.get(id(related := instance._state.fields_cache.get(name)), place) < place
    )


def refer(instance: models.Model) -> None:
    """Take over the keys of the instances that it refers to, which they may not have had when they were assigned."""
    for name, attname in relations_of(type(instance)):
        if related := instance._state.fields_cache.get(name):
            instance.__dict__[attname] = related.pk


def values_of(instance: models.Model, fields: Fields, own: Any, *, added: bool = False) -> list[Any]:
    known = instance.__dict__
    return [
        field.get_db_prep_save(field.pre_save(instance, added), own) if field else known[name] for name, field in fields
    ]


@cache
def insert_of(model: type[models.Model], /, **known: str) -> Statement:
    """An INSERT that returns the key, and the fields whose values it takes: `known` ones are keys of other statements.

    Those are selected from and not put among VALUES, for which PostgreSQL would make our key before theirs. What is
    selected must say its type.
    """
    meta: Any = model._meta
    fields = [field for field in meta.local_concrete_fields if field is not meta.auto_field]
    columns = ", ".join(quoted(field.column) for field in fields)
    if known:
        values = [
            f"{known[field.attname]}.key" if field.attname in known else f"%s::{column_type(field)}" for field in fields
        ]
        source = f"SELECT {', '.join(values)} FROM {', '.join(sorted({*known.values()}))}"  # noqa: S608
    else:
        source = f"VALUES ({', '.join(['%s'] * len(fields))})"
    statement = f"INSERT INTO {quoted(meta.db_table)} ({columns}) {source} RETURNING {quoted(meta.pk.column)} AS key"
    return statement, [prepared(field) for field in fields if field.attname not in known]


def column_type(field: Any) -> str:
    """Without its length: to cast to that would cut what is too long, and not refuse it."""
    return str(field.db_type(connection)).partition("(")[0]


@cache
def update_of(model: type[models.Model], names: tuple[str, ...], /, **known: str) -> Statement:
    meta: Any = model._meta
    fields = [meta.get_field(name) for name in names]
    values = [f"(SELECT key FROM {known[field.attname]})" if field.attname in known else "%s" for field in fields]  # noqa: S608
    changes = ", ".join(f"{quoted(field.column)} = {value}" for field, value in zip(fields, values, strict=True))
    statement = f"UPDATE {quoted(meta.db_table)} SET {changes} WHERE {quoted(meta.pk.column)} = %s"  # noqa: S608
    return statement, [prepared(field) for field in fields if field.attname not in known]


@cache
def chain_of(
    added: tuple[type[models.Model], ...],
    references: frozenset[tuple[int, str, int]],
    changed: type[models.Model],
    names: tuple[str, ...],
) -> tuple[str, list[Fields]]:
    """One statement of PostgreSQL that does it all and returns the keys, and whose fields it takes.

    https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING
    """
    known: list[dict[str, str]] = [{} for _ in (*added, changed)]
    for place, attname, other in references:
        known[place][attname] = f"new_{other}"
    inserts = [insert_of(model, **known[place]) for place, model in enumerate(added)]
    update, fields = update_of(changed, names, **known[-1])
    parts = ", ".join(f"new_{place} AS ({statement})" for place, (statement, _) in enumerate(inserts))
    keys = ", ".join(f"(SELECT key FROM new_{place})" for place in range(len(added)))  # noqa: S608
    return f"WITH {parts} {update} RETURNING {keys}", [*(taken for _, taken in inserts), fields]


@cache
def relations_of(model: type[models.Model]) -> list[tuple[str, str]]:
    return [(field.name, field.attname) for field in model._meta.concrete_fields if field.remote_field]


def quoted(name: str) -> str:
    return connection.ops.quote_name(name)


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
