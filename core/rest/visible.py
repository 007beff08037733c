"""Rows that a caller may see, by their keys or by what they belong to, with SQL that the ORM composes once.

What a caller may see must depend on nothing but who they are and whether they administer.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F, Model, QuerySet

from core.database.compiled import Lookup


def found(model: type[Model], keys: Iterable[int], user: Any) -> dict[int, Any]:
    """The rows of a model with these keys that the user may see, by key."""
    wanted = list(keys)
    if not wanted:
        return {}
    lookup = by_keys(model, user.is_admin, size_for(wanted))
    return {row[0]: lookup.made(row) for row in lookup.rows(user.pk, *padded(wanted))}


def attach(rows: Sequence[Model], name: str, user: Any) -> list[Any]:
    """Give each row what its relation to many leads to, as far as the user may see it: one statement for all rows.

    Returns what they lead to, each once.
    """
    if not rows:
        return []
    of: dict[Any, list[Any]] = {row.pk: [] for row in rows}
    lookup = by_holder(type(rows[0]), name, user.is_admin, size_for(of))
    made: dict[Any, Any] = {}
    for row in lookup.rows(user.pk, *padded(list(of))):
        key, holder = row[0], row[-1]
        if key not in made:
            made[key] = lookup.made(row)
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
def by_keys(model: Any, is_admin: bool, size: int) -> Lookup[Any]:
    def compose(user: int, *keys: int) -> QuerySet[Any]:
        return model._default_manager.filter(pk__in=keys).visible_to(caller(user, is_admin)).order_by()

    return Lookup(int, *[int] * size, compose=compose)


@cache
def by_holder(model: type[Model], name: str, is_admin: bool, size: int) -> Lookup[Any]:
    """The rows to which a relation of a model leads, in their order, each with the key of who has it at the end."""
    field: Any = model._meta.get_field(name)

    def compose(user: int, *holders: int) -> QuerySet[Any]:
        back = field.remote_field.name
        of_holders = field.related_model._default_manager.filter(**{f"{back}__in": holders}).annotate(_holder=F(back))
        return of_holders.visible_to(caller(user, is_admin))  # later, so that it has a join of its own

    return Lookup(int, *[int] * size, compose=compose)


def caller(key: int, is_admin: bool) -> Any:
    return get_user_model()(pk=key, is_admin=is_admin)
