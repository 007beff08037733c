"""The people of every test: alice administers, bob belongs, charlie is a stranger."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from groups.models import ApiToken, User

PASS_PHRASE = "a long canary phrase"
JSON = "application/json"
JSON_API = "application/vnd.api+json"


_client = Client()  # one for all: its first request loads the middleware, which takes longer than the request


@dataclass
class Person:
    """A user with a client that sends their token."""

    user: User
    key: str

    def get(self, path: str, query: dict[str, str] | None = None, **headers: str) -> Any:
        return self.send("GET", path + (f"?{urlencode(query)}" if query else ""), **headers)

    def post(self, path: str, body: Any = None, content_type: str = JSON, **headers: str) -> Any:
        return self.send("POST", path, body, content_type, **headers)

    def patch(self, path: str, body: Any = None, content_type: str = JSON, **headers: str) -> Any:
        return self.send("PATCH", path, body, content_type, **headers)

    def delete(self, path: str, body: Any = None, content_type: str = JSON, **headers: str) -> Any:
        return self.send("DELETE", path, body, content_type, **headers)

    def send(self, method: str, path: str, body: Any = None, content_type: str = "", **headers: str) -> Any:
        """The answer; names of headers are written with underscores."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Authorization": f"Bearer {self.key}", **headers}
        data = b"" if body is None else body if isinstance(body, bytes | str) else json.dumps(body)
        sent = data.encode() if isinstance(data, str) else data
        kind = content_type if body is not None else ""
        _client.cookies.clear()
        return _client.generic(method, f"/api/v1{path}", sent, content_type=kind, headers=headers)


def person(name: str, **fields: Any) -> Person:
    user = User.objects.create_user(f"{name}@example.com", PASS_PHRASE, name=name.title(), **fields)
    _, key = ApiToken.issue(user, name="tests")
    return Person(user, key)


def client_of(person: Person) -> Client:
    """A browser in which this person is signed in."""
    client = Client()
    client.force_login(person.user)
    return client
