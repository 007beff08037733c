"""Storing a new row where it happens often."""

from functools import cache
from typing import Any

from django.db import connection, models


def insert(instance: models.Model) -> None:
    """Store a new instance and set its key: what `save(force_insert=True)` does without inheritance and signals.

    Its SQL is composed once for each model, which makes it several times cheaper.
    """
    statement, fields, sets_key = statement_of(type(instance))
    values = [field.get_db_prep_save(field.pre_save(instance, True), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        if sets_key:
            instance.pk = cursor.fetchone()[0]
    instance._state.adding, instance._state.db = False, connection.alias


@cache
def statement_of(model: type[models.Model]) -> tuple[str, list[Any], bool]:
    meta: Any = model._meta
    quote = connection.ops.quote_name
    fields: list[Any] = [field for field in meta.local_concrete_fields if field is not meta.auto_field]
    columns = ", ".join(quote(field.column) for field in fields)
    statement = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"  # noqa: S608
    if meta.auto_field:
        statement += f" RETURNING {quote(meta.auto_field.column)}"
    return statement, fields, meta.auto_field is not None
