"""The people of every test: alice administers, bob belongs, charlie is a stranger."""

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from groups.models import ApiToken, User

JSON = "application/json"
JSON_API = "application/vnd.api+json"


@dataclass
class Person:
    """A user with a client that sends their token."""

    user: User
    key: str

    def get(self, path: str, **headers: str) -> Any:
        return Client().get(f"/api/v1{path}", headers={"Authorization": f"Bearer {self.key}", **headers})

    def post(self, path: str, body: Any, content_type: str = JSON, **headers: str) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **headers}
        text = body if isinstance(body, bytes | str) else json.dumps(body)
        sent = text if isinstance(text, bytes) else text.encode()
        return Client().generic("POST", f"/api/v1{path}", sent, content_type=content_type, headers=headers)


def person(name: str, **fields: Any) -> Person:
    user = User.objects.create_user(f"{name}@example.com", "a long pass phrase", name=name.title(), **fields)
    _, key = ApiToken.issue(user, name="tests")
    return Person(user, key)
