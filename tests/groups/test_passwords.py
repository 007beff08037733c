"""Passwords: how they are hashed, and which are refused."""

from typing import Any

import pytest
from django.contrib.auth.hashers import identify_hasher, make_password
from django.test import Client

from aistudio.settings import PASSWORD_HASHERS
from core.audit.models import AuditEvent
from tests.people import PASS_PHRASE, Person


def test_passwords_are_hashed_with_argon2_and_old_ones_at_the_next_sign_in(bob: Person, settings: Any) -> None:
    settings.PASSWORD_HASHERS = PASSWORD_HASHERS
    bob.user.password = make_password(PASS_PHRASE, hasher="pbkdf2_sha256")
    bob.user.save()
    known = AuditEvent.objects.count()
    assert Client().post("/sign-in", {"username": bob.user.email, "password": PASS_PHRASE}).status_code == 302
    bob.user.refresh_from_db()
    assert identify_hasher(bob.user.password).algorithm == "argon2"
    assert AuditEvent.objects.count() == known + 1  # the sign-in
    assert Client().post("/sign-in", {"username": bob.user.email, "password": PASS_PHRASE}).status_code == 302


@pytest.mark.parametrize(
    "weak",
    [
        "dTq9#kL2vXp",  # eleven characters
        "mmmmmmmmmmmmmm",
        "kloklokloklo",
        "24681357902468",
        "yxcvbnm,./yxcv",
        "mnbvcxzlkjhgf",
        "monkey20252026!",
        "M0nk3y---2026",
        "**Football99**",
        "dragondragon",
        "bob@example.com",
    ],
)
def test_what_is_easy_to_guess_is_refused(alice: Person, bob: Person, weak: str) -> None:
    refused = alice.patch(f"/users/{bob.user.pk}", {"data": {"attributes": {"password": weak}}})
    assert refused.status_code == 400
    assert {error["source"]["pointer"] for error in refused.json()["errors"]} == {"/data/attributes/password"}


@pytest.mark.parametrize("good", ["dTq9#kL2vXpw", "kitchen lamp river", "ein Mond, drei Äpfel", "пять синих слонов"])
def test_what_is_hard_to_guess_is_not(alice: Person, bob: Person, good: str) -> None:
    assert alice.patch(f"/users/{bob.user.pk}", {"data": {"attributes": {"password": good}}}).status_code == 200
