"""Secrets are encrypted at rest, and show nothing of themselves."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from core.database.encryption import UnreadableSecret, encrypt
from llms.models import LLM

KEY = "sk-canary-0123456789-7777"


@pytest.fixture
def llm(db: Any) -> LLM:
    llm = LLM(name="House model", vendor="demo")
    llm.set_api_key(KEY)
    llm.save()
    return LLM.objects.get()


def test_the_database_holds_no_key(llm: LLM) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM llms_llm")
        assert KEY not in str(cursor.fetchall())
    assert llm.api_key.reveal() == KEY
    assert llm.api_key_end == "7777"


def test_it_shows_nothing(llm: LLM) -> None:
    assert KEY not in f"{llm.api_key!r} {llm.api_key} {vars(llm)}"


def test_no_end_is_shown_of_a_short_key(db: Any) -> None:
    llm = LLM(name="Short", vendor="demo")
    llm.set_api_key("hunter2")
    assert llm.api_key_end == ""


def test_a_wrong_key_raises_and_an_old_one_still_reads(llm: LLM, settings: Any) -> None:
    new, old = Fernet.generate_key().decode(), settings.FIELD_KEYS
    settings.FIELD_KEYS = [new, *old]
    assert llm.api_key.reveal() == KEY
    settings.FIELD_KEYS = [new]
    with pytest.raises(UnreadableSecret):
        llm.api_key.reveal()


def test_a_secret_in_clear_is_not_stored(db: Any) -> None:
    with pytest.raises(TypeError, match="encrypt"):
        LLM.objects.create(name="Clear", vendor="demo", api_key=KEY)
    assert not encrypt("")
