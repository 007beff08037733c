"""What the server sends of the page of a conversation, and to whom."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chats.models import ActiveAnswer, Chat, Message, Session
from groups.models import Group
from tests.chats.test_sessions import said
from tests.people import Person

NOBODY = Client()  # its handler serves all: to load the middleware takes longer than a request


def client_of(person: Person) -> Client:
    client = Client()
    client.handler = NOBODY.handler
    client.force_login(person.user)
    return client


@pytest.fixture
def session(bob: Person, chat: Chat) -> Session:
    return Session.objects.create(user=bob.user, chat=chat, name="Ärger: mit / Akten")


def html_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, response.content
    return response.content.decode()


def ids(html: str) -> list[int]:
    return [int(found) for found in re.findall(r'id="message-(\d+)"', html)]


def test_only_the_owner_gets_anything(alice: Person, bob: Person, charlie: Person, session: Session) -> None:
    answer = said(session, "Who?", "Me.")
    path = f"/sessions/{session.uuid}"
    switch = f"{path}/messages/{answer.pk}/switch"
    paths = [path, f"{path}/messages", f"{path}/messages?before={answer.pk}", f"{path}/events"]
    paths += [f"{path}/export.md", f"{path}/export.json"]
    for stranger in (alice, charlie):
        client = client_of(stranger)
        for each in (*paths, *(one.replace(str(session.uuid), str(uuid4())) for one in paths)):
            assert client.get(each).status_code == 404, each
        assert client.post(switch).status_code == 404
    assert client_of(charlie).get(f"/chats/{session.chat_id}").status_code == 404
    for each in (path, f"/chats/{session.chat_id}", f"{path}/export.md", f"{path}/export.json"):
        assert NOBODY.get(each)["Location"] == f"/sign-in?next={each}"
    for each in (f"{path}/messages", f"{path}/events"):
        assert NOBODY.get(each).status_code == 401
    assert NOBODY.post(switch).status_code == 401
    assert Client(enforce_csrf_checks=True).post(switch).status_code == 403
    assert client_of(bob).get(switch).status_code == 405
    bob.user.groups.clear()
    assert client_of(bob).get(path).status_code == 404


def test_a_chat_says_who_may_be_in_it(alice: Person, bob: Person, chat: Chat, team: Group, others: Group) -> None:
    Chat.objects.update(description="Ask <b>anything</b>.")
    shown = html_of(client_of(bob), f"/chats/{chat.pk}")
    assert "Open to Engineers." in shown  # the other group is not bob's to know
    assert "Ask &lt;b&gt;anything&lt;/b&gt;." in shown
    assert "Open to Engineers, Lawyers." in html_of(client_of(alice), f"/chats/{chat.pk}")
    chat.llm.active = False
    chat.llm.save()
    assert "switched off" in html_of(client_of(bob), f"/chats/{chat.pk}")
    chat.groups.clear()
    assert "For administrators only." in html_of(client_of(alice), f"/chats/{chat.pk}")


def test_the_newest_messages_come_and_the_earlier_ones_on_request(bob: Person, session: Session) -> None:
    for number in range(40):
        said(session, f"Question {number}", f"Answer *{number}*")
    client, path = client_of(bob), f"/sessions/{session.uuid}"
    with CaptureQueriesContext(connection) as queries:
        newest = html_of(client, path)
    assert len(queries) <= 13, [query["sql"][:120] for query in queries]
    assert "Answer <em>39</em>" in newest and "Question 25" in newest and "Question 24" not in newest
    assert len(ids(newest)) == 30
    seen = ids(newest)
    while earlier := re.search(r'data-earlier="(\d+)"', newest):
        newest = html_of(client, f"{path}/messages?before={earlier[1]}")
        seen = ids(newest) + seen
    assert seen == list(session.messages.order_by("sequence").values_list("pk", flat=True))
    for wrong in ("x", "-1", "9" * 19, "0"):
        assert client.get(f"{path}/messages?before={wrong}").status_code == 404
    other = Session.objects.create(user=bob.user, chat=session.chat)
    assert client.get(f"{path}/messages?before={said(other, 'a', 'b').pk}").status_code == 404


def test_a_page_has_only_so_much_text(bob: Person, session: Session) -> None:
    for _ in range(4):
        said(session, "Long?", "word " * 9_000)
    assert len(ids(html_of(client_of(bob), f"/sessions/{session.uuid}"))) == 4
    said(session, "Very long?", "word " * 40_000)
    assert len(ids(html_of(client_of(bob), f"/sessions/{session.uuid}"))) == 2


@pytest.mark.parametrize("status", ["stopped", "failed", "interrupted"])
def test_an_end_that_was_none_is_marked(bob: Person, session: Session, status: str) -> None:
    said(session, "Who?", "I")
    Message.objects.filter(text="I").update(status=status, error_detail="The vendor <died>.")
    shown = html_of(client_of(bob), f"/sessions/{session.uuid}")
    assert f"<strong>{status.title()}</strong>" in shown
    assert "Retry</button>" in shown and 'aria-label="Regenerate"' not in shown
    assert ("The vendor &lt;died&gt;." in shown) == (status != "stopped")


def test_branches_are_numbered_and_switched(bob: Person, session: Session) -> None:
    first = said(session, "Who?", "I")
    question = first.parent
    assert question
    second = Message.objects.create(session=session, parent=question, sequence=3, role="assistant", text="You")
    session.leaf, session.last_sequence = second, 3
    session.save()
    later = said(session, "Sure?", "Yes")
    client, path = client_of(bob), f"/sessions/{session.uuid}"
    shown = html_of(client, path)
    assert "2 of 2" in shown and f'data-to="{first.pk}"' in shown
    before = Session.objects.get(pk=session.pk).updated_at
    assert client.post(f"{path}/messages/{first.pk}/switch").status_code == 204
    assert ids(html_of(client, path)) == [question.pk, first.pk]
    assert client.post(f"{path}/messages/{second.pk}/switch").status_code == 204
    session.refresh_from_db()
    assert (session.leaf, session.updated_at) == (later, before)  # to the end of that branch, and it is no news
    assert client.post(f"{path}/messages/{later.pk + 100}/switch").status_code == 404
    ActiveAnswer.objects.create(session=session, message=later, worker=uuid4(), lease_until=timezone.now())
    refused = client.post(f"{path}/messages/{first.pk}/switch")
    assert refused.status_code == 409
    assert "still being answered" in refused.json()["errors"][0]["detail"]
    session.refresh_from_db()
    assert session.leaf == later


def test_exports(bob: Person, session: Session) -> None:
    first = said(session, "Who?", "I, *the* demo.")
    Message.objects.create(
        session=session, parent=first.parent, sequence=3, role="assistant", text="Y", status="stopped"
    )
    client, path = client_of(bob), f"/sessions/{session.uuid}"
    text = client.get(f"{path}/export.md")
    expected = "# Ärger: mit / Akten\n\nChat: Help desk\n\n## Question\n\nWho?\n\n## Answer\n\nI, *the* demo.\n"
    assert text.content.decode() == expected
    assert text["Content-Disposition"] == "attachment; filename*=utf-8''%C3%84rger%3A%20mit%20-%20Akten.md"
    whole: Any = client.get(f"{path}/export.json").json()
    assert whole["session"]["attributes"]["name"] == session.name
    assert [message["attributes"]["text"] for message in whole["messages"]] == ["Who?", "I, *the* demo.", "Y"]
    assert whole["messages"] == bob.get(f"/sessions/{session.uuid}/messages?branch=all").json()
    Session.objects.update(name="x" * 79 + "🇵🇹")  # two characters that are one
    assert f'filename="{"x" * 79}.md"' in client.get(f"{path}/export.md")["Content-Disposition"]
    Session.objects.update(name="")
    assert f'filename="{session.uuid}.md"' in client.get(f"{path}/export.md")["Content-Disposition"]
    assert client.get(f"{path}/export.md").content.startswith(b"# New conversation\n")
    named = re.findall(r'(?:<title>|id="title"[^>]*>|data-name="|<span>)(New conversation)', html_of(client, path))
    assert len(named) == 4  # in its title, its heading, what the script is told, and the list


def test_a_deleted_chat_leaves_its_conversations_to_read(alice: Person, bob: Person, session: Session) -> None:
    said(session, "Who?", "Me.")
    assert alice.delete(f"/chats/{session.chat_id}").status_code == 204
    shown = html_of(client_of(bob), f"/sessions/{session.uuid}")
    assert "data-closed" in shown and "Help desk" in shown and "Me." in shown
