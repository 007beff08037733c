"""PostgreSQL plans what is asked often once for each connection, unless the pooler between knows no such statements."""

from pathlib import Path

import pytest

from tests.live import environment, manage
from tests.talking import new_database

ASK_OFTEN = """
from django.core.management import call_command
from django.db import connection, transaction
from groups.models import ApiToken
call_command("migrate", verbosity=0)
with transaction.atomic():
    for _ in range(10):
        assert ApiToken.user_of("unknown") is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%groups_apitoken%'")
        print(cursor.fetchone()[0])
"""


@pytest.mark.parametrize(
    ("query", "kept"), [("", "1"), ("?prepare_threshold=2", "1"), ("?prepare_threshold=none", "0")]
)
def test_statements_are_planned_once_where_that_is_wanted(postgres: str, tmp_path: Path, query: str, kept: str) -> None:
    variables = environment(tmp_path, DATABASE_URL=new_database(postgres) + query)
    assert manage(variables, "shell", "-v", "0", "-c", ASK_OFTEN).strip() == kept
