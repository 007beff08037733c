import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from chats.models import Chat
from core.telemetry.logs import JSONFormatter
from groups.models import Group
from llms.models import LLM, LLMSettings
from tests.people import Person, person

# the fixtures `live`, `browser`, `postgres`, `vendor`, `studio`, `production`, `nginx`, `filled`, `filled_postgres`
pytest_plugins = [
    "tests.live",
    "tests.browser",
    "tests.postgres",
    "tests.vendor_server",
    "tests.registered_llms",
    "tests.talking",
    "tests.production",
    "tests.core.databases",
]


CANARY = "canary"  # is part of every secret that tests store


@pytest.fixture(autouse=True)
def canary_stays_inside(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """In no answer, page, error or log of any test does a secret appear."""
    request = Client.request

    def watched(client: Client, **environ: Any) -> Any:
        response = request(client, **environ)
        if not response.streaming:
            shown = response.content.decode(errors="replace") + str(response.headers)
            assert CANARY not in shown.lower(), f"{environ.get('PATH_INFO')} shows a secret"
        return response

    monkeypatch.setattr(Client, "request", watched)
    with caplog.at_level(logging.INFO):
        yield
    for phase in ("setup", "call"):
        for record in caplog.get_records(phase):  # type: ignore[arg-type]
            assert CANARY not in JSONFormatter().format(record).lower(), f"{record.name} logs a secret"


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """What a process remembers (totals, failed attempts) is of rows that the next test does not have."""
    yield
    cache.clear()


@pytest.fixture
def alice(db: Any) -> Person:
    return person("alice", is_admin=True)


@pytest.fixture
def bob(db: Any, team: Group) -> Person:
    bob = person("bob")
    team.members.add(bob.user)
    return bob


@pytest.fixture
def charlie(db: Any) -> Person:
    return person("charlie")


@pytest.fixture
def team(db: Any) -> Group:
    """The group that bob belongs to."""
    return Group.objects.create(name="Engineers")


@pytest.fixture
def others(db: Any) -> Group:
    """A group without members."""
    return Group.objects.create(name="Lawyers")


@pytest.fixture
def llm(db: Any) -> LLM:
    llm = LLM(name="House model", vendor="demo", default_model="demo")
    llm.set_api_key("sk-canary-0123456789-7777")
    llm.save()
    return llm


@pytest.fixture
def call_settings(db: Any) -> LLMSettings:
    return LLMSettings.objects.create(model_name="demo", temperature=0.5)


@pytest.fixture
def chat(team: Group, others: Group, llm: LLM, call_settings: LLMSettings) -> Chat:
    """A chat of bob's group and of another."""
    chat = Chat.objects.create(name="Help desk", llm=llm, llm_settings=call_settings)
    chat.groups.set([team, others])
    return chat
