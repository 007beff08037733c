"""The pages that all models have in the admin, and those of users, groups and tokens."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chats.models import Chat
from core.database.casefold import fold
from groups.admin import UserAdmin
from groups.models import ApiToken, Group, User
from groups.sign_in import FAILED_SIGN_INS
from llms.models import LLM, LLMSettings
from tests.people import PASS_PHRASE, Person, person

PASSWORD = PASS_PHRASE  # everybody's
MODELS = {User: "BOB", Group: "ENGIN", ApiToken: "TESTS", LLM: "HOUSE", LLMSettings: "DEMO", Chat: "HELP"}
each_model = pytest.mark.parametrize("model", MODELS)

NO_GROUPS = {"Group_members-TOTAL_FORMS": "0", "Group_members-INITIAL_FORMS": "0"}
NO_TOKENS = {"tokens-TOTAL_FORMS": "0", "tokens-INITIAL_FORMS": "0"}


@pytest.fixture
def admin(alice: Person) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(alice.user)
    return client


@pytest.fixture
def one_of_each(admin: Client, bob: Person, charlie: Person, chat: Chat) -> None:
    """Something in every list."""


def url(page: str, model: Any, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def pages_of(model: Any) -> list[str]:
    one = model.objects.last().pk
    return [url("changelist", model), url("add", model), *(url(f, model, one) for f in ("change", "delete", "history"))]


def listed(client: Client, model: Any, query: str = "") -> set[str]:
    """What the list shows for this query."""
    return {str(row) for row in client.get(f"{url('changelist', model)}?{query}").context["cl"].result_list}


def suggested(client: Client, path: str, term: str) -> list[str]:
    """What the autocompletion of `app.model.field` offers."""
    app_label, model_name, field_name = path.split(".")
    query = {"app_label": app_label, "model_name": model_name, "field_name": field_name, "term": term}
    return [result["text"] for result in client.get(reverse("admin:autocomplete"), query).json()["results"]]


# every model


@each_model
@pytest.mark.usefixtures("one_of_each")
def test_every_page_opens_and_has_no_secret(admin: Client, model: Any, bob: Person, llm: LLM) -> None:
    secrets = ["sk-canary-0123456789", str.__str__(llm.api_key), bob.key]
    secrets += [*ApiToken.objects.values_list("digest", flat=True), *User.objects.values_list("password", flat=True)]
    for path in pages_of(model):
        answer = admin.get(path)
        assert answer.status_code == 200, path
        assert not [secret for secret in secrets if secret in answer.content.decode()], path


@each_model
@pytest.mark.usefixtures("one_of_each")
def test_a_search_finds_names_whatever_their_letter_case(admin: Client, model: Any) -> None:
    found = listed(admin, model, f"q={MODELS[model]}")
    assert found
    assert all(MODELS[model].lower() in name.lower() for name in found)


@each_model
@pytest.mark.usefixtures("one_of_each")
def test_a_search_without_result_leads_back_to_the_whole_list(admin: Client, model: Any) -> None:
    page = admin.get(url("changelist", model), {"q": "no such thing"}).content.decode()
    assert "Nothing found" in page
    assert f"Show all {model._meta.verbose_name_plural}" in page


@pytest.mark.parametrize("model", [Group, LLM, LLMSettings, Chat])
def test_an_empty_list_says_what_would_be_there(admin: Client, model: Any) -> None:
    page = admin.get(url("changelist", model)).content.decode()
    assert f"No {model._meta.verbose_name_plural} yet" in page
    assert f"Add {model._meta.verbose_name}" in page


@pytest.mark.parametrize(
    ("field", "term", "name"),
    [
        ("groups.group.members", "BOB", "bob@example.com"),
        ("groups.group_members.group", "ENGIN", "Engineers"),
        ("groups.apitoken.user", "Bob", "bob@example.com"),
        ("chats.chat.llm", "HOUSE", "House model"),
        ("chats.chat.llm_settings", "DEMO", "demo (settings 1)"),
        ("chats.chat.groups", "LAW", "Lawyers"),
    ],
)
@pytest.mark.usefixtures("one_of_each")
def test_fields_complete_what_is_typed(admin: Client, field: str, term: str, name: str) -> None:
    name = name.replace("1", str(LLMSettings.objects.get().pk))
    assert suggested(admin, field, term) == [name]
    assert suggested(admin, field, "no such thing\0") == []


@each_model
def test_a_list_asks_as_often_for_many_rows_as_for_few(admin: Client, model: Any) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert admin.get(url("changelist", model)).status_code == 200
        return len(asked)

    queries()  # what is asked once, such as content types
    populate(2)
    few = queries()
    populate(12)
    assert queries() == few


def populate(count: int) -> None:
    """Make rows of every model, each with relations of its own."""
    first = User.objects.count()
    for n in range(first, first + count):
        user = User.objects.create_user(f"user{n}@example.com")
        ApiToken.issue(user, name=f"token {n}")
        group = Group.objects.create(name=f"group {n}")
        group.members.set(User.objects.all())
        llm = LLM(name=f"LLM {n}", vendor="demo")
        llm.set_api_key("sk-canary-0123456789-7777")
        llm.save()
        chat = Chat.objects.create(name="chat", llm=llm, llm_settings=LLMSettings.objects.create(model_name=f"m{n}"))
        chat.groups.set(Group.objects.all())


@pytest.mark.parametrize(
    ("model", "lookup"),
    [(ApiToken, "digest__startswith"), (LLM, "api_key__startswith"), (User, "password__startswith")],
)
def test_a_secret_cannot_be_guessed_by_filtering(admin: Client, model: Any, lookup: str) -> None:
    assert admin.get(url("changelist", model), {lookup: "a"}).status_code == 400


# signing in


def signs_in(email: str, password: str = PASSWORD) -> bool:
    client = Client()
    client.post("/admin/login/?next=/admin/", {"username": email, "password": password})
    return client.get("/admin/").status_code == 200


@pytest.mark.parametrize("email", ["alice@example.com", "ALICE@Example.com"])
@pytest.mark.usefixtures("alice")
def test_an_administrator_signs_in(email: str) -> None:
    assert signs_in(email)


@pytest.mark.usefixtures("alice", "bob")
def test_nobody_else_signs_in() -> None:
    person("dora", is_admin=True, is_active=False)
    assert not signs_in("bob@example.com")
    assert not signs_in("dora@example.com")
    assert not signs_in("alice@example.com", "wrong")


def test_a_password_cannot_be_guessed_by_trying(alice: Person) -> None:
    person("mallory", is_admin=True)
    for _ in range(FAILED_SIGN_INS):
        assert not signs_in("mallory@example.com", "wrong")
    answer = Client().post("/admin/login/", {"username": "MALLORY@example.com", "password": PASSWORD})
    assert "Too many attempts" in answer.content.decode()
    assert signs_in("alice@example.com")


@pytest.mark.parametrize("missing", ["username", "password"])
def test_a_sign_in_needs_both_fields(alice: Person, missing: str) -> None:
    data = {"username": "alice@example.com", "password": PASSWORD}
    answer = Client().post("/admin/login/", {**data, missing: ""})
    assert answer.context["form"].errors.keys() == {missing}


@pytest.mark.usefixtures("one_of_each")
def test_others_are_sent_to_the_sign_in(admin: Client, alice: Person, bob: Person) -> None:
    member = Client()
    member.force_login(bob.user)
    pages = [page for model in MODELS for page in pages_of(model)]
    User.objects.filter(pk=alice.user.pk).update(is_active=False)  # while she is signed in
    for client in (Client(), member, admin):
        for page in pages:
            assert client.get(page).url.startswith("/admin/login/")
            assert client.post(page).url.startswith("/admin/login/")


# users


def test_a_user_is_added_with_a_password_and_groups(admin: Client, team: Group) -> None:
    data = {"email": "Eve@example.com", "name": "Eve", "is_admin": "on", "usable_password": "true"}
    groups = {"Group_members-TOTAL_FORMS": "1", "Group_members-INITIAL_FORMS": "0", "Group_members-0-group": team.pk}
    admin.post(url("add", User), {**data, **groups, "password1": PASSWORD, "password2": PASSWORD})
    assert list(team.members.values_list("email", flat=True)) == ["Eve@example.com"]
    assert signs_in("eve@example.com")


def test_a_user_may_have_no_password(admin: Client) -> None:
    admin.post(url("add", User), {"email": "robot@example.com", "usable_password": "false", **NO_GROUPS})
    robot = User.objects.get(email="robot@example.com")
    assert not robot.has_usable_password()
    page = admin.get(url("change", User, robot.pk)).content.decode()
    assert "None: they can only use the API, with tokens." in page


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@Example.COM"])
@pytest.mark.usefixtures("bob")
def test_an_address_is_taken_whatever_its_letter_case(admin: Client, email: str) -> None:
    answer = admin.post(url("add", User), {"email": email, "usable_password": "false", **NO_GROUPS})
    assert "already" in answer.context["errors"][0][0]


def test_a_user_is_changed_and_their_groups_with_them(admin: Client, bob: Person, team: Group, others: Group) -> None:
    membership = Group.members.through.objects.get(user=bob.user)
    groups = {
        "Group_members-TOTAL_FORMS": "2",
        "Group_members-INITIAL_FORMS": "1",
        "Group_members-0-id": membership.pk,
        "Group_members-0-user": bob.user.pk,
        "Group_members-0-group": team.pk,
        "Group_members-0-DELETE": "on",
        "Group_members-1-user": bob.user.pk,
        "Group_members-1-group": others.pk,
    }
    admin.post(
        url("change", User, bob.user.pk), {"email": "robert@example.com", "is_active": "on", **groups, **NO_TOKENS}
    )
    bob.user.refresh_from_db()
    assert (bob.user.email, bob.user.email_folded) == ("robert@example.com", "robert@example.com")
    assert [group.name for group in Group.objects.visible_to(bob.user)] == ["Lawyers"]
    assert bob.user.check_password(PASSWORD)


@pytest.mark.usefixtures("one_of_each")
def test_a_users_page_shows_their_groups_and_tokens(admin: Client, bob: Person, team: Group) -> None:
    page = admin.get(url("change", User, bob.user.pk)).content.decode()
    token = bob.user.tokens.get()
    assert f'value="{team.pk}" selected>Engineers' in page
    assert f'href="{url("change", ApiToken, token.pk)}">{token}' in page


def test_a_password_is_changed(admin: Client, bob: Person) -> None:
    path = f"/admin/groups/user/{bob.user.pk}/password/"
    assert admin.get(path).status_code == 200
    new = {"password1": "another long phrase", "password2": "another long phrase", "usable_password": "true"}
    assert admin.post(path, new).status_code == 302
    bob.user.refresh_from_db()
    assert bob.user.check_password("another long phrase")


def test_administrators_do_not_lock_themselves_out(admin: Client, alice: Person) -> None:
    own, listing = url("change", User, alice.user.pk), url("changelist", User)
    admin.post(own, {"email": "alice@example.com", "name": "Al", **NO_GROUPS, **NO_TOKENS})
    alice.user.refresh_from_db()
    assert (alice.user.name, alice.user.is_admin, alice.user.is_active) == ("Al", True, True)
    assert admin.post(url("delete", User, alice.user.pk), {"post": "yes"}).status_code == 403
    admin.post(listing, {"action": "delete_selected", "_selected_action": alice.user.pk, "post": "yes"})
    assert User.objects.filter(pk=alice.user.pk).exists()


def test_users_are_filtered(admin: Client, bob: Person, team: Group) -> None:
    person("dora", is_active=False)
    assert listed(admin, User, "is_admin__exact=1") == {"alice@example.com"}
    assert listed(admin, User, "is_active__exact=0") == {"dora@example.com"}
    assert listed(admin, User, f"groups__id__exact={team.pk}") == {"bob@example.com"}


@pytest.mark.parametrize("term", ["Öztürk", "ÖZTÜRK deniz", "DENIZ@"])
def test_users_are_found_by_name_and_address(admin: Client, term: str) -> None:
    User.objects.create_user("deniz@example.com", name="Deniz Öztürk")
    assert listed(admin, User, f"q={term}") == {"deniz@example.com"}


# groups


def test_a_group_is_added_with_its_members(admin: Client, bob: Person, charlie: Person) -> None:
    admin.post(url("add", Group), {"name": "Ärzte", "members": [bob.user.pk, charlie.user.pk]})
    assert Group.objects.get(name_folded=fold("ÄRZTE")).members.count() == 2
    assert listed(admin, Group, "q=ÄRZ") == {"Ärzte"}


@pytest.mark.parametrize("name", ["Ärzte", "ÄRZTE", "ärzte", " Ärzte "])
def test_a_groups_name_is_taken_whatever_its_letter_case(admin: Client, name: str) -> None:
    Group.objects.create(name="Ärzte")
    answer = admin.post(url("add", Group), {"name": name})
    assert "already" in answer.context["errors"][0][0]
    assert Group.objects.count() == 1


def test_a_group_can_be_saved_under_its_own_name(admin: Client, team: Group) -> None:
    assert admin.post(url("change", Group, team.pk), {"name": "ENGINEERS"}).status_code == 302
    team.refresh_from_db()
    assert team.name == "ENGINEERS"


def test_the_list_counts_members_and_chats_and_leads_to_the_chats(
    admin: Client, bob: Person, charlie: Person, team: Group, chat: Chat
) -> None:
    team.members.add(charlie.user)
    listing = admin.get(url("changelist", Group))
    assert [(row.member_count, row.chat_count) for row in listing.context["cl"].result_list] == [(2, 1), (0, 1)]
    leads_to = f"{url('changelist', Chat)}?groups__id__exact={team.pk}"
    assert f'href="{leads_to}"' in listing.content.decode()
    assert [row.name for row in admin.get(leads_to).context["cl"].result_list] == ["Help desk"]


def test_a_group_is_deleted_and_its_chats_stay(admin: Client, team: Group, chat: Chat) -> None:
    admin.post(url("delete", Group, team.pk), {"post": "yes"})
    assert [group.name for group in chat.groups.all()] == ["Lawyers"]


# tokens


def issue(admin: Client, user: User, **data: str) -> Any:
    return admin.post(url("add", ApiToken), {"user": user.pk, "name": "Nightly export", **data})


def status_with(key: str) -> int:
    return Client().get("/api/v1/chats", headers={"Authorization": f"Bearer {key}"}).status_code


def test_the_button_reads_issue_a_token(admin: Client, bob: Person) -> None:
    listing = admin.get(url("changelist", ApiToken)).content.decode()
    assert "Issue a token" in listing
    form = admin.get(url("add", ApiToken)).content.decode()
    assert "Issue the token" in form
    for name in ("Add API token", "Save and", "Add api"):
        assert name not in listing + form
    ApiToken.objects.all().delete()
    assert admin.get(url("changelist", ApiToken)).content.decode().count("Issue a token") == 2


def test_a_token_is_issued_and_its_key_shown_once(admin: Client, bob: Person) -> None:
    answer = issue(admin, bob.user)
    token = ApiToken.objects.get(name="Nightly export")
    key = answer.context["token"].key
    assert f">{key}<" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert key.startswith(token.prefix)
    assert (token.user, status_with(key)) == (bob.user, 200)
    after = [admin.get(page).content.decode() for page in ("/admin/", *pages_of(ApiToken))]
    after += [admin.get(url("change", User, bob.user.pk)).content.decode()]
    assert not [page for page in after if key in page]
    assert token.prefix in after[1]


def test_a_token_may_expire(admin: Client, bob: Person) -> None:
    issue(admin, bob.user, expires_at_0="2999-01-31", expires_at_1="12:00")
    expires_at = ApiToken.objects.get(name="Nightly export").expires_at
    assert expires_at and expires_at.isoformat() == "2999-01-31T12:00:00+00:00"


def test_a_token_that_would_be_refused_is_not_issued(admin: Client, bob: Person) -> None:
    past = issue(admin, bob.user, expires_at_0="2001-01-31", expires_at_1="12:00")
    assert "in the past" in past.context["errors"][0][0]
    User.objects.filter(pk=bob.user.pk).update(is_active=False)
    assert "not active" in issue(admin, bob.user).context["errors"][0][0]
    assert not ApiToken.objects.filter(name="Nightly export").exists()


def test_a_users_page_leads_to_a_token_for_them(admin: Client, bob: Person) -> None:
    page = admin.get(url("change", User, bob.user.pk)).content.decode()
    leads_to = reverse("admin:groups_user_issue_token", args=[bob.user.pk])
    assert f'href="{leads_to}"' in page
    form = admin.get(leads_to, follow=True).content.decode()
    assert f'value="{bob.user.pk}" selected>bob@example.com' in form


def test_a_token_cannot_be_changed(admin: Client, bob: Person, charlie: Person) -> None:
    token = bob.user.tokens.get()
    changes = {"user": charlie.user.pk, "name": "other"}
    assert admin.post(url("change", ApiToken, token.pk), changes).status_code == 403


def test_a_token_is_revoked_after_a_question(admin: Client, bob: Person) -> None:
    token = bob.user.tokens.get()
    path = reverse("admin:groups_apitoken_revoke", args=[token.pk])
    assert "Revoke this token?" in admin.get(path).content.decode()
    assert status_with(bob.key) == 200
    answer = admin.post(path, {"_form_submitted": "on"})
    assert answer["HX-Redirect"] == url("change", ApiToken, token.pk)
    assert status_with(bob.key) == 401
    assert "1 token revoked." in admin.get(answer["HX-Redirect"]).content.decode()
    assert "Revoked." in admin.get(url("history", ApiToken, token.pk)).content.decode()


@pytest.mark.parametrize("path", ["0/revoke/", "x/revoke/"])
def test_what_is_not_there_cannot_be_revoked(admin: Client, path: str) -> None:
    assert admin.post(f"/admin/groups/apitoken/{path}", {"_form_submitted": "on"}).status_code == 404


def test_selected_tokens_are_revoked(admin: Client, bob: Person, charlie: Person) -> None:
    revoked = timezone.now() - timedelta(days=1)
    ApiToken.objects.filter(user=charlie.user).update(revoked_at=revoked)
    chosen = [bob.user.tokens.get().pk, charlie.user.tokens.get().pk]
    data = {"action": "revoke_selected", "_selected_action": chosen}
    assert "1 token revoked." in admin.post(url("changelist", ApiToken), data, follow=True).content.decode()
    assert status_with(bob.key) == 401
    assert charlie.user.tokens.get().revoked_at == revoked


def test_tokens_say_their_state_and_are_filtered_by_it(admin: Client, bob: Person, charlie: Person) -> None:
    ApiToken.objects.all().delete()
    ApiToken.issue(bob.user, name="usable")
    ApiToken.issue(bob.user, name="revoked")[0].revoke()
    ApiToken.issue(bob.user, name="expired", expires_at=timezone.now())
    ApiToken.issue(charlie.user, name="user not active")
    User.objects.filter(pk=charlie.user.pk).update(is_active=False)

    def states(query: str) -> set[str]:
        rows = admin.get(f"{url('changelist', ApiToken)}?{query}").context["cl"]
        found = {row.name: rows.model_admin.state(row) for row in rows.result_list}
        assert all(name == state for name, state in found.items())
        return set(found)

    assert states("usable=1") == {"usable"}
    assert states("usable=0") == {"revoked", "expired", "user not active"}
    assert states("") == states("usable=x") == states("usable=1") | states("usable=0")
    assert states(f"user__id__exact={charlie.user.pk}") == {"user not active"}


def test_a_token_is_deleted(admin: Client, bob: Person) -> None:
    admin.post(url("delete", ApiToken, bob.user.tokens.get().pk), {"post": "yes"})
    assert status_with(bob.key) == 401


def test_the_last_administrator_stays_whoever_asks(alice: Person, monkeypatch: Any) -> None:
    """Two who demote each other at the same moment: the second finds out when it is about to happen."""
    monkeypatch.setattr(UserAdmin, "get_readonly_fields", lambda *_: ("created_at", "last_login", "password_state"))
    client = Client()
    client.force_login(alice.user)
    form = {"email": alice.user.email, "name": "Alice", "is_active": "on", "_save": "Save"}
    form |= {
        f"{prefix}-{key}": "0" for prefix in ("Group_members", "tokens") for key in ("TOTAL_FORMS", "INITIAL_FORMS")
    }
    page = client.post(f"/admin/groups/user/{alice.user.pk}/change/", form, follow=True)
    assert "last active administrator" in page.content.decode()
    alice.user.refresh_from_db()
    assert alice.user.is_admin
