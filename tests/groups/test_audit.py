"""Each change and each sign-in leaves one record, in its transaction, whatever door it came through."""

import json
import sys
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chats.models import Chat, Session
from core.audit.recording import MASK
from core.models import AuditEvent
from groups.models import ApiToken, Group, User
from llms.models import LLM, LLMSettings
from tests.people import JSON, JSON_API, PASS_PHRASE, Person, person

EVENTS = "/audit-events"


def body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"attributes": attributes}}


@pytest.fixture(autouse=True)
def nothing_before(request: pytest.FixtureRequest) -> None:
    """Whoever and whatever a test begins with is there, and has left no record."""
    if "db" not in request.fixturenames:
        return
    for name in ("alice", "bob", "charlie", "chat", "others"):
        request.getfixturevalue(name)
    AuditEvent._base_manager.all()._raw_delete("default")


def events() -> list[AuditEvent]:
    """The records since the last time, the oldest first."""
    found = list(AuditEvent.objects.order_by("pk"))
    AuditEvent._base_manager.all()._raw_delete("default")
    return found


def told(event: AuditEvent) -> tuple[str, str, int | None, str]:
    return event.action, event.object_type, event.object_id, event.object_name


def named(*items: Any) -> list[dict[str, Any]]:
    return [{"id": item.pk, "name": str(item)} for item in items]


# what


def test_a_chats_life(alice: Person, chat: Chat, team: Group, others: Group) -> None:
    attributes = {"name": "Desk", "llm_id": chat.llm_id, "llm_settings_id": chat.llm_settings_id}
    response = alice.post("/chats", body(**attributes, group_ids=[team.pk]))
    (event,) = events()
    key = int(response.json()["id"])
    assert told(event) == ("created", "chats", key, "Desk")
    assert (event.door, event.actor_id, event.actor_name) == ("api", alice.user.pk, "alice@example.com")
    assert (event.request_id, event.address) == (response["X-Request-ID"], "127.0.0.1")
    assert event.changes == {
        "name": {"before": None, "after": "Desk"},
        "llm_id": {"before": None, "after": chat.llm_id},
        "llm_settings_id": {"before": None, "after": chat.llm_settings_id},
        "llm_titles": {"before": None, "after": False},
        "groups": {"removed": [], "added": named(team)},
    }

    alice.patch(f"/chats/{key}", body(name="Front desk", description="", group_ids=[others.pk]))
    (event,) = events()
    assert told(event) == ("changed", "chats", key, "Front desk")
    assert event.changes == {
        "name": {"before": "Desk", "after": "Front desk"},
        "groups": {"removed": named(team), "added": named(others)},
    }

    alice.delete(f"/chats/{key}")
    (event,) = events()
    assert told(event) == ("deleted", "chats", key, "Front desk")
    assert event.changes["name"] == {"before": "Front desk", "after": None}
    assert event.changes["groups"] == {"removed": named(others), "added": []}


def test_what_changes_nothing_leaves_nothing(alice: Person, chat: Chat, team: Group, bob: Person) -> None:
    alice.patch(f"/chats/{chat.pk}", body(name=chat.name, group_ids=[group.pk for group in chat.groups.all()]))
    alice.post(f"/groups/{team.pk}/users", {"data": {"type": "users", "id": str(bob.user.pk)}})
    alice.patch(f"/chats/{chat.pk}", body(name=""))  # refused
    alice.delete(f"/llms/{chat.llm_id}")  # refused
    bob.delete(f"/chats/{chat.pk}")  # refused
    alice.get("/chats")
    assert events() == []


def test_memberships_from_both_sides(alice: Person, bob: Person, charlie: Person, team: Group, others: Group) -> None:
    member = [{"type": "users", "id": str(charlie.user.pk)}, {"type": "users", "id": str(bob.user.pk)}]
    alice.post(f"/groups/{team.pk}/relationships/members", {"data": member})
    (event,) = events()
    assert told(event) == ("changed", "groups", team.pk, "Engineers")
    assert event.changes == {"members": {"removed": [], "added": named(charlie.user)}}  # bob was there

    alice.delete(f"/groups/{team.pk}/users/{charlie.user.pk}")
    assert events()[0].changes == {"members": {"removed": named(charlie.user), "added": []}}
    alice.delete(f"/groups/{team.pk}/users/{charlie.user.pk}")
    assert events() == []

    alice.patch(f"/users/{bob.user.pk}", body(name="Robert", group_ids=[others.pk]))
    (event,) = events()
    assert told(event) == ("changed", "users", bob.user.pk, "bob@example.com")
    assert event.changes == {
        "name": {"before": "Bob", "after": "Robert"},
        "groups": {"removed": named(team), "added": named(others)},
    }

    bob.user.groups.clear()
    assert events()[0].changes == {"groups": {"removed": named(others), "added": []}}


def test_secrets_are_told_only_to_have_changed(alice: Person, bob: Person, llm: LLM) -> None:
    alice.patch(f"/users/{bob.user.pk}", body(password="another canary phrase"))
    assert events()[0].changes == {"password": {"before": MASK, "after": MASK}}
    alice.patch(f"/llms/{llm.pk}", body(api_key="sk-canary-0000000000001234"))
    assert events()[0].changes == {"api_key": {"before": MASK, "after": MASK}}
    alice.patch(f"/llms/{llm.pk}", body(api_key="********", name="Kept"))
    assert events()[0].changes == {"name": {"before": "House model", "after": "Kept"}}
    alice.patch(f"/llms/{llm.pk}", body(api_key=None))
    assert events()[0].changes == {"api_key": {"before": MASK, "after": None}}

    issued = bob.post("/users/me/tokens", body(name="script")).json()
    (event,) = events()
    assert told(event)[:3] == ("created", "tokens", int(issued["id"]))
    assert event.changes["digest"] == {"before": None, "after": MASK}
    assert issued["attributes"]["token"] not in json.dumps(event.changes)
    bob.delete(f"/users/me/tokens/{issued['id']}")
    (event,) = events()
    assert (event.action, set(event.changes)) == ("changed", {"revoked_at"})

    alice.post(f"/users/{bob.user.pk}/roll-api-key")
    alice.post(f"/users/{bob.user.pk}/roll-api-key")
    assert [event.action for event in events()] == ["created", "changed", "created"]


def test_values_that_are_changed_in_place_and_long_ones(alice: Person, call_settings: LLMSettings) -> None:
    kept = LLMSettings.objects.get()
    kept.metadata["team"] = "research"
    kept.system_prompt = "x" * 100_000
    kept.save()
    (event,) = events()
    assert event.changes["metadata"] == {"before": {}, "after": {"team": "research"}}
    assert event.changes["system_prompt"]["after"].endswith("x… (100,000 characters)")
    kept.save()
    LLMSettings.objects.only("pk", "metadata").get().save()
    assert events() == []
    part = LLMSettings.objects.only("pk", "temperature").get()
    part.temperature = 2
    assert part.top_k is None  # read only now
    part.save()
    assert events()[0].changes["temperature"] == {"before": 0.5, "after": 2}
    LLMSettings.objects.update(temperature=0.5)
    LLMSettings(pk=kept.pk, temperature=1, created_at=kept.created_at).save()  # as one that was read by nobody
    assert events()[0].changes["temperature"] == {"before": 0.5, "after": 1}


def test_deleting_a_person_records_what_goes_with_them(alice: Person, bob: Person, team: Group) -> None:
    token = ApiToken.objects.get(user=bob.user)
    Session.objects.create(user=bob.user, chat=Chat.objects.get())
    alice.delete(f"/users/{bob.user.pk}")
    assert {told(event) for event in events()} == {
        ("deleted", "users", bob.user.pk, "bob@example.com"),
        ("deleted", "tokens", token.pk, str(token)),
    }


def test_a_deleted_persons_records_keep_their_name(alice: Person) -> None:
    erin = person("erin", is_admin=True)
    erin.post("/groups", body(name="Pilots"))
    User.objects.get(pk=erin.user.pk).delete()
    event = AuditEvent.objects.get(object_type="groups")
    assert (event.actor_id, event.actor_name) == (erin.user.pk, "erin@example.com")


def test_sessions_and_messages_leave_none(bob: Person, chat: Chat) -> None:
    key = bob.post("/sessions", body(chat_id=chat.pk)).json()["id"]
    bob.patch(f"/sessions/{key}", body(name="Mine"))
    bob.delete(f"/sessions/{key}")
    assert events() == []


# signing in


def test_signing_in_and_out_and_refusals(alice: Person, bob: Person) -> None:
    client = Client()

    def sign_in(email: str, password: str) -> int:
        sent = body(email=email, password=password)
        return client.post("/api/v1/auth/login", sent, content_type=JSON).status_code

    assert sign_in("BOB@example.com", PASS_PHRASE) == 200
    (event,) = events()
    assert told(event) == ("signed_in", "users", bob.user.pk, "bob@example.com")
    assert (event.actor_id, event.door, event.changes) == (bob.user.pk, "api", {})
    assert client.post("/api/v1/auth/logout").status_code == 204
    assert client.post("/api/v1/auth/logout").status_code == 204  # nobody
    assert [told(event) for event in events()] == [("signed_out", "users", bob.user.pk, "bob@example.com")]

    for _ in range(10):
        assert sign_in("bob@example.com", "wrong") == 401
    assert sign_in("bob@example.com", PASS_PHRASE) == 429
    refusals = events()
    assert {told(event) for event in refusals} == {("sign_in_refused", "users", bob.user.pk, "bob@example.com")}
    assert {(event.actor_id, event.actor_name) for event in refusals} == {(None, "")}
    assert [event.detail for event in refusals[-2:]] == [
        "wrong e-mail or password, or not active",
        "too many attempts",
    ]
    assert sign_in("nobody@example.com", "wrong") == 401
    assert told(events()[0]) == ("sign_in_refused", "users", None, "nobody@example.com")


def test_the_admin_signs_in_and_refuses(alice: Person, bob: Person) -> None:
    client = Client()
    for email, password in (
        ("my pass phrase", "wrong"),  # in the wrong field
        ("bob@example.com", PASS_PHRASE),
        ("alice@example.com", PASS_PHRASE),
    ):
        client.post("/admin/login/", {"username": email, "password": password})
    client.post("/admin/logout/")
    found = events()
    assert [(event.action, event.object_name, event.door) for event in found] == [
        ("sign_in_refused", "", "admin"),
        ("sign_in_refused", "bob@example.com", "admin"),
        ("signed_in", "alice@example.com", "admin"),
        ("signed_out", "alice@example.com", "admin"),
    ]
    assert found[1].detail == "not an administrator, at the admin"


class QuickHasher(PBKDF2PasswordHasher):
    iterations = 1


def test_a_hash_that_is_made_anew_is_no_change(bob: Person, settings: Any) -> None:
    settings.PASSWORD_HASHERS = [
        "tests.groups.test_audit.QuickHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    assert bob.user.check_password(PASS_PHRASE)
    assert User.objects.get(pk=bob.user.pk).password.startswith(QuickHasher.algorithm)
    assert events() == []


# the other doors


@pytest.fixture
def admin(alice: Person) -> Client:
    client = Client()
    client.force_login(alice.user)
    AuditEvent._base_manager.all()._raw_delete("default")
    return client


def test_a_page_of_the_admin_makes_one_record(
    admin: Client, alice: Person, bob: Person, team: Group, others: Group
) -> None:
    membership = Group.members.through.objects.get(user=bob.user)
    form = {
        "email": "robert@example.com",
        "is_active": "on",
        "Group_members-TOTAL_FORMS": "2",
        "Group_members-INITIAL_FORMS": "1",
        "Group_members-0-id": membership.pk,
        "Group_members-0-user": bob.user.pk,
        "Group_members-0-group": team.pk,
        "Group_members-0-DELETE": "on",
        "Group_members-1-user": bob.user.pk,
        "Group_members-1-group": others.pk,
        "tokens-TOTAL_FORMS": "0",
        "tokens-INITIAL_FORMS": "0",
    }
    assert admin.post(f"/admin/groups/user/{bob.user.pk}/change/", form).status_code == 302
    (event,) = events()
    assert told(event) == ("changed", "users", bob.user.pk, "robert@example.com")
    assert (event.door, event.actor_id) == ("admin", alice.user.pk)
    assert event.changes == {
        "email": {"before": "bob@example.com", "after": "robert@example.com"},
        "name": {"before": "Bob", "after": ""},
        "groups": {"removed": named(team), "added": named(others)},
    }

    token = ApiToken.objects.get(user=bob.user)
    selected = {"action": "revoke_selected", "_selected_action": [token.pk]}
    admin.post("/admin/groups/apitoken/", selected)
    assert [told(event)[:3] for event in events()] == [("changed", "tokens", token.pk)]
    selected = {"action": "delete_selected", "_selected_action": [team.pk, others.pk], "post": "yes"}
    admin.post("/admin/groups/group/", selected)
    assert {told(event)[:3] for event in events()} == {("deleted", "groups", team.pk), ("deleted", "groups", others.pk)}


def test_the_admin_shows_records_and_changes_none(admin: Client, alice: Person, llm: LLM) -> None:
    alice.patch(f"/llms/{llm.pk}", body(name="<b>Bold</b>"))
    event = AuditEvent.objects.get()
    assert "alice@example.com" in admin.get("/admin/core/auditevent/?object_type=llms").content.decode()
    page = admin.get(f"/admin/core/auditevent/{event.pk}/change/").content.decode()
    assert "House model" in page and "<b>Bold" not in page
    for path in ("add/", f"{event.pk}/change/", f"{event.pk}/delete/"):
        assert admin.post(f"/admin/core/auditevent/{path}", {"actor_name": "mallory", "post": "yes"}).status_code == 403
    for harm in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(detail=""),
    ):
        with pytest.raises(TypeError):
            harm()
    assert AuditEvent.objects.get().actor_name == "alice@example.com"


def test_commands_and_pruning(alice: Person, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_token", "alice@example.com")
    (event,) = events()
    assert (event.door, event.action, event.object_type, event.actor_id) == ("command", "created", "tokens", None)
    assert event.actor_name

    for days in (1, 9, 11, 400):
        AuditEvent.objects.create(action="created", door="api", created_at=timezone.now() - timedelta(days=days))
    call_command("prune_audit", "--older-than", "10")
    assert "2 records older than 10 days deleted." in capsys.readouterr().out
    *kept, pruned = events()
    assert len(kept) == 2
    assert (pruned.action, pruned.object_type) == ("pruned", "audit-events")
    assert pruned.detail.startswith("2 older than 10 days")
    with pytest.raises(CommandError, match="from 1 to"):
        call_command("prune_audit", "--older-than", "0")


# together or not at all


def test_no_record_without_its_change_and_no_change_without_its_record(
    alice: Person, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        chat.name = "Undone"
        chat.save()
        raise IntegrityError
    assert events() == []

    monkeypatch.setattr("core.audit.recording.write", lambda drafts, using: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        alice.patch(f"/chats/{chat.pk}", body(name="Unseen"))
    assert Chat.objects.get(pk=chat.pk).name == "Help desk"


def test_a_creation_costs_one_statement_more(alice: Person, chat: Chat, team: Group) -> None:
    attributes = {"name": "Desk", "llm_id": chat.llm_id, "llm_settings_id": chat.llm_settings_id}
    counts = []
    for groups in ([], [team.pk], [team.pk, *(Group.objects.create(name=f"Group {n}").pk for n in range(5))]):
        with CaptureQueriesContext(connection) as queries:
            assert alice.post("/chats", body(**attributes, group_ids=groups)).status_code == 201
        written = [query["sql"] for query in queries if "auditevent" in query["sql"]]
        assert len(written) == 1 and written[0].startswith("INSERT")
        counts.append(len(queries))
    assert counts[1] == counts[2]


# reading


def test_administrators_read_and_filter(alice: Person, bob: Person, llm: LLM, team: Group) -> None:
    alice.patch(f"/llms/{llm.pk}", body(name="Other"))
    alice.patch(f"/groups/{team.pk}", body(name="Pilots"))
    middle = timezone.now().isoformat()
    bob.post("/users/me/tokens", body(name="script"))
    for query, expected in {
        "": ["tokens", "groups", "llms"],
        f"filter[actor]={bob.user.pk}": ["tokens"],
        "filter[action]=changed": ["groups", "llms"],
        f"filter[object_type]=llms&filter[object_id]={llm.pk}": ["llms"],
        f"filter[since]={middle}": ["tokens"],
        f"filter[until]={middle}": ["groups", "llms"],
        "filter[door]=admin": [],
    }.items():
        rows = alice.get(f"{EVENTS}?{query.replace('+', '%2B')}").json()
        assert [row["attributes"]["object_type"] for row in rows] == expected, query
    for query in (
        "filter[action]=eaten",
        "filter[since]=yesterday",
        "filter[object_type]=x",
        "sort=id",
        "page=2",
        "after=0",
    ):
        assert alice.get(f"{EVENTS}?{query}").status_code == 400
    one = alice.get(EVENTS).json()[-1]
    assert one == alice.get(f"{EVENTS}/{one['id']}").json()
    assert one["attributes"]["changes"] == {"name": {"before": "House model", "after": "Other"}}
    assert bob.get(EVENTS).status_code == 403
    assert alice.post(EVENTS, body(action="created")).status_code == 405
    assert alice.delete(f"{EVENTS}/{one['id']}").status_code == 405


@pytest.mark.parametrize(
    ("media_type", "after", "size"), [(JSON, "after", "page_size"), (JSON_API, "page[after]", "page[size]")]
)
def test_what_is_added_while_one_reads_moves_nothing(alice: Person, media_type: str, after: str, size: str) -> None:
    for number in range(5):
        Group.objects.create(name=f"Group {number}")
    path, seen = f"{EVENTS}?{size}=2&filter[object_type]=groups", []
    while path:
        response = alice.get(path, Accept=media_type)
        rows = response.json()["data"] if media_type == JSON_API else response.json()
        seen += [row["attributes"]["object_name"] for row in rows]
        Group.objects.create(name=f"Later {len(seen)}")
        more = (
            response.json()["links"]["next"]
            if media_type == JSON_API
            else response.get("Link", "").partition(">")[0][1:]
        )
        path = more.partition("/api/v1")[2] if more else ""
    assert seen == [f"Group {number}" for number in (4, 3, 2, 1, 0)]


def test_lines_of_json_where_a_setting_asks(
    alice: Person,
    llm: LLM,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
    django_capture_on_commit_callbacks: Any,
) -> None:
    """A command prints what was asked of it alone on standard output."""
    settings.AUDIT_LOG = "stdout"
    with django_capture_on_commit_callbacks(execute=True):
        alice.patch(f"/llms/{llm.pk}", body(long_description="Two\nlines", api_key="sk-canary"))
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    written = json.loads(line)
    assert (written["actor_name"], written["action"], written["object_id"]) == ("alice@example.com", "changed", llm.pk)
    assert written["changes"]["api_key"] == {"before": MASK, "after": MASK}
    assert err == ""

    with django_capture_on_commit_callbacks(execute=True):
        call_command("create_token", "alice@example.com")
    out, err = capsys.readouterr()
    assert out.startswith("ais_")
    assert len(out.split()) == 1
    assert json.loads(err)["door"] == "command"


def test_what_json_tells_apart_is_a_change(alice: Person, call_settings: LLMSettings) -> None:
    path = f"/llm-settings/{call_settings.pk}"
    for value in (1, True, 0, False):
        alice.patch(path, body(metadata={"b": [value], "a": 2}))
    alice.patch(path, body(metadata={"a": 2, "b": [False]}))  # the order of members tells nothing
    events = AuditEvent.objects.filter(object_type="llm-settings", action="changed").order_by("pk")
    after = [event.changes["metadata"]["after"]["b"][0] for event in events]
    assert [(type(value), value) for value in after] == [(int, 1), (bool, True), (int, 0), (bool, False)]


class NobodyReads(StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


def test_lines_that_nobody_takes_undo_nothing(
    alice: Person, llm: LLM, settings: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    """As where a collector has died, or a disk is full."""
    settings.AUDIT_LOG = "stdout"
    closed = StringIO()
    closed.close()
    for stream in (closed, NobodyReads(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        with django_capture_on_commit_callbacks(execute=True):
            assert (
                alice.patch(f"/llms/{llm.pk}", body(name=type(stream).__name__ + str(stream is closed))).status_code
                == 200
            )
    assert AuditEvent.objects.filter(object_type="llms", action="changed").count() == 3
