"""The record of a request says who asked, and asks no database for it."""

from collections.abc import Iterator

import pytest
from django.test import Client

from core.telemetry.hooks import RequestRecord, current_request
from tests.people import Person


@pytest.fixture
def record() -> Iterator[RequestRecord]:
    record = RequestRecord("an-id", "GET", "/", "127.0.0.1", "http")
    token = current_request.set(record)
    yield record
    current_request.reset(token)


def test_it_has_the_user_of_a_token(record: RequestRecord, bob: Person) -> None:
    bob.get("/chats")
    assert (record.user_id, record.route) == (bob.user.pk, "/api/v1/chats")


def test_it_has_the_user_of_a_session_that_a_page_asked_for(record: RequestRecord, bob: Person) -> None:
    client = Client()
    client.force_login(bob.user)
    assert client.get("/profile").status_code == 200
    assert record.user_id == bob.user.pk


def test_it_has_no_user_where_nothing_asked_for_one(
    record: RequestRecord, bob: Person, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    client = Client()
    client.force_login(bob.user)
    with django_assert_num_queries(1):  # type: ignore[operator]  # of the health check itself
        assert client.get("/health").status_code == 200
    assert record.user_id is None
