"""Characters that change the direction of a text are shown as such in every page: unseen, they hide what it says."""

import re
from typing import Any

import pytest
from django.urls import reverse

from chats.colouring import Colourer
from chats.models import Chat, Message, Session
from chats.web.markdown import render
from groups.models import ApiToken, Group, User
from llms.models import LLM
from tests.chats.test_sessions import said
from tests.people import Person, client_of

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
NAME = f"House {BIDI}model"
SHOWN = "House " + "".join(f"⟨U+{ord(character):04X}⟩" for character in BIDI) + "model"


@pytest.fixture
def session(alice: Person, chat: Chat, team: Group) -> Session:
    """All names that people give have the characters, and so have question and answer."""
    for model in (LLM, Chat, Group, User, ApiToken):
        model.objects.update(name=NAME)
    Chat.objects.update(description=NAME)
    session = Session.objects.create(user=alice.user, chat=chat, name=NAME)
    said(session, NAME, f"*{NAME}*\n\n```python\n# {NAME}\n```\n\n[{NAME}](https://house.test '{NAME}') &#x202e;")
    Message.objects.filter(role="assistant").update(status="failed", error_detail=NAME)
    return session


def unseen(html: str) -> str:
    return "".join(re.findall(f"[{BIDI}]", html))


def test_in_pages(alice: Person, session: Session) -> None:
    client = client_of(alice)
    for path in ("/", "/profile", f"/chats/{session.chat_id}", f"/sessions/{session.uuid}", "/conversations"):
        html = client.get(path).content.decode()
        assert SHOWN in html, path
        assert not unseen(html), path
    html = client.get(f"/sessions/{session.uuid}/messages").content.decode()
    assert html.count(SHOWN) >= 6
    assert not unseen(html)


@pytest.mark.parametrize("model", [LLM, Chat, Group, User])
def test_in_the_admin(alice: Person, session: Session, model: Any) -> None:
    client, name = client_of(alice), model._meta.model_name
    html = client.get(reverse(f"admin:{model._meta.app_label}_{name}_changelist")).content.decode()
    assert SHOWN in html
    assert not unseen(html)
    row = model.objects.first()
    html = client.get(reverse(f"admin:{model._meta.app_label}_{name}_change", args=[row.pk])).content.decode()
    assert SHOWN in html
    assert f'value="{NAME}"' in html  # a form sends back what it was given


def test_a_growing_answer() -> None:
    blocks = render(f"{NAME}\n\n`{NAME}`\n\n> &#8238; &#x2067;", Colourer("colour_html"), is_complete=False)
    assert not unseen("".join(blocks))
    assert "".join(blocks).count(SHOWN) == 2


def test_other_answers_have_what_was_sent(alice: Person, session: Session) -> None:
    assert alice.get(f"/chats/{session.chat_id}").json()["attributes"]["name"] == NAME
    client = client_of(alice)
    assert NAME.encode() in client.get(f"/sessions/{session.uuid}/export.json").content
