"""Every URL and method of the API, and what each kind of caller gets. One that is missing here fails."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from chats.models import Chat, Session
from core.models import AuditEvent
from groups.models import ApiToken, Group, User
from llms.models import LLM, LLMSettings
from tests.chats.test_sessions import said
from tests.people import Person, person

CLIENT = Client()  # one for all: its first request loads the middleware, which takes longer than the request

# what those get who are nobody: without a token, with a bad, expired or revoked one, deactivated
UNKNOWN = ("nobody", "bad token", "expired token", "revoked token", "deactivated user")
KNOWN = ("stranger", "member", "administrator")

A_NAME = {"data": {"attributes": {"name": "Another"}}}
CHAT = {"data": {"attributes": {"name": "Another", "llm_id": "{llm}", "llm_settings_id": "{settings}"}}}
USER = {"data": {"attributes": {"email": "new@example.com"}}}
MEMBER = {"data": {"type": "users", "id": "{bob}"}}
MEMBERS = {"data": [{"type": "users", "id": "{bob}"}]}
SESSION = {"data": {"attributes": {"chat_id": "{chat}"}}}
QUESTION = {"data": {"attributes": {"text": "Hello"}}}
GROUPS = {"data": [{"type": "groups", "id": "{group}"}]}

# method, path, body: stranger, member, administrator
MATRIX: dict[tuple[str, str], tuple[Any, int, int, int]] = {
    ("get", "chats"): (None, 200, 200, 200),
    ("post", "chats"): (CHAT, 403, 403, 201),
    ("get", "chats/{chat}"): (None, 404, 200, 200),
    ("patch", "chats/{chat}"): (A_NAME, 404, 403, 200),
    ("delete", "chats/{chat}"): (None, 404, 403, 204),
    ("get", "chats/by-group?group_id={group}"): (None, 200, 200, 200),
    ("get", "chats/{chat}/explain-access?user={bob}"): (None, 404, 403, 200),
    ("get", "chats/{chat}/relationships/groups"): (None, 404, 200, 200),
    ("post", "chats/{chat}/relationships/groups"): (GROUPS, 404, 403, 204),
    ("patch", "chats/{chat}/relationships/groups"): (GROUPS, 404, 403, 204),
    ("delete", "chats/{chat}/relationships/groups"): (GROUPS, 404, 403, 204),
    ("get", "groups"): (None, 200, 200, 200),
    ("post", "groups"): (A_NAME, 403, 403, 201),
    ("get", "groups/search?name=e"): (None, 200, 200, 200),
    ("get", "groups/{group}"): (None, 404, 200, 200),
    ("patch", "groups/{group}"): (A_NAME, 404, 403, 200),
    ("delete", "groups/{group}"): (None, 404, 403, 204),
    ("get", "groups/{group}/users"): (None, 404, 403, 200),
    ("post", "groups/{group}/users"): (MEMBER, 404, 403, 204),
    ("delete", "groups/{group}/users/{bob}"): (None, 404, 403, 204),
    ("get", "groups/{group}/relationships/members"): (None, 404, 403, 200),
    ("post", "groups/{group}/relationships/members"): (MEMBERS, 404, 403, 204),
    ("patch", "groups/{group}/relationships/members"): (MEMBERS, 404, 403, 204),
    ("delete", "groups/{group}/relationships/members"): (MEMBERS, 404, 403, 204),
    ("get", "users"): (None, 403, 403, 200),
    ("post", "users"): (USER, 403, 403, 201),
    ("get", "users/me"): (None, 200, 200, 200),
    ("get", "users/{bob}"): (None, 404, 200, 200),
    ("patch", "users/{bob}"): (A_NAME, 404, 403, 200),
    ("delete", "users/{bob}"): (None, 404, 403, 204),
    ("get", "users/{bob}/groups"): (None, 404, 200, 200),
    ("get", "users/{bob}/relationships/groups"): (None, 404, 200, 200),
    ("post", "users/{bob}/relationships/groups"): (GROUPS, 404, 403, 204),
    ("patch", "users/{bob}/relationships/groups"): (GROUPS, 404, 403, 204),
    ("delete", "users/{bob}/relationships/groups"): (GROUPS, 404, 403, 204),
    ("post", "users/{bob}/roll-api-key"): (None, 404, 403, 200),
    ("get", "users/me/tokens"): (None, 200, 200, 200),
    ("post", "users/me/tokens"): (A_NAME, 201, 201, 201),
    ("get", "users/me/tokens/{token}"): (None, 404, 200, 404),  # bob's own
    ("delete", "users/me/tokens/{token}"): (None, 404, 204, 404),
    ("get", "llms"): (None, 403, 403, 200),
    ("post", "llms"): ({"data": {"attributes": {"name": "New", "vendor": "demo"}}}, 403, 403, 201),
    ("get", "llms/{llm}"): (None, 403, 403, 200),
    ("patch", "llms/{llm}"): (A_NAME, 403, 403, 200),
    ("delete", "llms/{llm}"): (None, 403, 403, 409),  # a chat uses it
    ("get", "llms/search?name=h"): (None, 403, 403, 200),
    ("get", "llms/max-privacy-score?max_score=50"): (None, 403, 403, 200),
    ("get", "llms/min-privacy-score?min_score=50"): (None, 403, 403, 200),
    ("get", "llms/privacy-score-range?min_score=0&max_score=50"): (None, 403, 403, 200),
    ("post", "llms/{llm}/check"): (None, 403, 403, 200),
    ("get", "llms/{llm}/models"): (None, 403, 403, 200),
    ("get", "llm-settings"): (None, 403, 403, 200),
    ("post", "llm-settings"): ({"data": {"attributes": {"model_name": "new"}}}, 403, 403, 201),
    ("get", "llm-settings/{settings}"): (None, 403, 403, 200),
    ("patch", "llm-settings/{settings}"): ({"data": {"attributes": {"top_k": 0}}}, 403, 403, 200),
    ("delete", "llm-settings/{settings}"): (None, 403, 403, 409),
    ("get", "llm-settings/search?model_name=d"): (None, 403, 403, 200),
    ("get", "vendors/llm-drivers"): (None, 403, 403, 200),
    ("get", "audit-events"): (None, 403, 403, 200),
    ("get", "audit-events/{event}"): (None, 403, 403, 200),
    # the session is bob's; nothing answers in this process, so that his questions get no further than 503
    ("get", "sessions"): (None, 200, 200, 200),
    ("post", "sessions"): (SESSION, 400, 201, 201),
    ("get", "sessions/{session}"): (None, 404, 200, 404),
    ("patch", "sessions/{session}"): (A_NAME, 404, 200, 404),
    ("delete", "sessions/{session}"): (None, 404, 204, 404),
    ("get", "sessions/{session}/usage"): (None, 404, 200, 404),
    ("get", "sessions/{session}/events"): (None, 404, 200, 404),
    ("post", "sessions/{session}/stop"): (None, 404, 409, 404),  # nothing runs
    ("get", "sessions/{session}/messages"): (None, 404, 200, 404),
    ("post", "sessions/{session}/messages"): (QUESTION, 404, 503, 404),
    ("get", "sessions/{session}/messages/{answer}"): (None, 404, 200, 404),
    ("post", "sessions/{session}/messages/{answer}/regenerate"): (None, 404, 503, 404),
    ("post", "sessions/{session}/messages/{question}/edit"): (QUESTION, 404, 503, 404),
    ("get", "chat-history-records?user_id={bob}"): (None, 403, 200, 200),
    ("post", "chat-history-records"): (SESSION, 400, 201, 201),
    ("get", "chat-history-records/{record}"): (None, 404, 200, 404),
    ("delete", "chat-history-records/{record}"): (None, 404, 204, 404),
}
# open to everyone: the description, and signing in
PUBLIC = {
    ("get", "schema"): 200,
    ("get", "docs"): 200,
    ("get", "auth/login"): 204,
    ("post", "auth/login"): 400,  # without e-mail and password
    ("post", "auth/logout"): 204,
}


@pytest.fixture
def ids(chat: Chat, team: Group, bob: Person, llm: LLM, call_settings: LLMSettings) -> dict[str, Any]:
    token = ApiToken.objects.get(user=bob.user)
    session = Session.objects.create(user=bob.user, chat=chat)
    answer = said(session, "Who?", "Me.")
    return {
        "session": session.uuid,
        "record": session.pk,
        "answer": answer.pk,
        "question": answer.parent_id,
        "chat": chat.pk,
        "group": team.pk,
        "bob": bob.user.pk,
        "llm": llm.pk,
        "settings": call_settings.pk,
        "token": token.pk,
        "event": AuditEvent.objects.latest("pk").pk,
    }


def filled(value: Any, ids: dict[str, Any]) -> Any:
    """The body with its places filled: a string of digits stays one where it is an `id`."""
    if isinstance(value, dict):
        return {key: str(filled(item, ids)) if key == "id" else filled(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    return ids[value[1:-1]] if isinstance(value, str) and value.startswith("{") else value


def call(method: str, path: str, body: Any, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    data = b"" if body is None else json.dumps(body).encode()
    kind = "application/json" if body is not None else ""
    CLIENT.cookies.clear()
    response = CLIENT.generic(method.upper(), f"/api/v1/{path}", data, content_type=kind, headers=headers)
    return response.status_code


def unknown_caller(kind: str, bob: Person) -> str | None:
    if kind == "nobody":
        return None
    if kind == "bad token":
        return "Bearer ais_wrong"
    if kind == "expired token":
        return ApiToken.issue(bob.user, name="old", expires_at=timezone.now() - timedelta(seconds=1))[1]
    if kind == "revoked token":
        token, key = ApiToken.issue(bob.user, name="lost")
        token.revoke()
        return key
    User.objects.filter(pk=bob.user.pk).update(is_active=False)
    return bob.key


@pytest.mark.parametrize("kind", UNKNOWN)
def test_whoever_is_not_known_gets_in_nowhere(kind: str, ids: dict[str, Any], bob: Person) -> None:
    authorization = unknown_caller(kind, bob)
    for (method, path), (body, *_) in MATRIX.items():
        assert call(method, path.format(**ids), filled(body, ids), authorization) == 401, (method, path)


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_whoever_is_known_gets_what_is_theirs(
    method: str, path: str, kind: str, ids: dict[str, Any], bob: Person
) -> None:
    body, *statuses = MATRIX[method, path]
    caller = {"member": lambda: bob, "stranger": lambda: person("charlie")}.get(
        kind, lambda: person("alice", is_admin=True)
    )()
    expected = statuses[KNOWN.index(kind)]
    assert call(method, path.format(**ids), filled(body, ids), caller.key) == expected


@pytest.mark.parametrize(("method", "path"), PUBLIC)
def test_what_is_open_to_everyone(method: str, path: str, db: Any) -> None:
    body: Any = {"data": {"attributes": {}}} if path == "auth/login" and method == "post" else None
    assert call(method, path, body, None) == PUBLIC[method, path]


def patterns(resolver: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for item in resolver.url_patterns:
        route = prefix + str(item.pattern)
        if isinstance(item, URLResolver):
            yield from patterns(item, route)
        elif isinstance(item, URLPattern):
            yield route, item.callback


def shape(path: str) -> str:
    """The path with its ids made alike."""
    steps = path.partition("?")[0].split("/")
    return "/".join("*" if step.startswith(("{", "<")) else step for step in steps)


def test_nothing_is_missing() -> None:
    served = set()
    for route, view in patterns(get_resolver()):
        if route.startswith("api/v1/"):
            methods = getattr(view, "actions", None) or {"get": ""}
            allowed = getattr(view.cls, "http_method_names", ["get"])
            served |= {(method, shape(route.removeprefix("api/v1/"))) for method in methods if method in allowed}
    listed = {(method, shape(path)) for method, path in (*MATRIX, *PUBLIC)}
    assert served - {("head", path) for _, path in served} == listed
