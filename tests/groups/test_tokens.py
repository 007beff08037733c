"""Who a request comes from: tokens, sessions, and what ends them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from groups import authentication
from groups.models import ApiToken, User
from tests.people import Person


def status(authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = Client().get("/api/v1/chats", headers=headers)
    if response.status_code == 401:
        assert response["WWW-Authenticate"].startswith("Bearer")
        assert "nonsense" not in response.content.decode()  # nor any other wrong key
    return response.status_code


def test_a_token_with_or_without_its_scheme(alice: Person) -> None:
    for authorization in (f"Bearer {alice.key}", f"bearer {alice.key}", f"BEARER  {alice.key}", alice.key):
        assert status(authorization) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer nonsense",
        "nonsense",
        "",
        "Basic YTpi",
        "Token KEY",
        "Bearer KEY more",
        "Bearer KE",
        "Bearer \xe9",
    ],
)
def test_anything_else_is_refused(alice: Person, authorization: str) -> None:
    assert status(authorization.replace("KEY", alice.key)) == 401


def test_without_a_token(db: Any) -> None:
    assert status(None) == 401


def test_a_part_of_a_key_opens_nothing(alice: Person) -> None:
    assert status(f"Bearer {alice.key[:-1]}") == 401
    assert status(f"Bearer {alice.key[:12]}") == 401


def test_a_token_has_no_other_place(alice: Person) -> None:
    assert Client().get(f"/api/v1/chats?token={alice.key}").status_code == 401
    assert Client().get("/api/v1/chats", headers={"X-API-Key": alice.key}).status_code == 401


def test_expired_revoked_and_deactivated(alice: Person) -> None:
    _, key = ApiToken.issue(alice.user, name="old", expires_at=timezone.now() - timedelta(seconds=1))
    assert status(f"Bearer {key}") == 401

    token, key = ApiToken.issue(alice.user, name="lost")
    assert status(f"Bearer {key}") == 200
    token.revoke()
    assert status(f"Bearer {key}") == 401

    assert status(f"Bearer {alice.key}") == 200
    User.objects.filter(pk=alice.user.pk).update(is_active=False)
    assert status(f"Bearer {alice.key}") == 401


def test_a_session_serves_too_and_ends_with_the_user(alice: Person) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice.user)
    assert browser.get("/api/v1/chats").status_code == 200
    assert browser.post("/api/v1/chats", "{}", content_type="application/json").status_code == 403  # no CSRF token

    User.objects.filter(pk=alice.user.pk).update(is_active=False)
    assert browser.get("/api/v1/chats").status_code == 401


def test_where_there_is_a_header_it_alone_decides(alice: Person, charlie: Person) -> None:
    browser = Client()
    browser.force_login(alice.user)
    assert browser.get("/api/v1/chats", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    response = browser.post(
        "/api/v1/chats", "{}", content_type="application/json", headers={"Authorization": f"Bearer {charlie.key}"}
    )
    assert response.status_code == 403


def test_only_a_digest_is_stored(alice: Person) -> None:
    token = ApiToken.objects.get()
    assert alice.key.startswith(token.prefix)
    stored = [str(value) for value in ApiToken.objects.values_list().get()]
    assert not any(alice.key in value for value in stored)


def test_guessing_is_slowed_for_the_guesser_alone(alice: Person, monkeypatch: Any) -> None:
    monkeypatch.setattr(authentication, "WRONG_TOKENS", 5)
    cache.clear()
    try:
        guesses = [status("Bearer guess") for _ in range(6)]
        assert guesses == [401] * 5 + [429]
        response = Client().get("/api/v1/chats", headers={"Authorization": "Bearer guess"})
        assert int(response["Retry-After"]) <= 60
        assert status(None) == 401
        assert status(f"Bearer {alice.key}") == 200
    finally:
        cache.clear()


def test_last_use_is_noted_off_the_path(alice: Person, django_assert_num_queries: Any) -> None:
    """Token, count."""
    with django_assert_num_queries(2):
        status(f"Bearer {alice.key}")
    assert ApiToken.objects.get().last_used_at is None

    authentication.store_last_uses()
    assert ApiToken.objects.get().last_used_at is not None


def test_create_token_prints_the_token_alone(alice: Person, capsys: Any) -> None:
    call_command("create_token", "ALICE@example.com", name="laptop", expires_in_days=3)

    out = capsys.readouterr().out
    assert re.fullmatch(r"ais_[\w-]{43}\n", out)
    assert status(f"Bearer {out.strip()}") == 200
    token = ApiToken.objects.get(name="laptop")
    assert token.expires_at and abs(token.expires_at - timezone.now() - timedelta(days=3)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("email", "options", "message"),
    [
        ("nobody@example.com", {}, "no user with the e-mail nobody@example.com"),
        ("alice@example.com", {"expires_in_days": 0}, "--expires-in-days must be from 1"),
        ("alice@example.com", {"name": " "}, "--name: This field cannot be blank"),
        ("alice@example.com", {"name": "x" * 101}, "--name: .*at most 100"),
        ("alice@example.com", {"name": "one\ntwo"}, "--name: This must have no control characters"),
        ("charlie@example.com", {}, "charlie@example.com is not active"),
    ],
)
def test_create_token_says_what_is_wrong(
    alice: Person, charlie: Person, email: str, options: dict[str, Any], message: str
) -> None:
    User.objects.filter(pk=charlie.user.pk).update(is_active=False)
    with pytest.raises(CommandError, match=message):
        call_command("create_token", email, **options)


def test_createsuperuser_from_the_environment(db: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "Root@Example.com")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long pass phrase")
    call_command("createsuperuser", interactive=False, verbosity=0)

    root = User.objects.get()
    assert root.is_admin
    assert Client().login(username="root@example.COM", password="a long pass phrase")
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "root@example.com")
    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", interactive=False, verbosity=0)
