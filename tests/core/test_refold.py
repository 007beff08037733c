"""A database of before `fold` knew invisible characters: its names are folded anew, and what collides stays usable."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connections
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

from aistudio.settings import database
from core.database.casefold import fold
from core.database.connections import connect
from core.database.url import Config
from tests.core.databases import sqlite
from tests.talking import new_database

BEFORE = [("groups", "0005_sign_in_attempt"), ("llms", "0002_help_texts"), ("chats", "0008_parts")]
# by name: what the column held before, as casefold() of NFC made it
GROUPS = {"Sa\u200bles": "sa\u200bles", "Sales": "sales", "SALES\u2060": "sales\u2060", "Ops": "ops", "a\tb": "a\tb"}
CROSSED = {"\u200bx": "\u200bx", "\u200b\u200bx": "\u200b\u200bx", "ᾳ\u0301": "ά\u03b9", "Long" + "\u200b" * 190: ""}
CROSSED |= {"Pear": "quince", "Quince": "pear"}  # each takes over the other's
LONG = {"ﬃ" * 199: "ffi" * 199, "ﬃ" * 199 + "\u200b": "ffi" * 199 + "\u200b"}
USERS = {"ada@bücher.example": "ada@bücher.example", "ada@xn--bcher-kva.example": "ada@xn--bcher-kva.example"}


@pytest.fixture(autouse=True)
def databases(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture(params=["sqlite", "postgres"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    if request.param == "sqlite":
        return sqlite(tmp_path / "old.sqlite3")
    return database(new_database(request.getfixturevalue("postgres")))


def test_names_are_folded_anew(config: Config, caplog: Any) -> None:
    with connect("old", config) as using:
        before = MigrationExecutor(connections[using])
        before.migrate(BEFORE)
        old = before.loader.project_state(BEFORE).apps
        groups, users = (old.get_model(f"groups.{name}").objects.using(using) for name in ("Group", "User"))
        llms = old.get_model("llms.LLM").objects.using(using)
        for number, (name, folded) in enumerate({**GROUPS, **CROSSED, **LONG}.items()):
            row = groups.create(name=str(number))  # `save` folds as today, `update` does not
            groups.filter(pk=row.pk).update(name=name, name_folded=folded or name.lower())
        for number, (email, folded) in enumerate(USERS.items()):
            user = users.create(email=f"{number}@example.com")
            users.filter(pk=user.pk).update(email=email, email_folded=folded)
        llms.filter(pk=llms.create(name="x\u200b", vendor="demo").pk).update(name_folded="x\u200b")
        with caplog.at_level(logging.WARNING):
            call_command("migrate", database=using, verbosity=0, interactive=False)

        check_groups(using)
        check_users(using)
        assert apps.get_model("llms.LLM").objects.using(using).get().name_folded == "x"
        warned = [record.getMessage() for record in caplog.records if "rename id" in record.getMessage()]
        assert len(warned) == 5 and all(text.isascii() for text in warned)


def check_groups(using: str) -> None:
    """All have their names still; of those that are the same now, one has the folded one."""
    model = apps.get_model("groups.Group")
    rows = {row.name: row for row in model.objects.using(using)}
    assert rows.keys() == {*GROUPS, *CROSSED, *LONG}
    assert rows["Sales"].name_folded == "sales"  # who had the name has it
    assert rows["\u200bx"].name_folded == "x"  # nobody had it: the older one
    assert rows["ᾳ\u0301"].name_folded == fold("ΆΙ")
    assert (rows["Pear"].name_folded, rows["Quince"].name_folded) == ("pear", "quince")
    assert rows["a\tb"].name_folded == "ab"
    for name in ("Sa\u200bles", "SALES\u2060", "\u200b\u200bx", "ﬃ" * 199 + "\u200b"):
        row = rows[name]
        assert row.name_folded == f"{fold(name)[:580]}\n{row.pk}"
        if len(name) < 199:
            row.save(using=using)  # what has a number can be changed, and keeps it
            assert model.objects.using(using).get(pk=row.pk).name_folded == row.name_folded == f"{fold(name)}\n{row.pk}"
    row = rows["Sa\u200bles"]
    row.name = "Ops"
    with suppress(IntegrityError):  # the new name is compared as every other
        row.save(using=using)
        pytest.fail("A name is there twice.")
    row.name = "Sales department"
    row.save(using=using)
    assert row.name_folded == "sales department"
    row.name = "Sales"
    with pytest.raises(IntegrityError):
        row.save(using=using)


def check_users(using: str) -> None:
    """Each of the two accounts can be signed in to with its own address; another spelling is the first's."""
    manager = apps.get_model("groups.User").objects.db_manager(using)
    first, second = (manager.get(email=email) for email in USERS)
    assert [manager.get_by_natural_key(email).pk for email in USERS] == [first.pk, second.pk]
    assert manager.get_by_natural_key("ADA@BÜCHER.example").pk == first.pk
    assert second.email_folded == f"ada@bücher.example\n{second.pk}"
    second.is_active = False
    second.save(using=using)
