"""A compiled query gives what the ORM gives, with the statement that was composed at its first use."""

from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.test.utils import CaptureQueriesContext

from chats.models import Chat, Session
from core.database.compiled import CompiledQuery, Row, column_names, to_instance
from groups.models import ApiToken, Group, User
from llms.models import LLM
from tests.people import Person


def sessions_of(owner: int, uuid: UUID) -> QuerySet[Session, Row]:
    own = Session.objects.filter(user=owner, uuid=uuid, pinned=False, chat__isnull=False)  # with constants
    return own.values_list("pk", "name")


def test_it_finds_by_the_keys_that_are_given(bob: Person, chat: Chat) -> None:
    query = CompiledQuery(int, UUID, compose=sessions_of)
    sessions = [Session.objects.create(user=bob.user, chat=chat, name=f"Session {number}") for number in range(3)]
    Session.objects.create(user=bob.user, chat=chat, pinned=True)
    for session in sessions:
        with CaptureQueriesContext(connection) as queries:
            assert query.get(bob.user.pk, session.uuid) == (session.pk, session.name)
        assert len(queries) == 1
    assert query.get(bob.user.pk, uuid4()) is None
    assert query.rows(0, sessions[0].uuid) == []


def test_none_is_no_statement(bob: Person) -> None:
    query = CompiledQuery(int, compose=lambda key: LLM.objects.filter(pk=key).none().values_list("pk"))
    with CaptureQueriesContext(connection) as queries:
        assert query.rows(1) == []
    assert not queries


@pytest.mark.parametrize("model", [User, Group, LLM, ApiToken, Session])
def test_an_instance_is_as_the_orm_makes_it(model: type[User], bob: Person, chat: Chat) -> None:
    """Times, uuids, booleans, JSON and secrets, which SQLite stores as texts and numbers."""
    Session.objects.create(user=bob.user, chat=chat)
    columns = column_names(model)
    query = CompiledQuery(int, compose=lambda key: model._base_manager.filter(pk=key).values_list(*columns))
    for expected in model._base_manager.all():
        row = query.get(expected.pk)
        assert row
        found = to_instance(model, columns, row)
        for name in columns:
            assert getattr(found, name) == getattr(expected, name)
            assert type(getattr(found, name)) is type(getattr(expected, name))
        assert not found._state.adding


def test_columns_that_are_left_out_are_deferred(bob: Person, chat: Chat) -> None:
    columns = column_names(Chat, "description", "created_at")
    query = CompiledQuery(int, compose=lambda key: Chat.objects.filter(pk=key).values_list(*columns))
    row = query.get(chat.pk)
    assert row
    assert to_instance(Chat, columns, row).get_deferred_fields() == {"description", "created_at"}


def test_a_failed_statement_leaves_its_cursor_closed(db: None) -> None:
    """SQLite's cursors share the lock of their connection."""

    def compose(key: int) -> QuerySet[Group, Row]:
        return Group.objects.filter(pk=key).annotate(x=RawSQL("no_such_function(1)", ())).values_list("x")

    with pytest.raises(DatabaseError) as failure, transaction.atomic():
        CompiledQuery(int, compose=compose).rows(1)
    cursors = [entry.frame.f_locals["cursor"] for entry in failure.traceback if "cursor" in entry.frame.f_locals]
    assert cursors
    for cursor in cursors:
        with pytest.raises(DatabaseError, match="closed"):
            cursor.fetchall()
