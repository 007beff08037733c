"""What failed in the database holds nothing there: SQLite's cursors share the lock of their connection."""

import pytest
from django.db import DatabaseError, connection, transaction

from core.database.compiled import execute_each

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("rows", [1, 2])  # which go to the driver in two ways
def test_a_failed_statement_leaves_its_cursor_closed(rows: int) -> None:
    with pytest.raises(DatabaseError) as failure, transaction.atomic():
        execute_each(connection, "INSERT INTO groups_group (id) VALUES (%s)", [(1,)] * rows)
    seen = [entry.frame.f_locals["cursor"] for entry in failure.traceback if "cursor" in entry.frame.f_locals]
    assert seen
    for cursor in seen:
        with pytest.raises(connection.Database.Error, match="closed"):
            cursor.fetchall()
