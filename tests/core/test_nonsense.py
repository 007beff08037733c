"""Values that are too long, of the wrong type or no number are refused everywhere outside the API, and never a 500."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from tests.forms import filled_form, signed_in
from tests.people import Person, client_of
from tests.talking import TIMEOUT, Studio

pytestmark = pytest.mark.slow

NONSENSE = ("abc", "9" * 20, "9" * 5_000, "a\0b", "2026-13-45")
LISTS = (
    "groups/user",
    "groups/group",
    "groups/apitoken",
    "llms/llm",
    "llms/llmsettings",
    "chats/chat",
    "core/auditevent",
)
FILTERS = {
    "groups/user": ("is_admin__exact", "groups__id__exact", "last_login__gte"),
    "groups/apitoken": ("usable", "user__id__exact", "user"),
    "llms/llm": ("vendor__exact", "active__exact", "privacy_score"),
    "llms/llmsettings": ("model", "temperature__lt", "metadata"),
    "chats/chat": ("llm__id__exact", "groups__id__exact", "groups"),
    "core/auditevent": ("action__exact", "object_type", "created_at_from_0", "created_at_to_1", "object_id"),
}


@pytest.fixture(scope="module")
def browser(studio: Studio) -> Iterator[httpx.Client]:
    """Of an administrator, on each kind of database, where there is one row in each list."""
    studio.chat(studio.group())
    with signed_in(studio) as browser:
        yield browser


@pytest.mark.parametrize("model", LISTS)
def test_filters_searches_and_actions(browser: httpx.Client, model: str) -> None:
    path = f"/admin/{model}/"
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    wrong = []
    for value in NONSENSE:
        for name in ("q", "p", "o", "_to_field", *FILTERS.get(model, ())):
            answer = browser.get(path, params={name: value}, follow_redirects=True)
            wrong += [(name, value[:20], answer.status_code)] if answer.status_code >= 500 else []
        for name, key in (("delete_selected", value), ("revoke_selected", value), (value, "1")):
            answer = browser.post(path, data={**token, "action": name, "_selected_action": key, "index": value})
            wrong += [(name, key[:20], answer.status_code)] if answer.status_code >= 500 else []
    assert not wrong


@pytest.mark.parametrize(
    "field", ["groups.group.members", "groups.apitoken.user", "chats.chat.llm", "a.b.c", "llms.llm.x"]
)
def test_autocompletes(browser: httpx.Client, field: str) -> None:
    names = dict(zip(("app_label", "model_name", "field_name"), field.split("."), strict=True))
    for value in NONSENSE:
        for changed in ("term", "page", "field_name"):
            answer = browser.get("/admin/autocomplete/", params={**names, "term": "a", changed: value})
            assert answer.status_code < 500, (changed, value[:20])


@pytest.mark.parametrize("value", NONSENSE)
def test_ids_in_paths(browser: httpx.Client, value: str) -> None:
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    for model in LISTS:
        for page in ("change", "password", "revoke"):
            path = f"/admin/{model}/{quote(value)}/{page}/"
            for answer in (browser.get(path), browser.post(path, data=token)):
                assert answer.status_code < 500, path[:60]


@pytest.mark.parametrize(("model", "fields"), [
    ("groups/apitoken", ("user", "expires_at", "expires_at_0", "name")),
    ("groups/group", ("members", "name", "created_at")),
    ("chats/chat", ("llm", "llm_settings", "groups", "llm_titles")),
    ("llms/llm", ("vendor", "privacy_score", "active")),
    ("llms/llmsettings", ("temperature", "top_k", "seed", "stop_words", "metadata")),
])  # fmt: skip
def test_forms(browser: httpx.Client, model: str, fields: tuple[str, ...]) -> None:
    path = f"/admin/{model}/add/"
    form = filled_form(browser.get(path).text)
    wrong = []
    for value in NONSENSE:
        for name in fields:
            answers = browser.get(path, params={name: value}), browser.post(path, data={**form, name: [value]})
            wrong += [(name, value[:20]) for answer in answers if answer.status_code >= 500]
    assert not wrong


def test_an_id_that_is_none_is_refused(alice: Person, bob: Person) -> None:
    admin = client_of(alice)
    selected = {"action": "delete_selected", "_selected_action": "abc"}
    assert admin.post("/admin/groups/apitoken/", selected).status_code == 400
    assert admin.get("/admin/groups/apitoken/add/", {"user": "abc"}).status_code == 400
    assert admin.get("/admin/groups/apitoken/add/", {"expires_at": "abc"}).status_code == 400
    assert admin.get("/admin/groups/group/add/", {"members": f"{bob.user.pk},{alice.user.pk}"}).status_code == 200


@pytest.mark.parametrize("length", [254, 255, 300, 301, 310, 320, 321, 5_000])
def test_names_at_the_sign_in(studio: Studio, length: int) -> None:
    domain = ".".join(["b" * 60] * 90)
    for name in ("a" * (length - 12) + "@example.com", f"a@{domain}"[: length - 4] + ".com", "ß" * length):
        with httpx.Client(base_url=studio.urls[0], trust_env=False, timeout=TIMEOUT) as browser:
            for path in ("/sign-in", "/admin/login/"):
                browser.get(path)
                form = {"username": name, "password": "x", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
                page = browser.post(path, data=form)
                assert page.status_code == 200
                assert 'name="password"' in page.text  # the form again
            headers = {"X-CSRFToken": browser.cookies["csrftoken"], "Content-Type": "application/json"}
            body = {"data": {"attributes": {"email": name, "password": "x"}}}
            assert browser.post("/api/v1/auth/login", json=body, headers=headers).status_code in (400, 401)
