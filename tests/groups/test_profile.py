"""One's own tokens, on the profile."""

import re
from typing import Any

from groups.models import ApiToken
from tests.people import Person, client_of


def test_a_key_is_shown_once_and_works_until_it_is_revoked(bob: Person) -> None:
    client = client_of(bob)
    answer = client.post("/profile", {"name": "Nightly export", "lifetime": "30"})
    key = re.search(r'<code id="key">(ais_[\w-]+)</code>', answer.content.decode())
    assert key
    assert answer["Cache-Control"] == "no-store"
    token = ApiToken.objects.get(name="Nightly export")
    assert token.expires_at and (token.expires_at - token.created_at).days in (29, 30)
    assert Person(bob.user, key[1]).get("/users/me").status_code == 200
    assert key[1] not in client.get("/profile").content.decode()

    gone = client.post(f"/profile/tokens/{token.pk}/revoke", follow=True)

    assert "Nightly export is revoked." in gone.content.decode()
    assert Person(bob.user, key[1]).get("/users/me").status_code == 401
    assert client.post(f"/profile/tokens/{token.pk}/revoke").status_code == 404


def test_what_is_missing_is_said_and_nothing_issued(bob: Person) -> None:
    for wrong in ({"name": " "}, {"name": "x" * 101}, {"name": "x", "lifetime": "1000000"}):
        page = client_of(bob).post("/profile", wrong).content.decode()
        assert "errorlist" in page and 'id="key"' not in page
    assert bob.user.tokens.count() == 1


def test_another_persons_token_does_not_exist(bob: Person, charlie: Person) -> None:
    token = charlie.user.tokens.get()
    client = client_of(bob)
    assert client.post(f"/profile/tokens/{token.pk}/revoke").status_code == 404
    assert client.get(f"/profile/tokens/{token.pk}/revoke").status_code == 405
    assert charlie.get("/users/me").status_code == 200


def test_more_tokens_cost_no_more_statements(bob: Person, django_assert_num_queries: Any) -> None:
    client = client_of(bob)
    for number in range(2):
        with django_assert_num_queries(6):  # session, user, tokens, groups; of the sidebar chats, conversations
            client.get("/profile")
        for name in range(20 * (1 - number)):
            ApiToken.issue(bob.user, name=f"{name}")
