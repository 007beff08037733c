"""The models that a vendor lists: asked for by administrators, remembered for a minute, shown where one is entered."""

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from llms.models import LLM, LLMSettings
from tests.people import JSON_API, Person
from tests.registered_llms import KEY, VENDORS, WRONG_KEY, Make
from tests.vendor_server import VendorServer


@pytest.fixture
def browser(alice: Person) -> Client:
    client = Client()
    client.force_login(alice.user)
    return client


@pytest.mark.parametrize("kind", VENDORS)
def test_the_models_of_each_vendor(alice: Person, make: Make, vendor: VendorServer, kind: str) -> None:
    """Some give them page by page, or with those that are none for chats."""
    llm = make(kind=kind)
    assert alice.get(f"/llms/{llm.pk}/models").json() == {"data": ["large", "ok", "small"]}
    assert len(vendor.requests) == (2 if kind in ("anthropic", "google_ai") else 1)
    assert KEY in vendor.requests[0].key
    assert KEY not in vendor.requests[-1].target
    resources = alice.get(f"/llms/{llm.pk}/models", Accept=JSON_API).json()["data"]
    assert [(each["type"], each["id"]) for each in resources] == [("models", n) for n in ("large", "ok", "small")]


def test_they_are_remembered_until_the_llm_changes(alice: Person, make: Make, vendor: VendorServer) -> None:
    llm = make()
    for _ in range(3):
        alice.get(f"/llms/{llm.pk}/models")
    assert len(vendor.requests) == 1
    assert not [key for key in cache._cache if "canary" in key]  # type: ignore[attr-defined]
    vendor.offers = ["new"]
    alice.patch(f"/llms/{llm.pk}", {"data": {"attributes": {"short_description": "Changed"}}})
    assert alice.get(f"/llms/{llm.pk}/models").json() == {"data": ["new"]}


def test_a_vendor_that_gives_none(alice: Person, make: Make, vendor: VendorServer, settings: Any) -> None:
    """It is said why, nothing is remembered, and no endless list is read."""
    llm = make(key=WRONG_KEY)
    errors = alice.get(f"/llms/{llm.pk}/models").json()["errors"]
    assert [(error["status"], error["code"]) for error in errors] == [("424", "vendor_failed")]
    assert errors[0]["detail"] == "The vendor refuses the API key."
    llm.set_api_key(KEY)
    llm.save()
    vendor.offers = [f"model {number}" for number in range(2_000)] + [KEY, "x" * 201, "tab\there"]
    listed = alice.get(f"/llms/{llm.pk}/models").json()["data"]
    assert len(listed) == 1_000
    settings.PRIVATE_NETWORKS = False
    llm.save()
    assert "PRIVATE_NETWORKS" in alice.get(f"/llms/{llm.pk}/models").json()["errors"][0]["detail"]


def test_azure_lists_no_deployments(alice: Person, db: Any) -> None:
    llm = LLM.objects.create(name="Azure", vendor="openai", api_endpoint="https://house.openai.azure.com")
    assert alice.get(f"/llms/{llm.pk}/models").json() == {"data": []}


# in the admin


def options(answer: Any) -> list[str]:
    return [part.partition('"')[0] for part in answer.content.decode().split('<option value="')[1:]]


def test_a_default_model_is_completed(browser: Client, make: Make, vendor: VendorServer) -> None:
    vendor.offers = ['<b>"bold"</b>', "ok"]
    llm = make()
    page = browser.get(reverse("admin:llms_llm_change", args=[llm.pk])).content.decode()
    where = reverse("admin:llms_llm_models", args=[llm.pk])
    assert f'<datalist id="id_default_model_models" hx-get="{where}"' in page
    assert 'list="id_default_model_models"' in page
    assert not vendor.requests  # nobody asks before the field is entered
    assert options(browser.get(where)) == ["&lt;b&gt;&quot;bold&quot;&lt;/b&gt;", "ok"]
    assert "datalist" not in browser.get(reverse("admin:llms_llm_add")).content.decode()


def test_the_model_of_settings_is_completed_with_those_of_every_llm(
    browser: Client, make: Make, llm: LLM, call_settings: LLMSettings
) -> None:
    llm.name = "Demo"
    llm.save()
    made = make()
    where = reverse("admin:llms_llmsettings_models")
    for page in (
        reverse("admin:llms_llmsettings_add"),
        reverse("admin:llms_llmsettings_change", args=[call_settings.pk]),
    ):
        assert f'hx-get="{where}"' in browser.get(page).content.decode()
    assert options(browser.get(where)) == ["demo", "large", "ok", "small"]
    made.set_api_key(WRONG_KEY)
    made.save()
    assert options(browser.get(where)) == ["demo"]  # a vendor that does not answer leaves the others


def test_they_are_for_administrators(bob: Person, llm: LLM) -> None:
    browser = Client()
    browser.force_login(bob.user)
    for page in (reverse("admin:llms_llm_models", args=[llm.pk]), reverse("admin:llms_llmsettings_models")):
        assert browser.get(page).status_code == 302  # to the sign-in
