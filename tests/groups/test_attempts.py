"""Who may try to sign in how often: counters of account and address, over all workers, and of known browsers."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from core.audit.models import AuditEvent
from groups import authentication, sign_in
from groups.attempts import COOKIE
from groups.models import SignInAttempt
from tests.people import JSON, PASS_PHRASE, Person
from tests.talking import HTTP, bearer, opened

BOB, CHARLIE, WRONG = "bob@example.com", "charlie@example.com", "wrong"


def try_in(email: str = BOB, password: str = WRONG, address: str = "203.0.113.5", client: Client | None = None) -> int:
    body = {"data": {"attributes": {"email": email, "password": password}}}
    response = (client or Client()).post("/api/v1/auth/login", body, content_type=JSON, REMOTE_ADDR=address)
    if response.status_code == 429:
        assert 1 <= int(response["Retry-After"]) <= 15 * 60
    return response.status_code


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("FAILED_SIGN_INS", 2), ("OF_ADDRESS", 5), ("OF_ACCOUNT", 5)):
        monkeypatch.setattr(sign_in, name, most)


def test_an_address_may_fail_so_often_whatever_the_account(few: None, bob: Person, charlie: Person) -> None:
    assert [try_in(f"user{number}@example.com") for number in range(6)] == [401] * 5 + [429]
    assert try_in(BOB, PASS_PHRASE) == 429
    assert try_in(BOB, PASS_PHRASE, "203.0.113.6") == 200


def test_signing_in_gives_an_address_no_further_attempts(few: None, bob: Person, charlie: Person) -> None:
    for number in range(5):
        assert try_in(f"user{number}@example.com") == 401
        assert try_in(CHARLIE, PASS_PHRASE) == (200 if number < 4 else 429)


def test_an_account_may_fail_so_often_whatever_the_address(few: None, bob: Person, charlie: Person) -> None:
    statuses = [try_in(address=f"203.0.113.{number // 2}") for number in range(6)]
    assert statuses == [401] * 5 + [429]
    assert try_in(BOB, PASS_PHRASE, "198.51.100.7") == 429
    assert try_in(CHARLIE, PASS_PHRASE) == 200


def test_one_address_alone_locks_no_account(few: None, bob: Person) -> None:
    assert [try_in() for _ in range(8)] == [401] * 2 + [429] * 6
    assert try_in(BOB, PASS_PHRASE, "198.51.100.7") == 200


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.5", "203.0.113.5", True),
        ("::ffff:203.0.113.5", "::ffff:203.0.113.6", False),
    ],
)
def test_of_ipv6_a_network_is_one_address(few: None, bob: Person, first: str, second: str, are_one: bool) -> None:
    for _ in range(2):
        assert try_in(address=first) == 401
    assert try_in(BOB, PASS_PHRASE, second) == (429 if are_one else 200)


def test_the_time_to_wait_is_that_of_the_window(few: None, bob: Person) -> None:
    for _ in range(2):
        try_in()
    SignInAttempt.objects.update(ends_at=timezone.now() + timedelta(seconds=90))
    page = Client().post("/sign-in", {"username": BOB, "password": "wrong"}, REMOTE_ADDR="203.0.113.5")
    assert (page.status_code, "Try again in 2 minutes" in page.content.decode()) == (429, True)
    assert 80 <= int(page["Retry-After"]) <= 90
    SignInAttempt.objects.update(ends_at=timezone.now())
    assert try_in(BOB, PASS_PHRASE) == 200


# browsers that have signed in before


@pytest.mark.parametrize("way", ["api", "page", "admin"])
def test_strangers_lock_nobody_out_of_a_browser(few: None, alice: Person, way: str) -> None:
    client = Client()
    form = {"username": "alice@example.com", "password": PASS_PHRASE}
    if way == "api":
        assert try_in("alice@example.com", PASS_PHRASE, client=client) == 200
    else:
        assert client.post("/sign-in" if way == "page" else "/admin/login/", form).status_code == 302
    cookie = client.cookies[COOKIE]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and "alice" not in cookie.value
    client.cookies.pop("aistudio_session")

    for number in range(12):
        try_in("alice@example.com", address=f"203.0.113.{number}")
    assert try_in("alice@example.com", PASS_PHRASE) == 429
    assert try_in("alice@example.com", PASS_PHRASE, client=client) == 200
    assert [try_in("alice@example.com", client=client) for _ in range(3)] == [401, 401, 429]
    assert try_in("alice@example.com", PASS_PHRASE, client=client) == 429


def test_a_browser_is_known_to_its_own_accounts_alone(few: None, bob: Person, charlie: Person) -> None:
    client = Client()
    assert try_in(CHARLIE, PASS_PHRASE, client=client) == 200
    assert [try_in(BOB, client=client) for _ in range(3)] == [401, 401, 429]
    assert try_in(CHARLIE, PASS_PHRASE, client=client) == 200
    assert try_in(BOB, PASS_PHRASE, "198.51.100.7", client) == 200
    assert [try_in(email, PASS_PHRASE, client=client) for email in (BOB, CHARLIE)] == [200, 200]  # both are known now


@pytest.mark.parametrize("forged", ["x", "e30:1abcde:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "\\0", "{}"])
def test_a_forged_cookie_is_none(few: None, bob: Person, forged: str) -> None:
    client = Client()
    client.cookies[COOKIE] = forged
    assert [try_in(client=client) for _ in range(3)] == [401, 401, 429]


# what is left of it


def test_refusals_beyond_the_limit_are_one_record_a_minute_and_address(few: None, bob: Person) -> None:
    for _ in range(12):
        try_in()
    for _ in range(7):
        try_in(address="203.0.113.9")
    refused = AuditEvent.objects.filter(action=AuditEvent.Action.SIGN_IN_REFUSED, detail="too many attempts")
    assert refused.values_list("address", "object_name").count() == 2
    SignInAttempt.objects.filter(counter__startswith="refused:").update(ends_at=timezone.now())
    try_in()
    assert refused.count() == 3


def test_a_flood_of_names_leaves_few_rows(few: None, bob: Person) -> None:
    for number in range(30):
        try_in(f"user{number}@example.com")
    assert SignInAttempt.objects.count() <= 1 + 2 * 5 + 1


def test_wrong_tokens_are_counted_over_all_workers(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "WRONG_TOKENS", 4)

    def guess(key: str = "guess") -> int:
        cache.clear()  # as in another process
        return Client().get("/api/v1/chats", headers={"Authorization": f"Bearer {key}"}).status_code

    assert [guess() for _ in range(6)] == [401] * 4 + [429] * 2
    assert guess(alice.key) == 200


def test_sign_ins_delay_nobody_else(tmp_path: Path) -> None:
    """Twenty-four at once take a while. What others ask meanwhile does not wait for them."""
    with opened(tmp_path, servers=1, TRUSTED_PROXIES="127.0.0.1") as studio, ThreadPoolExecutor(24) as threads:
        url = studio.urls[0]

        def sign_in_wrongly(number: int) -> int:
            form = {"data": {"attributes": {"email": f"user{number}@example.com", "password": "wrong"}}}
            headers = {"X-Forwarded-For": f"203.0.113.{number}", "Cookie": "csrftoken=" + "a" * 32}
            headers |= {"X-CSRFToken": "a" * 32}
            return HTTP.post(f"{url}/api/v1/auth/login", json=form, headers=headers).status_code

        sign_in_wrongly(99)
        begun = time.monotonic()
        storm = [threads.submit(sign_in_wrongly, number) for number in range(24)]
        waits = []
        while not all(attempt.done() for attempt in storm):
            asked = time.monotonic()
            assert HTTP.get(f"{url}/api/v1/users/me", headers=bearer(studio.key)).status_code == 200
            waits.append(time.monotonic() - asked)
        lasted = time.monotonic() - begun
        assert {attempt.result() for attempt in storm} == {401}
        assert len(waits) >= 5
        assert sorted(waits)[len(waits) // 2] < lasted / 5, (waits, lasted)
