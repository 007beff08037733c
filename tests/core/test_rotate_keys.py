"""`rotate_keys` encrypts every secret with the first of FIELD_KEYS; it names and keeps those that no key can read."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from core.database import key_rotation
from core.database.encryption import encrypt
from core.database.key_rotation import rotate_keys
from llms.models import LLM

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def llms(db: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[LLM]:
    """Three LLMs with secrets under the old key, one without a secret. The new key comes first; batches are of two."""
    monkeypatch.setattr(key_rotation, "ROWS_PER_LOCK", 2)
    settings.FIELD_KEYS = [OLD]
    made = [LLM.objects.create(name=f"LLM {n}", vendor="demo", api_key=encrypt(f"canary {n}")) for n in range(3)]
    LLM.objects.create(name="Open", vendor="demo")
    settings.FIELD_KEYS = [NEW, OLD]
    return made


def keys() -> list[str]:
    return [llm.api_key.reveal() for llm in LLM.objects.exclude(name="Open").order_by("pk")]


def test_the_old_key_can_go(llms: list[LLM], settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    changed_at = list(LLM.objects.values_list("updated_at", flat=True))
    call_command("rotate_keys")
    assert "3 secrets are under the first key, 3 of them since now." in capsys.readouterr().out
    call_command("rotate_keys")
    assert "3 secrets are under the first key, 0 of them since now." in capsys.readouterr().out

    settings.FIELD_KEYS = [NEW]
    assert keys() == ["canary 0", "canary 1", "canary 2"]
    assert list(LLM.objects.values_list("updated_at", flat=True)) == changed_at


def test_what_cannot_be_read_is_named_and_left(llms: list[LLM], settings: Any) -> None:
    settings.FIELD_KEYS = [LOST]
    LLM.objects.filter(pk=llms[1].pk).update(api_key=encrypt("canary"))
    settings.FIELD_KEYS = [NEW, OLD]
    left = LLM.objects.get(pk=llms[1].pk).api_key

    with pytest.raises(CommandError, match=rf"(?s)1 cannot be read .*LLM LLM 1 \(id {llms[1].pk}, api_key\)$"):
        call_command("rotate_keys")

    assert LLM.objects.get(pk=llms[1].pk).api_key == left
    settings.FIELD_KEYS = [NEW, LOST]
    assert keys() == ["canary 0", "canary", "canary 2"]


def test_the_next_one_does_what_an_interrupted_one_left(llms: list[LLM], settings: Any) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate_keys(interrupt)

    assert rotate_keys(lambda _: None).changed == 1


def test_what_a_server_writes_back_meanwhile_is_rotated_too(llms: list[LLM], settings: Any) -> None:
    stale = [LLM.objects.get(pk=llms[0].pk)]

    def write_back(_: str) -> None:
        for llm in stale:
            llm.save()
        stale.clear()

    assert rotate_keys(write_back).changed == 4
    settings.FIELD_KEYS = [NEW]
    assert keys() == ["canary 0", "canary 1", "canary 2"]
