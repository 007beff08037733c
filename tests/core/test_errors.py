"""What fails outside a resource's view is JSON below /api/, too."""

import logging
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from chats.api.chats import ChatViewSet
from tests.people import JSON_API, Person


def only_error(response: Any) -> dict[str, Any]:
    [error] = response.json()["errors"]
    return error


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/", "/api/v1/chats/", "/api/v1/chats/x", "/api/v1/chats/-1"])
def test_an_unknown_path(alice: Person, path: str) -> None:
    response = Client().get(path, headers={"Authorization": alice.key})
    assert response.status_code == 404
    assert only_error(response)["code"] == "not_found"


@pytest.mark.parametrize("pk", ["0", "987", "9" * 30])
def test_an_unknown_id(alice: Person, pk: str) -> None:
    assert only_error(alice.get(f"/chats/{pk}"))["code"] == "not_found"


def test_an_id_has_ascii_digits(alice: Person, chat: Any) -> None:
    assert alice.get("/chats/\u0661").status_code == 404


@pytest.mark.parametrize(("method", "path"), [("put", "/chats"), ("options", "/chats"), ("put", "/chats/1")])
def test_another_method(alice: Person, method: str, path: str) -> None:
    response = getattr(Client(), method)(f"/api/v1{path}", headers={"Authorization": alice.key})
    assert response.status_code == 405
    assert "GET" in response["Allow"] and "OPTIONS" not in response["Allow"]


def test_another_host(db: Any) -> None:
    response = Client().get("/api/v1/chats", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert only_error(response)["code"] == "unknown_host"


def test_what_fails_inside_says_nothing_but_an_id_that_the_log_has(
    alice: Person, monkeypatch: Any, caplog: Any
) -> None:
    def fail(self: Any) -> Any:
        raise RuntimeError("the inside")

    monkeypatch.setattr(ChatViewSet, "get_queryset", fail)
    client = Client(raise_request_exception=False)
    with caplog.at_level(logging.ERROR):
        response = client.get("/api/v1/chats", headers={"Authorization": alice.key})

    assert response.status_code == 500
    error = only_error(response)
    assert error["code"] == "error"
    assert response["X-Request-ID"] in error["detail"]
    assert b"inside" not in response.content
    assert "the inside" in caplog.text


def test_a_busy_database_is_a_503_that_says_when_to_come_again(alice: Person, monkeypatch: Any) -> None:
    def fail(self: Any) -> Any:
        raise OperationalError("database is locked")

    monkeypatch.setattr(ChatViewSet, "get_queryset", fail)
    response = alice.get("/chats", Accept=JSON_API)
    assert response.status_code == 503
    assert response["Retry-After"]
    assert only_error(response)["code"] == "unavailable"


def test_pages_for_people_stay_html(db: Any) -> None:
    assert Client().get("/nothing")["Content-Type"].startswith("text/html")


def test_answers_are_not_kept_by_caches(alice: Person) -> None:
    response = alice.get("/chats")
    assert response["Cache-Control"] == "private, no-cache"
    assert {"Accept", "Authorization", "Cookie"} <= {name.strip() for name in response["Vary"].split(",")}


def test_health(db: Any) -> None:
    assert Client().get("/health").json() == {"status": "ok"}
