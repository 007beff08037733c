"""Users: made, changed and deleted by administrators; themselves to everyone else."""

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from groups import sign_in
from groups.models import ApiToken, Group, SignInAttempt, User
from tests.people import JSON_API, PASS_PHRASE, Person

PHRASE = "correct horse battery"


def body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "users", "attributes": attributes}}


def test_create_read_change_delete(alice: Person, team: Group) -> None:
    created = alice.post("/users", body(email="Ada@Example.com", name="Ada", password=PHRASE, group_ids=[team.pk]))
    assert created.status_code == 201, created.content
    attributes = created.json()["attributes"]
    assert (attributes["email"], attributes["is_admin"], attributes["is_active"]) == ("Ada@Example.com", False, True)
    assert [group["id"] for group in attributes["groups"]] == [str(team.pk)]
    assert b"horse" not in created.content and "password" not in attributes
    path = f"/users/{created.json()['id']}"
    assert alice.get(path).json() == created.json()
    assert Client().login(username="ada@example.com", password=PHRASE)

    changed = alice.patch(path, body(name=None, is_admin=True)).json()["attributes"]
    assert (changed["name"], changed["is_admin"], changed["email"]) == ("", True, "Ada@Example.com")
    assert Client().login(username="ada@example.com", password=PHRASE)
    alice.patch(path, body(password=None))
    assert not User.objects.get(email_folded="ada@example.com").has_usable_password()

    assert alice.delete(path).status_code == 204
    assert not User.objects.filter(email_folded="ada@example.com").exists()


@pytest.mark.parametrize(
    ("attributes", "pointer", "code"),
    [
        ({"email": "alice@EXAMPLE.com"}, "email", "unique"),
        ({"email": "nonsense"}, "email", "invalid"),
        ({"email": 5}, "email", "invalid"),
        ({}, "email", "required"),
        ({"email": None}, "email", "null"),
        ({"email": "ada@example.com", "password": "12345"}, "password", "invalid"),
        ({"email": "ada@example.com", "password": "ada@example.com"}, "password", "invalid"),
        ({"email": "ada@example.com", "is_admin": "true"}, "is_admin", "invalid"),
        ({"email": "ada@example.com", "is_active": 1}, "is_active", "invalid"),
        ({"email": "ada@example.com", "group_ids": [987]}, "group_ids", "does_not_exist"),
        ({"email": "ada@example.com", "is_superuser": True}, "is_superuser", "unknown_attribute"),
        ({"email": "ada@example.com", "last_login": None}, "last_login", "read_only"),
    ],
)
def test_bad_input(alice: Person, attributes: dict[str, Any], pointer: str, code: str) -> None:
    response = alice.post("/users", body(**attributes))
    assert response.status_code == 400
    errors = {(error["source"]["pointer"], error["code"]) for error in response.json()["errors"]}
    assert errors == {(f"/data/attributes/{pointer}", code)}
    assert User.objects.count() == 1


def test_me(bob: Person) -> None:
    mine = bob.get("/users/me").json()
    assert mine["id"] == str(bob.user.pk)
    assert mine == bob.get(f"/users/{bob.user.pk}").json()


def test_nobody_makes_themself_more(bob: Person) -> None:
    for attributes in ({"is_admin": True}, {"group_ids": []}, {"name": "Boss"}):
        assert bob.patch(f"/users/{bob.user.pk}", body(**attributes)).status_code == 403


@pytest.mark.parametrize("change", [{"is_admin": False}, {"is_active": False}, None])
def test_the_last_active_administrator_stays(alice: Person, change: dict[str, Any] | None) -> None:
    User.objects.create_superuser("gone@example.com", is_active=False)
    path = f"/users/{alice.user.pk}"

    response = alice.delete(path) if change is None else alice.patch(path, body(**change))
    assert response.status_code == 409
    assert response.json()["errors"][0]["code"] == "conflict"
    alice.user.refresh_from_db()
    assert alice.user.is_admin and alice.user.is_active

    User.objects.create_superuser("root@example.com")
    assert (alice.delete(path) if change is None else alice.patch(path, body(**change))).status_code in (200, 204)


def test_deactivating_or_deleting_a_user_ends_their_tokens_at_once(alice: Person, bob: Person) -> None:
    alice.patch(f"/users/{bob.user.pk}", body(is_active=False))
    assert bob.get("/users/me").status_code == 401
    alice.patch(f"/users/{bob.user.pk}", body(is_active=True))
    assert bob.get("/users/me").status_code == 200
    alice.delete(f"/users/{bob.user.pk}")
    assert bob.get("/users/me").status_code == 401


def test_the_api_key_is_rolled_and_other_tokens_stay(alice: Person, bob: Person) -> None:
    path = f"/users/{bob.user.pk}/roll-api-key"
    first = alice.post(path).json()["attributes"]["api_key"]
    assert Person(bob.user, first).get("/users/me").status_code == 200
    second = alice.post(path, Accept=JSON_API).json()["data"]["attributes"]["api_key"]
    assert Person(bob.user, first).get("/users/me").status_code == 401
    assert Person(bob.user, second).get("/users/me").status_code == 200
    assert bob.get("/users/me").status_code == 200
    assert "api_key" not in alice.get(f"/users/{bob.user.pk}").json()["attributes"]


def test_a_persons_own_tokens(bob: Person, charlie: Person) -> None:
    created = bob.post("/users/me/tokens", {"data": {"type": "tokens", "attributes": {"name": "laptop"}}})
    assert created.status_code == 201
    key = created.json()["attributes"]["token"]
    assert Person(bob.user, key).get("/users/me").status_code == 200
    path = f"/users/me/tokens/{created.json()['id']}"
    assert created["Location"].endswith(path)

    listed = bob.get("/users/me/tokens")
    assert {item["attributes"]["name"] for item in listed.json()} == {"laptop", "tests"}
    assert key not in listed.content.decode()
    assert charlie.get(path).status_code == charlie.delete(path).status_code == 404

    for _ in range(2):
        assert bob.delete(path).status_code == 204
    assert Person(bob.user, key).get("/users/me").status_code == 401
    assert bob.get(path).json()["attributes"]["revoked_at"]


@pytest.mark.parametrize("moment", ["2020-01-01T00:00:00Z", "tomorrow", 5, "9999-99-99T00:00:00Z"])
def test_a_token_expires_in_the_future(bob: Person, moment: Any) -> None:
    attributes = {"name": "laptop", "expires_at": moment}
    response = bob.post("/users/me/tokens", {"data": {"attributes": attributes}})
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"]["pointer"] == "/data/attributes/expires_at"
    assert ApiToken.objects.count() == 1


def test_lists_are_searched_filtered_and_sorted(alice: Person, bob: Person, charlie: Person) -> None:
    def emails(**query: str) -> list[str]:
        return [item["attributes"]["email"].partition("@")[0] for item in alice.get("/users", query=query).json()]

    assert emails() == ["alice", "bob", "charlie"]
    assert emails(sort="-email") == ["charlie", "bob", "alice"]
    assert emails(search="BOB") == ["bob"]
    assert emails(**{"filter[is_admin]": "true"}) == ["alice"]
    assert alice.get("/users?filter[is_admin]=maybe").status_code == 400
    assert emails(**{"filter[email]": "CHARLIE@example.com"}) == ["charlie"]


class Browser:
    """A browser that keeps cookies and is held to CSRF."""

    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        token = self.client.cookies.get("csrftoken")
        headers |= {"X-CSRFToken": token.value} if token else {}
        return self.client.post(f"/api/v1{path}", body or {}, content_type="application/json", headers=headers)


def credentials(email: str, password: str) -> dict[str, Any]:
    return {"data": {"attributes": {"email": email, "password": password}}}


@pytest.fixture
def browser() -> Any:
    cache.clear()
    yield Browser()
    cache.clear()


def test_people_sign_in_and_out(bob: Person, browser: Browser) -> None:
    right = credentials("BOB@example.com", PASS_PHRASE)
    assert browser.post("/auth/login", right).status_code == 403  # no CSRF token yet
    assert browser.client.get("/api/v1/auth/login").status_code == 204

    signed_in = browser.post("/auth/login", right)
    assert signed_in.status_code == 200
    assert signed_in.json()["attributes"]["email"] == "bob@example.com"
    assert browser.client.get("/api/v1/users/me").status_code == 200
    assert browser.post("/auth/logout").status_code == 204
    assert browser.client.get("/api/v1/users/me").status_code == 401


def test_a_wrong_password_is_slowed(bob: Person, charlie: Person, browser: Browser, monkeypatch: Any) -> None:
    monkeypatch.setattr(sign_in, "FAILED_SIGN_INS", 3)
    browser.client.get("/api/v1/auth/login")
    for _ in range(3):
        response = browser.post("/auth/login", credentials("bob@example.com", "wrong"))
        assert response.status_code == 401
        assert response.json()["errors"][0]["code"] == "authentication_failed"

    for password in ("wrong", PASS_PHRASE):
        response = browser.post("/auth/login", credentials("Bob@example.com", password))
        assert response.status_code == 429
        assert int(response["Retry-After"]) <= 15 * 60
    assert browser.post("/auth/login", credentials("charlie@example.com", PASS_PHRASE)).status_code == 200


def test_many_wrong_passwords_at_once_are_slowed_too(bob: Person, browser: Browser, monkeypatch: Any) -> None:
    """Each is counted before it is known to be wrong."""
    seen: list[int] = []

    def fail(*_: Any, **__: Any) -> None:
        (count,) = set(SignInAttempt.objects.values_list("count", flat=True))  # of account, address and both
        seen.append(count)

    monkeypatch.setattr(sign_in, "authenticate", fail)
    browser.client.get("/api/v1/auth/login")
    for _ in range(2):
        browser.post("/auth/login", credentials("bob@example.com", "wrong"))
    assert seen == [1, 2]
    SignInAttempt.objects.update(ends_at=timezone.now())
    browser.post("/auth/login", credentials("bob@example.com", "wrong"))  # in a new window
    assert seen == [1, 2, 1]
    sign_in.forget_attempts()
    assert SignInAttempt.objects.count() == 3
    SignInAttempt.objects.update(ends_at=timezone.now())
    sign_in.forget_attempts()
    assert not SignInAttempt.objects.exists()


def test_an_inactive_user_does_not_sign_in(bob: Person, browser: Browser) -> None:
    User.objects.filter(pk=bob.user.pk).update(is_active=False)
    browser.client.get("/api/v1/auth/login")
    assert browser.post("/auth/login", credentials("bob@example.com", PASS_PHRASE)).status_code == 401
