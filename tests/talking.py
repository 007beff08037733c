"""Talking to live servers: who asks, the events they read, and the servers on one database that they ask."""

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest

from tests.live import Server, Variables, environment, free_port, is_healthy, manage, running

TIMEOUT = 120  # seconds for one answer
HTTP = httpx.Client(trust_env=False, timeout=TIMEOUT, limits=httpx.Limits(max_keepalive_connections=0))
NUMBER = count(1)  # makes names that nobody has
FIRST_STEPS = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from groups.models import ApiToken, User
print(ApiToken.issue(User.objects.create_superuser("alice@example.com"), name="tests")[1])
"""

Attributes = Mapping[str, Any]
NONE: Attributes = {}
DEMO: Attributes = {"vendor": "demo", "default_model": "demo"}

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    id: int
    name: str
    data: Any

    @classmethod
    def of(cls, block: bytes) -> "Event":
        """Each has exactly these three lines."""
        number, name, data = block.split(b"\n")
        assert (number[:4], name[:7], data[:6]) == (b"id: ", b"event: ", b"data: "), block
        return cls(int(number[4:]), name[7:].decode(), json.loads(data[6:]))


Events = Generator[Event, None, None]


def ask(url: str, key: str, session: str, text: str) -> Events:
    """The events of the answer; closing it closes the connection."""
    return stream("POST", f"{url}/api/v1/sessions/{session}/messages", key, json=question(text))


def events(url: str, key: str, session: str, after: int | None = None) -> Events:
    """The events after that one and those to come; closing it closes the connection."""
    position = {} if after is None else {"Last-Event-ID": str(after)}
    return stream("GET", f"{url}/api/v1/sessions/{session}/events", key, headers=position)


def stream(method: str, url: str, key: str, *, headers: dict[str, str] | None = None, json: Any = None) -> Events:
    headers = {"Accept": "text/event-stream", **bearer(key), **(headers or {})}
    with HTTP.stream(method, url, headers=headers, json=json) as response:
        assert response.status_code in (200, 204), (response.status_code, response.read())
        yield from parsed(response.iter_bytes())


def parsed(chunks: Iterable[bytes]) -> Iterator[Event]:
    received = b""
    for chunk in chunks:
        *blocks, received = (received + chunk).split(b"\n\n")
        yield from (Event.of(block) for block in blocks if block != b":")  # which is a sign of life
    assert not received


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "delta")


def question(text: str) -> dict[str, Any]:
    return {"data": {"type": "messages", "attributes": {"text": text}}}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def until(read: Callable[[], T], seconds: float = 120) -> T:
    """What is read, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := read()):
        assert time.monotonic() < deadline, "It did not come to be in time."
        time.sleep(0.02)
    return value


@dataclass(frozen=True)
class Member:
    """A user, with a key."""

    id: int
    key: str


@dataclass(frozen=True)
class Studio:
    """Servers on one database, and the key of alice, who administers."""

    folder: Path
    variables: Variables
    key: str
    urls: list[str]

    def send(
        self, method: str, path: str, body: Any = None, *, key: str = "", server: int = 0, **headers: str
    ) -> httpx.Response:
        headers = {**bearer(key or self.key), **headers}
        return HTTP.request(method, f"{self.urls[server]}/api/v1{path}", json=body, headers=headers)

    def call(self, method: str, path: str, attributes: Any = None, *, key: str = "", server: int = 0) -> Any:
        """What the API answers, which must be a success."""
        body = None if attributes is None else {"data": {"attributes": attributes}}
        response = self.send(method, path, body, key=key, server=server)
        assert response.is_success, (response.status_code, response.text)
        return response.json() if response.content else None

    def make(self, kind: str, **attributes: Any) -> int:
        return int(self.call("POST", f"/{kind}", attributes)["id"])

    def group(self) -> int:
        return self.make("groups", name=f"Engineers {next(NUMBER)}")

    def bob(self, group: int) -> Member:
        """Someone who belongs to the group."""
        user = self.make("users", email=f"bob-{next(NUMBER)}@example.com", group_ids=[group])
        return Member(user, self.call("POST", f"/users/{user}/roll-api-key")["attributes"]["api_key"])

    def chat(self, *groups: int, llm: Attributes = DEMO, settings: Attributes = NONE, **attributes: Any) -> int:
        return self.make(
            "chats",
            name="Help desk",
            llm_id=self.make("llms", name=f"House model {next(NUMBER)}", **llm),
            llm_settings_id=self.make("llm-settings", **settings),
            group_ids=list(groups),
            **attributes,
        )

    def session(self, chat: int, key: str = "") -> str:
        return str(self.call("POST", "/sessions", {"chat_id": chat}, key=key)["id"])

    def answer(self, session: str, *, key: str = "", server: int = 0) -> Any:
        """The attributes of the newest message of a short session."""
        return self.call("GET", f"/sessions/{session}/messages", key=key, server=server)[-1]["attributes"]

    @contextmanager
    def server(self, **changes: str) -> Iterator[tuple[str, Server]]:
        """One more server on the database."""
        with self.started(**changes) as (url, server):
            server.wait_until(lambda: is_healthy(url))
            yield url, server

    @contextmanager
    def started(self, **changes: str) -> Iterator[tuple[str, Server]]:
        address, log = f"127.0.0.1:{free_port()}", self.folder / f"{next(NUMBER)}.log"
        with running({**self.variables, **changes}, log, "runserver", address) as server:
            yield f"http://{address}", server

    @property
    def log(self) -> str:
        """What all its servers said."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


@contextmanager
def opened(folder: Path, *, servers: int, database_url: str | None = None, **changes: str) -> Iterator[Studio]:
    """Servers that are up, on a SQLite file in the folder unless another database is named."""
    variables = environment(folder, PRIVATE_NETWORKS="1", **changes)
    variables["DATABASE_URL"] = database_url or variables["DATABASE_URL"]
    key = manage(variables, "shell", "--no-imports", "--command", FIRST_STEPS).strip()
    studio = Studio(folder, variables, key, [])
    with ExitStack() as stack:
        for url, server in [stack.enter_context(studio.started()) for _ in range(servers)]:
            server.wait_until(partial(is_healthy, url))
            studio.urls.append(url)
        yield studio
    assert "Traceback" not in studio.log, studio.log


DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session", params=DATABASES)
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Two servers on one database, for each of DATABASES."""
    url = new_database(request.getfixturevalue("postgres")) if request.param == "postgresql" else None
    with opened(tmp_path_factory.mktemp("studio"), servers=2, database_url=url, SHUTDOWN_TIMEOUT="1") as studio:
        yield studio


def new_database(url: str) -> str:
    """The DATABASE_URL of an empty database beside that one of PostgreSQL."""
    name = f"studio_{next(NUMBER)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{url.rpartition('/')[0]}/{name}"
