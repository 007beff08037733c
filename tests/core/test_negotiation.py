"""Which media type an answer is in."""

import pytest

from groups.models import Group
from tests.people import JSON, JSON_API, Person


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (JSON, JSON),
        (JSON_API, JSON_API),
        ("*/*", JSON),
        ("application/*", JSON),
        (f"{JSON}, {JSON_API}", JSON),
        (f"{JSON_API}, {JSON}", JSON),
        (f"{JSON};q=0.5, {JSON_API}", JSON_API),
        (f"{JSON_API};q=0.1, */*;q=0.9", JSON),
        (f"{JSON};q=0, */*", JSON_API),
        (f"{JSON}; indent=8", JSON),
        (f'{JSON_API}; profile="https://x.example"', JSON_API),
        (f'{JSON_API}; ext="https://x.example", {JSON_API}', JSON_API),
        (f'{JSON_API}; ext="https://x.example", {JSON}', JSON),
        ("text/html, */*;q=0.1", JSON),
        (f", ,{JSON_API},", JSON_API),  # empty elements count for nothing
        (f"text/html,,{JSON}", JSON),
        (",", JSON),
        ("", JSON),
    ],
)
def test_accept_decides(alice: Person, accept: str, expected: str) -> None:
    response = alice.get("/chats", Accept=accept)
    assert response.status_code == 200
    assert response["Content-Type"] == expected


@pytest.mark.parametrize(("sent", "expected"), [(JSON, JSON), (JSON_API, JSON_API)])
@pytest.mark.parametrize("accept", ["*/*", None])
def test_without_a_preference_the_answer_speaks_as_the_body(
    alice: Person, sent: str, expected: str, accept: str | None
) -> None:
    headers = {"Accept": accept} if accept else {}
    assert alice.post("/chats", {}, sent, **headers)["Content-Type"] == expected


@pytest.mark.parametrize(
    ("media_type", "given"),
    [
        ("text/plain", "text/plain"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        (f'{JSON_API}; ext="https://x.example"', JSON_API),
        ("application/merge-patch+json", "application/merge-patch+json"),
        ("nonsense", "nonsense"),
    ],
)
def test_another_media_type_is_told_which_there_are(alice: Person, team: Group, media_type: str, given: str) -> None:
    for method, path in (("POST", "/groups"), ("PATCH", f"/groups/{team.pk}")):
        response = alice.send(method, path, b"{}", media_type)
        (error,) = response.json()["errors"]
        assert (response.status_code, error["code"]) == (415, "unsupported_media_type")
        assert JSON in error["detail"] and JSON_API in error["detail"] and given in error["detail"]


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 415), ("identity, br", 415), ("identity", 201), (", identity,", 201), (",", 201)]
)
def test_a_body_comes_as_it_is(alice: Person, coding: str, status: int) -> None:
    response = alice.post("/groups", {"data": {"attributes": {"name": "Pilots"}}}, Content_Encoding=coding)
    assert response.status_code == status
