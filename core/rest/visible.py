"""Rows that a caller may see, by their keys or by what they belong to, with SQL that the ORM composes once.

What a caller may see must depend on nothing but who they are and whether they administer.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F, Model, QuerySet

from core.database.compiled import CompiledQuery, column_names, to_instance


def found(model: type[Model], keys: Iterable[int], user: Any) -> dict[int, Any]:
    """The rows of a model with these keys that the user may see, by key."""
    wanted = list(keys)
    if not wanted:
        return {}
    columns = column_names(model)
    rows = by_keys(model, user.is_admin, size_for(wanted)).rows(user.pk, *padded(wanted))
    return {instance.pk: instance for instance in (to_instance(model, columns, row) for row in rows)}


def attach(rows: Sequence[Model], name: str, user: Any) -> list[Any]:
    """Give each row what its relation to many leads to, as far as the user may see it: one statement for all rows.

    Returns what they lead to, each once.
    """
    if not rows:
        return []
    of: dict[Any, list[Any]] = {row.pk: [] for row in rows}
    query = by_holder(type(rows[0]), name, user.is_admin, size_for(of))
    related_model: Any = type(rows[0])._meta.get_field(name).related_model
    columns = column_names(related_model)
    made: dict[Any, Any] = {}
    for key, *values, holder in query.rows(user.pk, *padded(list(of))):
        if key not in made:
            made[key] = to_instance(related_model, columns, values)
        of[holder].append(made[key])
    for holder in rows:
        setattr(holder, shown(name), of[holder.pk])
    return list(made.values())


def related(instance: Any, name: str) -> list[Any]:
    """What a relation to many leads to, which was attached: without that, nobody has looked at who may see it."""
    attached: list[Any] = instance.__dict__[shown(name)]
    return attached


def shown(name: str) -> str:
    """The attribute that keeps what a relation to many leads to, as far as the caller may see it."""
    return f"_shown_{name}"


def size_for(keys: Any) -> int:
    """How many keys the statement for so many takes: a power of two, so that there are few statements."""
    return 1 << (len(keys) - 1).bit_length()


def padded(keys: list[Any]) -> list[Any]:
    return keys + keys[-1:] * (size_for(keys) - len(keys))


@cache
def by_keys(model: Any, is_admin: bool, size: int) -> CompiledQuery:
    def compose(user: int, *keys: int) -> QuerySet[Any]:
        return (
            model._default_manager.filter(pk__in=keys)
            .visible_to(caller(user, is_admin))
            .order_by()
            .values_list(*column_names(model))
        )

    return CompiledQuery(int, *[int] * size, compose=compose)


@cache
def by_holder(model: type[Model], name: str, is_admin: bool, size: int) -> CompiledQuery:
    """The rows to which a relation of a model leads, in their order: key, columns, and the key of who has it."""
    field: Any = model._meta.get_field(name)

    def compose(user: int, *holders: int) -> QuerySet[Any]:
        back = field.remote_field.name
        of_holders = field.related_model._default_manager.filter(**{f"{back}__in": holders}).annotate(_holder=F(back))
        visible = of_holders.visible_to(caller(user, is_admin))  # later, so that it has a join of its own
        return visible.values_list("pk", *column_names(field.related_model), "_holder")

    return CompiledQuery(int, *[int] * size, compose=compose)


def caller(key: int, is_admin: bool) -> Any:
    return get_user_model()(pk=key, is_admin=is_admin)
