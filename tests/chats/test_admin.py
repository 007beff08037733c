"""The admin's pages of chats."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from chats.models import Chat
from groups.models import Group
from llms.models import LLM, LLMSettings
from tests.people import Person

CHATS = "/admin/chats/chat/"


@pytest.fixture
def admin(alice: Person) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(alice.user)
    return client


def listed(admin: Client, query: str = "") -> list[str]:
    return [chat.name for chat in admin.get(f"{CHATS}?{query}").context["cl"].result_list]


def status_for(person: Person, chat: Chat) -> int:
    return person.get(f"/chats/{chat.pk}").status_code


def test_a_chat_is_added_for_its_groups(
    admin: Client, bob: Person, charlie: Person, team: Group, llm: LLM, call_settings: LLMSettings
) -> None:
    data = {"name": "Contract review", "llm": llm.pk, "llm_settings": call_settings.pk, "groups": [team.pk]}
    assert admin.post(f"{CHATS}add/", data).url == CHATS
    chat = Chat.objects.get()
    assert (chat.name, chat.llm, chat.llm_settings) == ("Contract review", llm, call_settings)
    assert (status_for(bob, chat), status_for(charlie, chat)) == (200, 404)


def test_a_chat_needs_an_llm_and_settings(admin: Client, team: Group) -> None:
    answer = admin.post(f"{CHATS}add/", {"name": "Contract review", "groups": [team.pk]})
    assert answer.context["adminform"].form.errors.keys() == {"llm", "llm_settings"}


def test_a_chat_may_lose_its_groups(admin: Client, alice: Person, bob: Person, chat: Chat) -> None:
    data = {"name": chat.name, "llm": chat.llm_id, "llm_settings": chat.llm_settings_id}
    admin.post(f"{CHATS}{chat.pk}/change/", data)
    assert (status_for(alice, chat), status_for(bob, chat)) == (200, 404)
    assert "administrators only" in admin.get(CHATS).content.decode()


def test_a_chat_is_deleted(admin: Client, chat: Chat, llm: LLM) -> None:
    admin.post(f"{CHATS}{chat.pk}/delete/", {"post": "yes"})
    assert not Chat.objects.exists()
    assert LLM.objects.get() == llm


def test_names_in_the_list_lead_to_what_they_name(admin: Client, chat: Chat) -> None:
    page = admin.get(CHATS).content.decode()
    named: list[Any] = [chat.llm, chat.llm_settings, *chat.groups.all()]
    for one in named:
        path = reverse(f"admin:{one._meta.app_label}_{one._meta.model_name}_change", args=[one.pk])
        assert f'href="{path}">{one}</a>' in page


def test_chats_are_filtered(admin: Client, chat: Chat, team: Group, others: Group) -> None:
    llm = LLM.objects.create(name="Other model", vendor="demo")
    other = Chat.objects.create(name="Contract review", llm=llm, llm_settings=LLMSettings.objects.create())
    other.groups.add(others)
    assert listed(admin) == ["Help desk", "Contract review"]
    assert listed(admin, f"llm__id__exact={llm.pk}") == ["Contract review"]
    assert listed(admin, f"llm_settings__id__exact={chat.llm_settings_id}") == ["Help desk"]
    assert listed(admin, f"groups__id__exact={team.pk}") == ["Help desk"]
    assert listed(admin, f"groups__id__exact={others.pk}") == ["Help desk", "Contract review"]
    assert listed(admin, f"groups__id__exact={others.pk}&q=REVIEW") == ["Contract review"]


@pytest.mark.parametrize("term", ["Ärzte", "ÄRZTE", "ärzte"])
def test_chats_are_found_whatever_the_letter_case(admin: Client, chat: Chat, term: str) -> None:
    Chat.objects.filter(pk=chat.pk).update(name="Briefe für Ärzte", name_folded="briefe für ärzte")
    assert listed(admin, f"q={term}") == ["Briefe für Ärzte"]
