"""An admin form that was opened before someone else changed the row does not undo that change."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from chats.models import Chat
from core.web.conflicts import CHANGED
from groups.models import Group, User
from llms.models import LLM, LLMSettings
from tests.forms import filled_form, signed_in
from tests.people import Person, client_of
from tests.talking import NUMBER, Studio

KEY, OTHER_KEY = "sk-canary-mine-0000000000", "sk-canary-theirs-000000000"


@pytest.fixture
def admin(alice: Person) -> Client:
    return client_of(alice)


@pytest.fixture
def one_of_each(bob: Person, chat: Chat) -> dict[type, Any]:
    return {User: bob.user, Group: chat.groups.first(), LLM: chat.llm, LLMSettings: chat.llm_settings, Chat: chat}


def path_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def opened(admin: Client, row: Any) -> Callable[..., Any]:
    """A form that is open; the result sends it with changes, and gives the page, or "" when it was saved."""
    form = admin.get(path_of(row)).content.decode()

    def send(**changes: str | list[str]) -> Any:
        answer = admin.post(path_of(row), filled_form(form, **changes))
        return "" if answer.status_code == 302 else answer.content.decode()

    return send


def names(related: Any) -> set[str]:
    return {str(row) for row in related.all()}


@pytest.mark.parametrize(
    ("model", "theirs", "mine"),
    [
        (User, ("name", "Robert"), ("email", "rob@example.com")),
        (Group, ("name", "Builders"), ("name", "Makers")),
        (LLM, ("default_model", "demo-2"), ("short_description", "Ours")),
        (LLMSettings, ("temperature", 1.5), ("system_prompt", "Be <b>brief</b>.\n\nAlways.")),
        (Chat, ("system_prompt", "Be kind & calm."), ("name", "Desk")),
    ],
)
def test_both_versions_are_shown_and_nothing_is_saved(
    admin: Client, alice: Person, one_of_each: dict[type, Any], model: Any, theirs: Any, mine: Any
) -> None:
    row, changed = one_of_each[model], dict([theirs])
    send = opened(admin, row)
    resource = {User: "users", Group: "groups", LLM: "llms", LLMSettings: "llm-settings", Chat: "chats"}[model]
    assert alice.patch(f"/{resource}/{row.pk}", {"data": {"attributes": changed}}).status_code == 200
    stored = model.objects.values().get(pk=row.pk)

    page = send(**dict([mine]))

    assert CHANGED in page
    table = page.partition('id="conflict"')[2].partition("</table>")[0]
    for value in (theirs[1], mine[1]):
        shown = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert f">{shown}<" in table
    assert model.objects.values().get(pk=row.pk) == stored

    again = admin.post(path_of(row), filled_form(page))  # now it is a decision
    row.refresh_from_db()
    assert (again.status_code, getattr(row, mine[0]).replace("\r\n", "\n")) == (302, mine[1])


@pytest.mark.usefixtures("bob")
def test_a_chats_removed_group_does_not_get_its_access_back(
    admin: Client, alice: Person, bob: Person, chat: Chat, others: Group
) -> None:
    send = opened(admin, chat)
    alice.patch(f"/chats/{chat.pk}", {"data": {"attributes": {"group_ids": [others.pk]}}})
    page = send(description="New words")
    assert names(chat.groups) == {"Lawyers"}
    assert bob.get(f"/chats/{chat.pk}").status_code == 404
    assert ">Lawyers<" in page
    assert ">Engineers, Lawyers<" in page


def test_a_removed_member_does_not_come_back(admin: Client, alice: Person, bob: Person, team: Group) -> None:
    send = opened(admin, team)
    assert alice.delete(f"/groups/{team.pk}/users/{bob.user.pk}").status_code == 204
    assert CHANGED in send(name="Builders")
    assert names(team.members) == set()


@pytest.mark.parametrize("change", ["removed", "added"])
def test_the_groups_on_a_users_page_are_not_set_back(
    admin: Client, alice: Person, bob: Person, team: Group, others: Group, change: str
) -> None:
    send = opened(admin, bob.user)
    if change == "removed":
        alice.delete(f"/groups/{team.pk}/users/{bob.user.pk}")
    else:
        alice.post(f"/groups/{others.pk}/users", {"data": {"type": "users", "id": str(bob.user.pk)}})
    stored = names(bob.user.groups)

    page = send(name="Robert")

    assert CHANGED in page
    assert names(bob.user.groups) == stored
    assert admin.post(path_of(bob.user), filled_form(page)).status_code == 302
    bob.user.refresh_from_db()
    assert (bob.user.name, names(bob.user.groups)) == ("Robert", stored)


def test_a_new_key_does_not_replace_another_new_key(admin: Client, alice: Person, llm: LLM) -> None:
    send = opened(admin, llm)
    alice.patch(f"/llms/{llm.pk}", {"data": {"attributes": {"api_key": OTHER_KEY}}})
    page = send(new_api_key=KEY)  # conftest.py sees that no page shows either
    assert CHANGED in page
    assert ">New API key<" in page
    llm.refresh_from_db()
    assert llm.api_key.reveal() == OTHER_KEY
    assert opened(admin, llm)(name="Renamed") == ""


def test_what_a_form_does_not_show_is_no_conflict(admin: Client, bob: Person, chat: Chat) -> None:
    send = opened(admin, bob.user)
    client_of(bob)  # signs in, which changes last_login
    bob.user.set_password("a much longer canary phrase")
    bob.user.save()
    assert send(name="Robert") == ""
    bob.user.refresh_from_db()
    assert (bob.user.name, bob.user.check_password("a much longer canary phrase")) == ("Robert", True)


def test_the_same_form_sent_twice_is_no_conflict(admin: Client, chat: Chat) -> None:
    send = opened(admin, chat)
    assert send(name="Desk", groups=[]) == send(name="Desk", groups=[]) == ""
    assert (names(Chat.objects.all()), names(chat.groups)) == ({"Desk"}, set())


def test_a_form_that_is_late_and_wrong_says_both(admin: Client, alice: Person, chat: Chat) -> None:
    send = opened(admin, chat)
    alice.patch(f"/chats/{chat.pk}", {"data": {"attributes": {"name": "Desk"}}})
    page = send(name="", description="x" * 2_001)
    assert CHANGED in page
    assert "This field is required." in page


def test_of_two_forms_sent_at_once_one_is_saved(studio: Studio) -> None:
    """Through two servers, on each kind of database."""
    group = studio.group()
    path = f"/admin/groups/group/{group}/change/"
    with signed_in(studio, 0) as first, signed_in(studio, 1) as second, ThreadPoolExecutor(2) as threads:
        forms = [(browser, filled_form(browser.get(path).text, name=new_name())) for browser in (first, second)]
        sent = [threads.submit(browser.post, path, data=form) for browser, form in forms]
        assert sorted(answer.result().status_code for answer in sent) == [200, 302]


def new_name() -> str:
    return f"Builders {next(NUMBER)}"
