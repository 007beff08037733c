"""What commands print shows control characters, and does not obey them: names of old rows may hold some."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

from chats.models import Chat
from core.management.output import SafeCommand
from groups.models import Group, User
from llms.models import LLM, LLMSettings
from tests.people import Person

EVIL = "\x1b[2J\x9b1m\u202eevil\r\nyes\u2066\x07"
SHOWN = r"\x1b[2J\x9b1m\u202eevil\r", r"yes\u2066\x07"  # with r"\n" between them, but in errors, which have lines
OURS = ("aistudio", "chats", "core", "groups", "llms", "usage")
AS_DJANGO_HAS_IT = {"check"}  # it prints our own words alone


@pytest.fixture
def old_rows(alice: Person, bob: Person, team: Group, chat: Chat, llm: LLM, call_settings: LLMSettings) -> None:
    Group.objects.filter(pk=team.pk).update(name=EVIL)
    Chat.objects.filter(pk=chat.pk).update(name=EVIL)
    LLM.objects.filter(pk=llm.pk).update(name=EVIL, default_model=EVIL)
    LLMSettings.objects.filter(pk=call_settings.pk).update(model_name=EVIL)
    User.objects.filter(pk=bob.user.pk).update(email=EVIL)


def printed(capsys: Any, *arguments: str) -> str:
    """All that a command prints, and its error as `manage.py` would print it."""
    error = ""
    try:
        call_command(*arguments)
    except CommandError as caught:
        error = str(caught)
    out, err = capsys.readouterr()
    return str(out + err + error)


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain_access", EVIL),
        ("explain_access", EVIL, "{chat}"),
        ("explain_access", "alice@example.com", "{chat}"),
        ("explain_access", "nobody" + EVIL),
        ("explain_access", "alice@example.com", "nothing" + EVIL),
        ("check_llm", "{llm}"),
        ("check_llm", "nothing"),
        ("create_token", "nobody" + EVIL),
        ("chat", "--as", "nobody" + EVIL),
        ("rotate_keys",),
    ],
)
def test_names_are_shown(
    old_rows: None, chat: Chat, llm: LLM, arguments: tuple[str, ...], capsys: Any, settings: Any
) -> None:
    if arguments == ("rotate_keys",):
        settings.FIELD_KEYS = ["bGl2ZS1vbmx5LWxpdmUtb25seS1saXZlLW9ubHktISE="]
    text = printed(capsys, *(each.format(chat=chat.pk, llm=llm.pk) for each in arguments))
    assert all(part in text for part in SHOWN)
    assert r"\n".join(SHOWN) in text or "no " in text or "cannot be read" in text
    assert not [each for each in text if each not in "\n" and not each.isprintable()], ascii(text)


def test_every_command_prints_so() -> None:
    commands = {name for name, app in get_commands().items() if app in OURS}
    assert len(commands) > 10
    for name in commands - AS_DJANGO_HAS_IT:
        assert isinstance(load_command_class(get_commands()[name], name), SafeCommand), name
