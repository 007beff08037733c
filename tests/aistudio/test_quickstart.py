"""`manage.py quickstart`, which `make run` calls: what it says is true."""

import json
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from aistudio.management.commands import quickstart
from groups.models import User
from tests.live import Live, Server, environment, free_port, running


@dataclass(frozen=True)
class Welcome:
    """What it said, while it runs."""

    server: Server
    words: str

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.words, re.MULTILINE)
        assert found, self.words
        return found[1]

    @property
    def url(self) -> str:
        return self.find(r"^AI Studio +(\S+)$")

    @property
    def token(self) -> str:
        return self.find(r"^Token +(\S+)$")

    def get(self, path: str, token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{self.url}/api/v1{path}", headers=headers, trust_env=False, timeout=120)


@contextmanager
def started(folder: Path, name: str, **changes: str) -> Iterator[Welcome]:
    """It writes to a file, where Python keeps back what is not flushed."""
    variables = environment(folder, PORT=str(free_port()), **changes)
    with running(variables, folder / f"{name}.log", "quickstart") as server:
        server.wait_until(lambda: re.search(r"^curl .*\n", server.log.read_text(), re.MULTILINE) is not None)
        yield Welcome(server, server.log.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def first(folder: Path) -> Iterator[Welcome]:
    """Started on an empty database."""
    with started(folder, "first") as welcome:
        yield welcome


@pytest.fixture(scope="module")
def second(folder: Path, first: Welcome) -> Iterator[Welcome]:
    """Started once more, on what the first left."""
    with started(folder, "second") as welcome:
        yield welcome


def test_the_administrator_can_sign_in_as_it_says(first: Welcome) -> None:
    page, email = first.find(r"^Admin +(\S+)"), first.find(r"^Admin +\S+ +(\S+)")
    password = first.find(r"^Admin .* password: (.+)$")
    assert page == f"{first.url}/admin/"

    with httpx.Client(follow_redirects=True, trust_env=False, timeout=120) as browser:
        form = browser.get(page)
        assert form.url.path == "/admin/login/"
        fields = {
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            "username": email,
            "password": password,
            "next": "/admin/",
        }
        index = browser.post(form.url, data=fields)

    assert index.status_code == HTTPStatus.OK
    assert index.url.path == "/admin/"
    assert "/admin/chats/chat/" in index.text


def test_the_command_that_it_shows_creates_a_chat(first: Welcome, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", first.find(r"^(curl .*)$")], env=environment(folder), capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition("\n\n")
    assert head.startswith("HTTP/1.1 201 "), done.stdout
    chat = json.loads(body)
    assert chat["type"] == "chats"
    assert chat["attributes"]["name"] == "My first chat"
    assert chat["attributes"]["llm_id"] == 1
    assert chat["attributes"]["llm_settings_id"] == 1
    assert [(group["type"], group["id"], group["attributes"]["name"]) for group in chat["attributes"]["groups"]] == [
        ("groups", "1", "Everyone")
    ]
    assert first.get(f"/chats/{chat['id']}", first.token).json() == chat


def test_a_second_start_replaces_the_token(first: Welcome, second: Welcome) -> None:
    assert second.token != first.token
    assert second.get("/chats", second.token).status_code == HTTPStatus.OK
    assert second.get("/chats", first.token).status_code == HTTPStatus.UNAUTHORIZED


def test_a_second_start_adds_no_second_demo(folder: Path, second: Welcome) -> None:
    assert [chat["attributes"]["name"] for chat in second.get("/chats", second.token).json()].count("Welcome") == 1
    with closing(sqlite3.connect(folder / "live.sqlite3")) as database:
        for table in ("groups_user", "groups_group", "groups_apitoken", "llms_llm"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table  # noqa: S608


def test_ctrl_c_ends_it_without_a_traceback(live: Live, tmp_path: Path) -> None:
    with started(tmp_path, "only", DATABASE_URL=live.database_url) as welcome:
        welcome.server.stop(signal.SIGINT)
        assert "Traceback" not in welcome.server.log.read_text()


def test_a_password_that_nobody_chose_is_shown(db: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEMO_PASSWORD = ""
    said: list[str] = []
    monkeypatch.setattr(
        quickstart.WelcomingServer, "run", lambda server: said.append(quickstart.welcome(server.url, server.password))
    )

    monkeypatch.setattr(quickstart, "check_database", lambda: None)  # it opens a connection of its own
    call_command("quickstart")

    found = re.search(r"password: (.+)$", said[0], re.MULTILINE)
    assert found
    assert User.objects.get().check_password(found[1])
