"""The way in and out, for people."""

from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.test import Client

from groups.sign_in import FAILED_SIGN_INS
from tests.people import PASS_PHRASE, Person

WRONG = "The e-mail or the password is wrong"


def sign_in(client: Client, email: str = "bob@example.com", password: str = PASS_PHRASE, **more: str) -> Any:
    return client.post("/sign-in", {"username": email, "password": password, **more})


@pytest.mark.parametrize("page", ["/", "/profile", "/profile/password", "/conversations"])
def test_who_is_nobody_is_sent_to_the_sign_in(bob: Person, page: str) -> None:
    client = Client()
    assert client.get(page)["Location"] == f"/sign-in?next={page}"
    assert sign_in(client, "BOB@example.com", next=page)["Location"] == page
    assert client.get(page).status_code == 200


@pytest.mark.parametrize(
    "foreign", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_next_leads_nowhere_else(bob: Person, foreign: str) -> None:
    assert sign_in(Client(), next=foreign)["Location"] == "/"


def test_guessing_is_slowed_as_in_the_api(bob: Person) -> None:
    client = Client()
    for _ in range(FAILED_SIGN_INS):
        assert WRONG in sign_in(client, password="wrong").content.decode()
    assert "Too many attempts" in sign_in(client).content.decode()
    assert SESSION_KEY not in client.session


def test_who_is_deactivated_is_out(bob: Person) -> None:
    client = Client()
    sign_in(client)
    bob.user.is_active = False
    bob.user.save()
    assert client.get("/").status_code == 302
    assert WRONG in sign_in(client).content.decode()


def test_signing_out_takes_a_post(bob: Person) -> None:
    client = Client()
    sign_in(client)
    assert client.get("/sign-out").status_code == 405
    assert client.post("/sign-out")["Location"] == "/sign-in"
    assert client.get("/").status_code == 302


def test_a_new_password(bob: Person) -> None:
    client, other = Client(), Client()
    sign_in(client)
    sign_in(other)
    new = {"new_password1": "another phrase of bob", "new_password2": "another phrase of bob"}

    refused = client.post("/profile/password", {**new, "old_password": "wrong"})
    assert "Your old password was entered incorrectly" in refused.content.decode()
    changed = client.post("/profile/password", {**new, "old_password": PASS_PHRASE}, follow=True)

    assert "Your password is changed" in changed.content.decode()
    assert other.get("/").status_code == 302
    assert bob.get("/users/me").status_code == 200  # tokens go on
    assert sign_in(Client(), password=new["new_password1"])["Location"] == "/"


def test_the_old_password_is_slow_to_guess(bob: Person) -> None:
    client = Client()
    client.force_login(bob.user)
    for _ in range(FAILED_SIGN_INS):
        client.post("/profile/password", {"old_password": "wrong"})
    refused = client.post("/profile/password", {"old_password": PASS_PHRASE})
    assert "Too many attempts" in refused.content.decode()
