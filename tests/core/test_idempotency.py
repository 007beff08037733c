"""A POST that is sent again with its Idempotency-Key is not done again, but answered as it was."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.utils import timezone

from core.idempotency import attempts
from core.models import AuditEvent, IdempotentRequest
from groups.models import ApiToken, Group, User
from groups.views import GroupViewSet
from llms.models import LLM, LLMSettings
from tests.people import JSON, JSON_API, Person
from tests.test_matrix import CLIENT

REPLAYED = "Idempotency-Replayed"


def group(name: str) -> dict[str, Any]:
    return {"data": {"attributes": {"name": name}}}


def post(who: Person, path: str, body: Any = None, key: str = "k-1", **headers: str) -> Any:
    return who.post(path, body, Idempotency_Key=key, **headers)


def test_the_same_again_is_answered_as_it_was(alice: Person) -> None:
    first, again = (post(alice, "/groups", group("Pilots")) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.content, first["Location"], first["Content-Type"]) == (
        again.content,
        again["Location"],
        again["Content-Type"],
    )
    assert (REPLAYED in first, again[REPLAYED]) == (False, "true")
    assert Group.objects.filter(name="Pilots").count() == 1
    assert AuditEvent.objects.filter(object_type="groups").count() == 1
    first, again = (post(alice, "/groups", group("Pilots"), key="k-2") for _ in range(2))  # a 400: it is there
    assert (first.status_code, again.status_code, again[REPLAYED]) == (400, 400, "true")
    assert first.content == again.content


def test_what_it_holds_for(alice: Person, bob: Person, team: Group) -> None:
    """A person, method and path; the body with its media type and query must be the same."""
    path = f"/groups/{team.pk}/relationships/members"
    member = {"data": [{"type": "users", "id": str(alice.user.pk)}]}
    assert post(alice, path, member).status_code == 204
    again = post(alice, path, member)
    assert (again.status_code, again.content, again[REPLAYED]) == (204, b"", "true")
    alice.delete(path, member, Idempotency_Key="k-1")
    assert alice.user.groups.count() == 0  # no POST
    assert REPLAYED not in post(alice, "/groups", group("Pilots"))
    for other in (
        post(alice, "/groups", group("Others")),
        post(alice, "/groups?fields[groups]=name", group("Pilots"), Accept=JSON_API),
        post(alice, "/groups", b'{"data": {"attributes": {"name": "Pilots"}, "id": null}}'),
        post(alice, "/groups", b"{"),
    ):
        assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "idempotency_key_reused")
    assert REPLAYED not in post(bob, "/users/me/tokens", group("Pilots"))


def test_the_same_json_is_the_same_body(alice: Person, llm: LLM) -> None:
    """Spacing, the order of members and the spelling of characters are no difference; types and lists are."""
    attributes = '{"metadata": {"b": [1, {"d": 1, "c": "é"}], "a": 2}, "seed": 1}'
    written = f'{{"data": {{"type": "llm-settings", "attributes": {attributes}}}}}'
    same = (
        '{"data":{"attributes":{"seed":1,"metadata":{"a":2,"b":[1,{"c":"\\u00e9","d":1}]}},"type":"llm-settings"}}',
        json.dumps(json.loads(written), indent=4),
    )
    first = post(alice, "/llm-settings", written)
    for body in same:
        again = post(alice, "/llm-settings", body)
        assert (again.status_code, again.content, again[REPLAYED]) == (201, first.content, "true")
    for change in ('"seed": 1.0', '"seed": "1"', '"seed": 2', '"seed": 1, "top_k": null'):
        assert post(alice, "/llm-settings", written.replace('"seed": 1', change)).status_code == 422
    assert post(alice, "/llm-settings", written.replace("[1, {", "[{").replace('"é"}]', '"é"}, 1]')).status_code == 422
    assert LLMSettings.objects.count() == 1


def test_the_answer_is_in_the_media_type_that_is_asked_for(alice: Person) -> None:
    first = post(alice, "/groups", group("Pilots"))
    for accept in (JSON_API, JSON, "*/*", JSON_API):
        again = post(alice, "/groups", group("Pilots"), Accept=accept)
        shown = alice.get(f"/groups/{first.json()['id']}", Accept=accept)
        assert (again.status_code, again[REPLAYED], again["Location"]) == (201, "true", first["Location"])
        assert (again["Content-Type"], again["ETag"], again.content) == (
            shown["Content-Type"],
            shown["ETag"],
            shown.content,
        )
    wrong = [post(alice, "/groups", group("Pilots"), key="k-2", Accept=accept) for accept in (JSON_API, JSON)]
    assert [(answer.status_code, answer["Content-Type"]) for answer in wrong] == [(400, JSON_API), (400, JSON)]
    assert wrong[0].json() == {"jsonapi": {"version": "1.1"}, **wrong[1].json()}
    assert post(alice, "/groups", group("Pilots"), Accept="text/html").status_code == 406
    IdempotentRequest.objects.update(alternatives={})  # a row of an older version
    assert post(alice, "/groups", group("Pilots"), Accept=JSON_API)["Content-Type"] == JSON


def test_what_may_be_different_next_time_is_not_kept(alice: Person, bob: Person, monkeypatch: Any) -> None:
    assert post(bob, "/groups", group("Pilots")).status_code == 403
    User.objects.filter(pk=bob.user.pk).update(is_admin=True)
    monkeypatch.setattr(Group, "save", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a 500
        post(bob, "/groups", group("Pilots"))
    monkeypatch.undo()

    def fail(*_: Any, **__: Any) -> None:
        Group.objects.create(name="Half")
        raise OperationalError  # as where the database is stopped

    monkeypatch.setattr(GroupViewSet, "create", fail)
    assert post(bob, "/groups", group("Pilots")).status_code == 503
    assert not Group.objects.filter(name="Half").exists()
    monkeypatch.undo()
    done = post(bob, "/groups", group("Pilots"))
    assert (done.status_code, REPLAYED in done) == (201, False)


def test_an_answer_with_a_secret_is_not_kept(alice: Person, bob: Person) -> None:
    for who, path, body in (
        (bob, "/users/me/tokens", group("script")),
        (alice, f"/users/{bob.user.pk}/roll-api-key", None),
    ):
        before = ApiToken.objects.count()
        first, again = (post(who, path, body) for _ in range(2))
        assert first.status_code in (200, 201)
        assert again.status_code == 409
        assert "secret" in again.json()["errors"][0]["detail"]
        assert ApiToken.objects.count() == before + 1
        attributes = first.json()["attributes"]
        secret = attributes.get("token") or attributes["api_key"]
        assert not [row for row in IdempotentRequest.objects.all() if secret in row.content]
    wrong = [post(bob, "/users/me/tokens", group(""), key="k-3") for _ in range(2)]
    assert [(answer.status_code, REPLAYED in answer) for answer in wrong] == [(400, False), (400, True)]


@pytest.fixture
def begun(alice: Person) -> IdempotentRequest:
    """A request whose process may be at work, or dead."""
    post(alice, "/groups", group("Pilots"))
    Group.objects.filter(name="Pilots").delete()
    row = IdempotentRequest.objects.get()
    row.status, row.content = None, ""
    row.save()
    return row


def test_one_that_is_still_being_answered(alice: Person, begun: IdempotentRequest) -> None:
    response = post(alice, "/groups", group("Pilots"))
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "conflict")
    assert 1 <= int(response["Retry-After"]) <= attempts.LEASE.total_seconds()
    assert not Group.objects.filter(name="Pilots").exists()


def test_when_its_process_died_the_next_may_run_after_the_lease(alice: Person, begun: IdempotentRequest) -> None:
    begun.lease_until = timezone.now() - timedelta(seconds=1)
    begun.save()
    assert post(alice, "/groups", group("Others")).status_code == 422
    done = post(alice, "/groups", group("Pilots"))
    assert (done.status_code, REPLAYED in done) == (201, False)
    assert post(alice, "/groups", group("Pilots"))[REPLAYED] == "true"
    attempts.Attempt(begun.pk, begun.holder).give_up()  # the dead one says something after all
    assert post(alice, "/groups", group("Pilots"))[REPLAYED] == "true"


def test_what_a_process_did_that_dies_before_the_answer_is_kept_is_undone(alice: Person, monkeypatch: Any) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(attempts.Attempt, "settle", die)
    monkeypatch.setattr(attempts.Attempt, "give_up", lambda attempt: None)
    with pytest.raises(Killed):
        post(alice, "/groups", group("Pilots"))
    monkeypatch.undo()
    assert not Group.objects.filter(name="Pilots").exists()
    assert not AuditEvent.objects.filter(object_type="groups").exists()
    assert post(alice, "/groups", group("Pilots")).status_code == 409
    IdempotentRequest.objects.update(lease_until=timezone.now())
    assert [post(alice, "/groups", group("Pilots")).status_code for _ in range(2)] == [201, 201]
    assert Group.objects.filter(name="Pilots").count() == 1


def test_one_that_was_slower_than_its_lease_is_undone(alice: Person, monkeypatch: Any) -> None:
    save = Group.save

    def slowly(self: Group, **options: Any) -> None:
        save(self, **options)
        IdempotentRequest.objects.update(holder=uuid4())  # the next attempt has begun

    monkeypatch.setattr(Group, "save", slowly)
    response = post(alice, "/groups", group("Pilots"))
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "conflict")
    assert not Group.objects.filter(name="Pilots").exists()
    assert response["Cache-Control"] == "private, no-cache"


def test_what_fails_after_the_answer_is_kept_undoes_nothing_of_it(alice: Person) -> None:
    post(alice, "/groups", group("Pilots"))
    row = IdempotentRequest.objects.get()
    attempts.Attempt(row.pk, row.holder).give_up()  # as where the commit's own answer was lost
    again = post(alice, "/groups", group("Pilots"))
    assert (again.status_code, again[REPLAYED]) == (201, "true")


def test_a_day_later_the_key_is_new(alice: Person, begun: IdempotentRequest) -> None:
    begun.created_at = timezone.now() - attempts.KEPT - timedelta(seconds=1)
    begun.save()
    assert post(alice, "/groups", group("Others")).status_code == 201
    attempts.forget_old()
    row = IdempotentRequest.objects.get()
    row.created_at = begun.created_at
    row.save()
    attempts.forget_old()
    assert not IdempotentRequest.objects.exists()


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 201, "tab\tkey"])
def test_a_malformed_key(alice: Person, key: str) -> None:
    response = post(alice, "/groups", group("Pilots"), key=key)
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"] == {"parameter": "Idempotency-Key"}
    assert not Group.objects.filter(name="Pilots").exists()


def test_signing_in_is_repeated_and_too_large_a_body_is_one(alice: Person) -> None:
    sent = {"data": {"attributes": {"email": "alice@example.com", "password": "a long canary phrase"}}}
    for _ in range(2):
        CLIENT.cookies.clear()
        response = CLIENT.post(
            "/api/v1/auth/login", sent, content_type="application/json", headers={"Idempotency-Key": "k-1"}
        )
        assert (response.status_code, REPLAYED in response) == (200, False)
    CLIENT.cookies.clear()
    assert post(alice, "/groups", b"x" * (2**20 + 1)).status_code == 413


def test_every_post_takes_it(db: Any) -> None:
    schema = CLIENT.get("/api/v1/schema", headers={"Accept": "application/json"}).json()
    for path, operations in schema["paths"].items():
        if "post" in operations:
            declared = [*operations.get("parameters", []), *operations["post"].get("parameters", [])]
            (key,) = [item for item in declared if item["name"] == "Idempotency-Key"]
            assert (key["in"], key["required"], key["schema"]["maxLength"]) == ("header", False, 200), path
            if not path.endswith(("/messages", "/regenerate", "/edit")):
                assert "422" in operations["post"]["responses"], path
