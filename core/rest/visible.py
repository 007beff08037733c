"""Rows that a user may see, by their keys or by what they are related to, with SQL that the ORM composes once.

Which rows `visible_to(user)` has must depend on nothing but the user's key and role.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Protocol

from django.contrib.auth import get_user_model
from django.db.models import F, Model, QuerySet

from core.database.compiled import CompiledQuery, column_names, to_instance


class Caller(Protocol):
    """A user, as far as `core` knows one. Permissions are asked by name."""

    pk: int

    @property
    def role(self) -> str: ...

    def may(self, permission: str) -> bool: ...


def visible_by_pk(model: type[Model], keys: Iterable[int], user: Caller) -> dict[int, Model]:
    """The rows of a model with these keys that the user may see, by key."""
    wanted = fill_up(keys)
    if not wanted:
        return {}
    columns, rows = column_names(model), {}
    for values in rows_by_pk(model, user.role, len(wanted)).rows(user.pk, *wanted):
        row = to_instance(model, columns, values)
        rows[row.pk] = row
    return rows


def prefetch_visible(rows: Sequence[Model], name: str, user: Caller) -> dict[int, list[Model]]:
    """The rows that a relation to many leads to and the user may see, by the key of the row that has the relation.

    This takes one statement. A row that several are related to is one instance.
    """
    related: dict[int, list[Model]] = {row.pk: [] for row in rows}
    if not rows:
        return related
    holders = fill_up(related)
    query = rows_by_holder(type(rows[0]), name, user.role, len(holders))
    model: Any = type(rows[0])._meta.get_field(name).related_model
    columns, instances = column_names(model), {}
    for key, *values, holder in query.rows(user.pk, *holders):
        if key not in instances:
            instances[key] = to_instance(model, columns, values)
        related[holder].append(instances[key])
    return related


def fill_up(keys: Iterable[int]) -> list[int]:
    """The keys, the last one repeated until their number is a power of two, so that there are few statements."""
    keys = list(keys)
    return keys + keys[-1:] * ((1 << (len(keys) - 1).bit_length()) - len(keys))


@cache
def rows_by_pk(model: type[Model], role: str, size: int) -> CompiledQuery:
    """The query for so many rows of a model by their keys, as far as users of this role may see them."""

    def compose(user: int, *keys: int) -> QuerySet:
        rows: Any = model._default_manager.filter(pk__in=keys)
        return rows.visible_to(get_user_model().of_role(role, user)).order_by().values_list(*column_names(model))

    return CompiledQuery(int, *[int] * size, compose=compose)


@cache
def rows_by_holder(model: type[Model], name: str, role: str, size: int) -> CompiledQuery:
    """The rows that a relation leads to, in their order: key, columns, and the key of the row that has the relation."""
    field: Any = model._meta.get_field(name)

    def compose(user: int, *holders: int) -> QuerySet:
        back = field.remote_field.name
        related = field.related_model._default_manager.filter(**{f"{back}__in": holders}).annotate(_holder=F(back))
        rows = related.visible_to(get_user_model().of_role(role, user))  # filtered later: it has a join of its own
        return rows.values_list("pk", *column_names(field.related_model), "_holder")

    return CompiledQuery(int, *[int] * size, compose=compose)
