"""The admin's pages of LLMs and their settings: above all, how they treat keys and JSON."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from chats.models import Chat
from core.database.encryption import EncryptedStr
from llms.models import LLM, LLMSettings
from tests.people import Person

KEY = "sk-canary-0123456789-7777"  # of the fixture `llm`
NEW_LLM = {"name": "Claude at Anthropic", "vendor": "anthropic", "privacy_score": "70", "active": "on"}


@pytest.fixture
def admin(alice: Person) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(alice.user)
    return client


def url(page: str, model: Any, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def save(admin: Client, instance: Any, **changes: Any) -> Any:
    """Open its page, fill in the changes, send it; the answer, or None when it was saved."""
    path = url("change", type(instance), instance.pk)
    fields = admin.get(path).context["adminform"].form
    shown = {field.html_name: field.value() for field in fields}
    sent = {name: value for name, value in {**shown, **changes}.items() if value is not None and value is not False}
    answer = admin.post(path, sent)
    if answer.status_code == 302:
        instance.refresh_from_db()
        return None
    return answer


def errors(answer: Any) -> dict[str, list[str]]:
    return dict(answer.context["adminform"].form.errors)


def listed(admin: Client, model: Any, query: str = "") -> list[str]:
    return [str(row) for row in admin.get(f"{url('changelist', model)}?{query}").context["cl"].result_list]


# keys


def test_an_llm_is_added_with_its_key(admin: Client) -> None:
    admin.post(url("add", LLM), {**NEW_LLM, "new_api_key": f" {KEY} "})
    llm = LLM.objects.get()
    assert (llm.name, llm.vendor, llm.api_key.reveal(), llm.api_key_end) == (*list(NEW_LLM.values())[:2], KEY, "7777")


def test_the_form_of_a_new_llm_speaks_of_no_stored_key(admin: Client) -> None:
    page = admin.get(url("add", LLM)).content.decode()
    assert "New API key" in page
    assert "Forget the stored key" not in page


def test_saving_keeps_the_key(admin: Client, llm: LLM) -> None:
    before = str.__str__(llm.api_key)
    assert not save(admin, llm, name="House model 2")
    assert (llm.name, str.__str__(llm.api_key), llm.api_key_end) == ("House model 2", before, "7777")


def test_a_new_key_takes_the_place_of_the_stored_one(admin: Client, llm: LLM) -> None:
    assert not save(admin, llm, new_api_key="sk-canary-9876543210-8888")
    assert (llm.api_key.reveal(), llm.api_key_end) == ("sk-canary-9876543210-8888", "8888")


def test_a_key_is_forgotten(admin: Client, llm: LLM) -> None:
    assert not save(admin, llm, clear_api_key="on")
    assert (llm.has_api_key, llm.api_key_end) == (False, "")


def test_a_key_is_not_both_given_and_forgotten(admin: Client, llm: LLM) -> None:
    answer = save(admin, llm, new_api_key="sk-canary-9876543210-8888", clear_api_key="on")
    assert "not both" in errors(answer)["clear_api_key"][0]


@pytest.mark.parametrize("elsewhere", [{"api_endpoint": "https://evil.example/v1"}, {"vendor": "anthropic"}])
def test_a_stored_key_goes_to_no_other_server(admin: Client, llm: LLM, elsewhere: dict[str, str]) -> None:
    before = (llm.vendor, llm.api_endpoint)
    assert "enter the key again" in errors(save(admin, llm, **elsewhere))["new_api_key"][0]
    llm.refresh_from_db()
    assert (llm.vendor, llm.api_endpoint) == before

    assert not save(admin, llm, **elsewhere, new_api_key="sk-canary-9876543210-8888")
    assert llm.api_key.reveal() == "sk-canary-9876543210-8888"
    assert not save(admin, llm, vendor="ollama", api_endpoint="https://other.example", clear_api_key="on")
    assert not llm.has_api_key


def test_what_is_no_url_is_said_once(admin: Client, llm: LLM) -> None:
    assert list(errors(save(admin, llm, api_endpoint="https://[x"))) == ["api_endpoint"]


@pytest.mark.parametrize("mask", ["********", "••••7777", "sk-canary 0123456789", "sk-canäry-0123456789"])
def test_what_is_no_key_is_not_stored(admin: Client, llm: LLM, mask: str) -> None:
    answer = admin.post(url("change", LLM, llm.pk), {**NEW_LLM, "new_api_key": mask})
    assert "no API key" in errors(answer)["new_api_key"][0]
    llm.refresh_from_db()
    assert llm.api_key.reveal() == KEY


@pytest.mark.parametrize(
    ("key", "shown"), [("", "none"), (KEY, "••••7777"), ("sk-7777", "••••")], ids=["none", "long", "short"]
)
def test_of_a_key_the_last_four_characters_are_shown(admin: Client, llm: LLM, key: str, shown: str) -> None:
    llm.set_api_key(key)
    llm.save()
    for path in (url("changelist", LLM), url("change", LLM, llm.pk)):
        page = admin.get(path).content.decode()
        assert f">{shown}<" in page
        assert not key or key not in page


def test_a_key_that_cannot_be_read_says_so_and_can_be_replaced(admin: Client, llm: LLM) -> None:
    lost = Fernet(Fernet.generate_key()).encrypt(KEY.encode()).decode()
    LLM.objects.update(api_key=EncryptedStr(lost))
    for path in (url("changelist", LLM), url("change", LLM, llm.pk)):
        page = admin.get(path).content.decode()
        assert ">cannot be read<" in page
        assert lost not in page
    assert not save(admin, llm, name="House model 2")
    assert str.__str__(llm.api_key) == lost
    assert not save(admin, llm, new_api_key=KEY)
    assert llm.api_key.reveal() == KEY


def test_the_history_says_that_a_key_changed_and_not_to_what(admin: Client, llm: LLM) -> None:
    save(admin, llm, new_api_key="sk-canary-9876543210-8888")
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Changed New API key."
    assert "canary" not in f"{vars(entry)}"


@pytest.mark.parametrize("wrong", [{"name": ""}, {"clear_api_key": "on"}])
def test_a_refused_form_does_not_show_the_new_key_again(admin: Client, llm: LLM, wrong: dict[str, str]) -> None:
    for path in (url("add", LLM), url("change", LLM, llm.pk)):
        answer = admin.post(path, {**NEW_LLM, "vendor": "", "new_api_key": KEY, **wrong})
        assert errors(answer)
        assert KEY not in answer.content.decode()


# names, addresses, lists


@pytest.mark.parametrize("name", ["House model", "HOUSE MODEL"])
def test_a_name_is_taken_whatever_its_letter_case(admin: Client, llm: LLM, name: str) -> None:
    answer = admin.post(url("add", LLM), {**NEW_LLM, "name": name})
    assert "already" in errors(answer)["name"][0]


@pytest.mark.parametrize("endpoint", ["http://169.254.169.254/", "http://127.0.0.1:11434", "ftp://example.com", "x"])
def test_an_endpoint_that_is_refused_says_why(admin: Client, endpoint: str) -> None:
    assert errors(admin.post(url("add", LLM), {**NEW_LLM, "api_endpoint": endpoint})).keys() == {"api_endpoint"}


def test_allowed_models_stand_one_on_each_line(admin: Client, llm: LLM) -> None:
    assert not save(admin, llm, allowed_models=" small \r\n\r\nlarge, and larger\r\n")
    assert llm.allowed_models == ["small", "large, and larger"]
    assert "small\nlarge, and larger</textarea>" in admin.get(url("change", LLM, llm.pk)).content.decode()
    LogEntry.objects.all().delete()
    assert not save(admin, llm)
    assert llm.allowed_models == ["small", "large, and larger"]
    assert LogEntry.objects.get().get_change_message() == "No fields changed."
    assert not save(admin, llm, allowed_models="")
    assert llm.allowed_models == []


def test_llms_are_filtered(admin: Client, llm: LLM) -> None:
    LLM.objects.create(name="Off", vendor="anthropic", active=False)
    assert listed(admin, LLM, "vendor__exact=anthropic") == listed(admin, LLM, "active__exact=0") == ["Off"]
    assert listed(admin, LLM, "vendor__exact=demo&active__exact=1") == ["House model"]


# settings


def test_settings_without_a_value_stay_without(admin: Client) -> None:
    admin.post(url("add", LLMSettings), {"model_name": "small", "temperature": "0", "stop_words": "", "metadata": ""})
    stored = LLMSettings.objects.get()
    assert (stored.temperature, stored.top_p, stored.stop_words, stored.metadata) == (0, None, [], {})


@pytest.mark.parametrize("nothing", ["", " ", "null"])
def test_json_is_emptied(admin: Client, call_settings: LLMSettings, nothing: str) -> None:
    LLMSettings.objects.update(stop_words=["END"], metadata={"team": "research"})
    assert not save(admin, call_settings, stop_words=nothing, metadata=nothing)
    assert (call_settings.stop_words, call_settings.metadata) == ([], {})


def test_json_is_kept_as_it_was_typed(admin: Client, call_settings: LLMSettings) -> None:
    json = {"stop_words": '["ENDE", "\\n\\n"]', "metadata": '{"Käufer": [1, 2.5, null]}'}
    assert not save(admin, call_settings, **json)
    assert (call_settings.stop_words, call_settings.metadata) == (["ENDE", "\n\n"], {"Käufer": [1, 2.5, None]})
    LogEntry.objects.all().delete()
    assert not save(admin, call_settings)
    assert (call_settings.stop_words, call_settings.metadata) == (["ENDE", "\n\n"], {"Käufer": [1, 2.5, None]})
    assert LogEntry.objects.get().get_change_message() == "No fields changed."


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("stop_words", '["a",]'),
        ("stop_words", "{}"),
        ("stop_words", '""'),
        ("stop_words", '"a"'),
        ("stop_words", "[1]"),
        ("stop_words", '[""]'),
        ("stop_words", '["\\u0000"]'),
        ("stop_words", '["\\ud800"]'),
        ("metadata", "[]"),
        ("metadata", "NaN"),
        ("metadata", '{"a": 1e999}'),
        ("metadata", '{"a": 1, "a": 2}'),
        ("metadata", '{"a":' * 5_000),
    ],
)
def test_json_that_cannot_be_kept_is_shown_again_with_an_error(admin: Client, field: str, typed: str) -> None:
    answer = admin.post(url("add", LLMSettings), {field: typed})
    assert errors(answer).keys() == {field}
    assert answer.context["adminform"].form[field].value() == typed


def test_settings_outside_their_limits_are_refused(admin: Client, call_settings: LLMSettings) -> None:
    wrong = {"temperature": "2.1", "top_p": "-1", "max_tokens": "0", "seed": str(2**63), "top_k": "x"}
    assert errors(save(admin, call_settings, **wrong)).keys() == wrong.keys()


def test_settings_are_filtered_by_model(admin: Client, call_settings: LLMSettings) -> None:
    LLMSettings.objects.create(model_name="large")
    LLMSettings.objects.create()
    assert listed(admin, LLMSettings, "model=demo") == [str(call_settings)]
    assert len(listed(admin, LLMSettings)) == 3


# what chats rely on


@pytest.mark.parametrize("field", ["llm", "llm_settings"])
def test_what_a_chat_uses_is_not_deleted(admin: Client, chat: Chat, field: str) -> None:
    used = getattr(chat, field)
    page = admin.get(url("delete", type(used), used.pk)).content.decode()
    assert "protected" in page
    assert f'<a href="{url("change", Chat, chat.pk)}">Help desk</a>' in page
    admin.post(url("delete", type(used), used.pk), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": used.pk, "post": "yes"}
    assert "Help desk" in admin.post(url("changelist", type(used)), chosen).content.decode()
    used.refresh_from_db()
    chat.delete()
    assert admin.post(url("delete", type(used), used.pk), {"post": "yes"}).status_code == 302
    assert not type(used).objects.exists()


@pytest.mark.parametrize("field", ["llm", "llm_settings"])
def test_the_number_of_chats_leads_to_them(admin: Client, chat: Chat, field: str) -> None:
    used = getattr(chat, field)
    leads_to = f"{url('changelist', Chat)}?{field}__id__exact={used.pk}"
    for path in (url("changelist", type(used)), url("change", type(used), used.pk)):
        assert f'href="{leads_to}">1</a>' in admin.get(path).content.decode()
    assert listed(admin, Chat, leads_to.partition("?")[2]) == ["Help desk"]
