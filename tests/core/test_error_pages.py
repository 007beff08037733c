"""What fails outside the API is a page in the dress of the others."""

from typing import Any

import pytest
from django.test import Client

from chats.web import home
from tests.people import Person, client_of


@pytest.mark.parametrize("path", ["/nothing", "/conversations/", "/static/core/nothing.js"])
def test_nothing_is_there(bob: Person, path: str) -> None:
    answer = client_of(bob).get(path)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()
    assert "core/page.css" in answer.content.decode()


def test_a_form_without_its_token(bob: Person) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/sign-in", {"username": "bob@example.com", "password": "x"})
    assert answer.status_code == 403
    assert "This form is out of date" in answer.content.decode()


def test_what_fails_inside(bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("the inside")

    monkeypatch.setattr(home, "no_chats_reason", fail)
    client = client_of(bob)
    client.raise_request_exception = False
    answer = client.get("/")
    assert answer.status_code == 500
    assert "Something failed on the server" in answer.content.decode()
    assert "the inside" not in answer.content.decode()
