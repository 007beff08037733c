"""When a token ends: with the token that made it, and as TOKEN_MAX_DAYS says."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from groups.models import USERS_BY_DIGEST, ApiToken
from tests.people import Person, client_of

DAY = timedelta(days=1)


def make(person: Person, key: str | None = None, status: int = 201, **attributes: Any) -> str:
    """The key of a token that the person's token, or another one, makes."""
    body = {"data": {"attributes": {"name": "made", **attributes}}}
    response = person.post("/users/me/tokens", body, Authorization=f"Bearer {key or person.key}")
    assert response.status_code == status, response.content
    return str(response.json()["attributes"]["token"]) if status == 201 else ""


def works(key: str) -> bool:
    return Client().get("/api/v1/users/me", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def roll(person: Person, key: str, user: Person | None = None) -> str:
    path = f"/users/{(user or person).user.pk}/roll-api-key"
    return str(person.post(path, Authorization=f"Bearer {key}").json()["attributes"]["api_key"])


def token(key: str) -> ApiToken:
    return ApiToken.objects.get(prefix=key[:10])


def test_a_token_ends_with_the_one_that_made_it(bob: Person) -> None:
    child = make(bob)
    grandchild = make(bob, child)
    beside = make(bob)
    assert all(map(works, (child, grandchild, beside)))

    assert bob.delete(f"/users/me/tokens/{token(child).pk}").status_code == 204
    assert [works(key) for key in (bob.key, child, grandchild, beside)] == [True, False, False, True]
    token(bob.key).revoke()
    assert [works(key) for key in (bob.key, child, grandchild, beside)] == [False] * 4


def test_a_token_that_is_deleted_takes_along_what_it_made(bob: Person) -> None:
    grandchild = make(bob, make(bob))
    token(bob.key).delete()
    assert not works(grandchild)


def test_a_long_chain_ends_too(bob: Person) -> None:
    last = ApiToken.objects.get()
    for number in range(300):
        last, key = ApiToken.issue(bob.user, name=str(number), made_by=last)
    token(bob.key).revoke()
    assert not works(key)


def test_a_token_ends_no_later_than_the_one_that_made_it(bob: Person) -> None:
    end = timezone.now() + DAY
    _, key = ApiToken.issue(bob.user, name="short", expires_at=end)
    assert token(make(bob, key)).expires_at == token(make(bob, key, expires_at=None)).expires_at == end
    sooner = (end - DAY / 2).replace(microsecond=0)
    assert token(make(bob, key, expires_at=sooner.isoformat())).expires_at == sooner
    make(bob, key, expires_at=(end + DAY).isoformat(), status=400)
    make(bob, make(bob, key), expires_at=(end + DAY).isoformat(), status=400)


def test_a_token_that_a_browser_makes_is_bound_to_no_other(bob: Person) -> None:
    client_of(bob).post("/profile", {"name": "laptop", "lifetime": ""})
    made = ApiToken.objects.get(name="laptop")
    assert (made.made_by, made.expires_at) == (None, None)


def test_a_rolled_key_ends_with_the_token_that_rolled_it(alice: Person, bob: Person) -> None:
    _, key = ApiToken.issue(alice.user, name="short", expires_at=timezone.now() + DAY)
    own, bobs = roll(alice, key), roll(alice, key, bob)
    assert (token(own).expires_at, token(bobs).expires_at) == (token(key).expires_at, None)
    token(key).revoke()
    assert not works(own)
    assert bob.get("/users/me", Authorization=f"Bearer {bobs}").status_code == 200  # it is bob's


def test_a_key_that_rolls_itself_hands_on_its_place(alice: Person) -> None:
    first = roll(alice, alice.key)
    helper = make(alice, first)
    second = roll(alice, helper)  # its maker ends, and it with that one
    third = roll(alice, second)
    assert [works(key) for key in (first, helper, second, third)] == [False, False, False, True]
    token(alice.key).revoke()
    assert not works(third)


# TOKEN_MAX_DAYS


def is_near(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < timedelta(minutes=5)


def test_the_longest_life_bounds_each_way_to_a_token(alice: Person, bob: Person, settings: Any, capsys: Any) -> None:
    settings.TOKEN_MAX_DAYS = 20
    latest = timezone.now() + 20 * DAY
    client_of(bob).post("/profile", {"name": "page", "lifetime": "20"})
    client_of(alice).post("/admin/groups/apitoken/add/", {"user": bob.user.pk, "name": "admin"})
    call_command("create_token", "bob@example.com", name="command")
    ends = [token(make(bob)).expires_at, token(roll(alice, alice.key, bob)).expires_at]
    ends += [ApiToken.objects.get(name=name).expires_at for name in ("page", "admin", "command")]
    assert all(is_near(end, latest) for end in ends), ends


def test_a_later_end_is_refused(alice: Person, bob: Person, settings: Any) -> None:
    settings.TOKEN_MAX_DAYS = 20
    known = ApiToken.objects.count()
    make(bob, expires_at=(timezone.now() + 21 * DAY).isoformat(), status=400)
    page = client_of(bob).post("/profile", {"name": "page", "lifetime": "90"}).content.decode()
    assert "20 days" in page and "no end" not in page
    later = (timezone.now() + 21 * DAY).date().isoformat()
    sent = {"user": bob.user.pk, "name": "admin", "expires_at_0": later, "expires_at_1": "00:00"}
    refused = client_of(alice).post("/admin/groups/apitoken/add/", sent)
    assert "TOKEN_MAX_DAYS" in refused.content.decode()
    with pytest.raises(CommandError, match="TOKEN_MAX_DAYS"):
        call_command("create_token", "bob@example.com", expires_in_days=21)
    assert ApiToken.objects.count() == known


def test_tokens_from_before_the_setting_end_too(bob: Person, settings: Any, monkeypatch: Any) -> None:
    settings.TOKEN_MAX_DAYS = 20
    monkeypatch.delitem(vars(USERS_BY_DIGEST), "statement", raising=False)  # it is composed once for a process
    assert works(bob.key) and token(bob.key).is_usable
    ApiToken.objects.update(created_at=timezone.now() - 21 * DAY)
    assert not works(bob.key)
    assert not token(bob.key).is_usable
