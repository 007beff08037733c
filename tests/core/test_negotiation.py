"""Which media type an answer is in."""

import pytest

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
