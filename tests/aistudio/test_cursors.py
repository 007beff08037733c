"""What failed in the database holds nothing there: SQLite's cursors share the lock of their connection."""

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from aistudio.rows import execute, execute_each

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("many", [[(1,)], [(1,), (1,)]])
@pytest.mark.parametrize("run", [lambda statement, many: execute(connection, statement, many[0]), None])
def test_a_failed_statement_leaves_its_cursor_closed(run: Any, many: list[tuple[int]]) -> None:
    run = run or (lambda statement, many: execute_each(connection, statement, many))
    with pytest.raises(DatabaseError) as failure, transaction.atomic():
        run("INSERT INTO groups_group (id) VALUES (%s)", many)
    seen = [entry.frame.f_locals["cursor"] for entry in failure.traceback if "cursor" in entry.frame.f_locals]
    assert seen
    for cursor in seen:
        with pytest.raises(connection.Database.Error, match="closed"):
            cursor.fetchall()
