"""Databases that tests open besides Django's test database, and their rows."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib.sessions.models import Session as SignIn
from django.core.management import call_command
from django.db import transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from aistudio.settings import database
from chats.models import ActiveAnswer, Chat, JournalEntry, Message, Session, Title
from core.database.connections import Migrations, connect, reset_sequences
from core.database.encryption import encrypt
from core.database.table_dump import Row, tables
from core.models import IdempotentRequest
from groups.models import ApiToken, Group, SignInAttempt, User
from llms.models import LLM, LLMSettings
from tests.live import ROOT, environment
from tests.talking import NUMBER, new_database

Config = dict[str, Any]

SECRET = "sk-canary-0123456789-7777"
NASTY = "C:\\new\t\r\n\u2028 👩‍👩‍👧‍👦 \u202e null {} \" ' \\N \\. שלום"
METADATA = {"z": 1e20, "a": [1.5e300, 1.0, 2**70, -0.0, 1e-7, True, None, NASTY], "seed": 2**63 - 1}
MANY = 12_000
MANY_MESSAGES = f"""
    WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY + 2})
    INSERT INTO chats_message (id, session_id, sequence, role, text, status, error_code, error_detail, error_retryable,
        ignored_settings, estimated, created_at)
    SELECT i, 1, i, 'user', 'Question ' || i, 'complete', '', '', 0, '[]', 0, '2026-11-01 08:00:00' FROM n
"""  # noqa: S608


def all_migrations() -> Migrations:
    return set(MigrationLoader(None).graph.nodes)


def sqlite(path: Path) -> Config:
    return database(f"sqlite:///{path}")


def fill(config: Config) -> Config:
    """Migrate an empty database and add all kinds of rows; returns the database."""
    with connect("filled", config) as using:
        call_command("migrate", database=using, verbosity=0)
        with transaction.atomic(using=using):
            add_rows(using)
        reset_sequences(using, tables(apps))
    return config


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Config:
    """A SQLite database with all kinds of rows. No test changes it."""
    with django_db_blocker.unblock():
        return fill(sqlite(tmp_path_factory.mktemp("filled") / "filled.sqlite3"))


def copy(config: Config, path: Path, *, many: bool = False) -> Config:
    """A copy of a SQLite database, with many more messages if `many`."""
    shutil.copy(config["NAME"], path)
    if many:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(MANY_MESSAGES)
    return sqlite(path)


@pytest.fixture(scope="session")
def filled_postgres(postgres: str, django_db_blocker: Any) -> str:
    """The URL of a PostgreSQL database with all kinds of rows, for `copied`."""
    url = new_database(postgres)
    with django_db_blocker.unblock():
        fill(database(url))
    return url


def copied(url: str) -> str:
    """The URL of a copy of a PostgreSQL database."""
    name = f"copy_{next(NUMBER)}"
    with psycopg.connect(f"{url.rpartition('/')[0]}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.rpartition('/')[2]}".encode())
    return f"{url.rpartition('/')[0]}/{name}"


def add_rows(using: str) -> None:
    user = User(email="Ünï@example.com", name=NASTY)
    user.set_password(NASTY)
    user.save(using=using)
    group = Group.objects.using(using).create(pk=41, name="Straße")
    group.members.add(user)
    llm = LLM.objects.using(using).create(name="House model", vendor="demo", api_key=encrypt(SECRET))
    call = LLMSettings.objects.using(using).create(temperature=0.1, seed=-(2**63), metadata=METADATA, stop_words=["\n"])
    chat = Chat.objects.using(using).create(name=NASTY, llm=llm, llm_settings=call)
    chat.groups.add(group)
    session = Session.objects.using(using).create(user=user, chat=chat)
    question = Message.objects.using(using).create(session=session, sequence=1, role="user", text=NASTY)
    answer = Message.objects.using(using).create(session=session, sequence=2, role="assistant", parent=question)
    Session.objects.using(using).update(leaf=answer)
    ActiveAnswer.objects.using(using).create(
        session=session, message=answer, worker=session.uuid, lease_until=timezone.now()
    )
    JournalEntry.objects.using(using).create(message_id=2**40, start=0, text=NASTY)  # of a message that is no more
    ApiToken.objects.using(using).create(user=user, name="tests", prefix="ais_", digest="0" * 64)
    Title.objects.using(using).create(session=session)
    IdempotentRequest.objects.using(using).create(
        user=user, method="POST", path="/", key="k", holder=session.uuid, lease_until=timezone.now()
    )
    SignInAttempt.objects.using(using).create(counter="c", count=1, ends_at=timezone.now())
    SignIn.objects.using(using).create(session_key="k", session_data="d", expire_date=timezone.now())


def content(config: Config) -> dict[str, list[Row]]:
    """All rows of all tables."""
    with connect("read", config) as using, transaction.atomic(using=using):
        return {table.label: list(table.rows(using)) for table in tables(apps)}


def differences(one: dict[str, list[Row]], other: dict[str, list[Row]]) -> list[str]:
    """The tables whose rows differ, where one side may be SQLite and the other PostgreSQL."""
    assert one.keys() == other.keys()
    return [
        table.label
        for table in tables(apps)
        if len(one[table.label]) != len(other[table.label])
        or not all(map(table.are_equal, one[table.label], other[table.label]))
    ]


def started(folder: Path, *arguments: str, **changes: str) -> subprocess.Popen[str]:
    """A `manage.py` command in a process of its own."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment(folder, **changes), text=True, stdout=subprocess.DEVNULL)
