"""The first page: the chats that are open to someone, or why there are none."""

from typing import Any

from django.test import Client

from chats.models import Chat
from groups.models import Group
from tests.people import Person, client_of


def home(person: Person, **query: str) -> str:
    return str(client_of(person).get("/", query).content.decode())


def test_only_what_is_open_to_one_is_there(alice: Person, bob: Person, charlie: Person, chat: Chat) -> None:
    chat.description = "Questions about <laptops>"
    chat.save()
    for person in (alice, bob):
        assert f'href="/chats/{chat.pk}">Help desk</a>' in home(person)
        assert "Questions about &lt;laptops&gt;" in home(person)
    assert "Help desk" not in home(charlie)


def test_words_are_looked_for_in_names_and_descriptions(bob: Person, chat: Chat) -> None:
    Chat.objects.filter(pk=chat.pk).update(description="Questions about laptops")
    for words in ("HELP", "laptops desk", " "):
        assert "Questions about" in home(bob, q=words)
    for words in ("help tractors", "%", "\0x"):
        assert "No chat has these words" in home(bob, q=words)


def test_who_sees_nothing_is_told_why_and_whom_to_ask(
    alice: Person, charlie: Person, chat: Chat, others: Group
) -> None:
    page = home(charlie)
    assert "you belong to no group yet" in page
    assert "mailto:alice@example.com" in page
    lonely = Group.objects.create(name="Gardeners")
    lonely.members.add(charlie.user)
    assert "none is open to yours: Gardeners." in home(charlie)
    others.members.add(charlie.user)
    assert "Help desk" in home(charlie)

    chat.delete()
    assert "There is no chat yet." in home(alice)
    assert 'href="/admin/chats/chat/add/"' in home(alice)


def test_more_chats_cost_no_more_statements(bob: Person, chat: Chat, django_assert_num_queries: Any) -> None:
    client: Client = client_of(bob)
    for _ in range(2):
        with django_assert_num_queries(6):  # session, user, count, page; of the sidebar chats, conversations
            page = client.get("/").content.decode()
        for number in range(30):
            more = Chat.objects.create(name=f"Chat {number}", llm=chat.llm, llm_settings=chat.llm_settings)
            more.groups.set(chat.groups.all())
    assert "Page 1 of 2" in page
