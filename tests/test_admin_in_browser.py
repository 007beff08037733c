"""The admin as an administrator meets it: a real browser at the real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aistudio.management.commands.demo import EMAIL, GROUP, NAME
from tests.browser import Watched, needs_chromium, playwright, watched_page
from tests.live import Live, environment

PASSWORD = environment(Path())["DEMO_PASSWORD"]

pytestmark = needs_chromium


@pytest.fixture
def watched(live: Live, browser: Any) -> Iterator[Watched]:
    with watched_page(browser, live.url) as page:
        yield page


def choose(page: Any, field: str, typed: str, name: str) -> None:
    """Complete what is typed into a field."""
    page.locator(f".field-{field} .select2-selection").click()
    page.keyboard.type(typed)
    page.get_by_role("option", name=name, exact=True).click()


def test_an_administrator_makes_a_chat_and_issues_a_token(watched: Watched, live: Live) -> None:
    page, expect = watched.page, playwright.expect

    page.goto("/admin/")
    page.get_by_label("E-mail").fill(EMAIL.upper())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Chats").last.click()

    page.get_by_role("link", name="Add chat").click()
    page.get_by_label("Name").fill("Contract review")
    choose(page, "llm", NAME[:3].upper(), NAME)
    choose(page, "llm_settings", "DEMO", "demo (settings 1)")
    choose(page, "groups", GROUP[:3].lower(), GROUP)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_placeholder("Name").fill("CONTRACT")
    page.keyboard.press("Enter")
    row = page.get_by_role("row").filter(has_text="Contract review")
    expect(row.get_by_role("link", name=NAME, exact=True)).to_be_visible()
    expect(row.get_by_role("link", name=GROUP)).to_be_visible()
    assert live.get("/chats?search=contract")[0]["attributes"]["name"] == "Contract review"

    page.get_by_role("link", name="API tokens").click()
    page.get_by_role("link", name="Issue a token").click()
    choose(page, "user", EMAIL[:3].upper(), EMAIL)
    page.get_by_label("Name").fill("Nightly export")
    page.get_by_role("button", name="Issue the token").click()
    key = page.locator("#key").inner_text()
    assert status_with(key, live) == 200
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Nightly export").click()
    assert key[:10] in page.content()
    assert key not in page.content()

    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("1 token revoked.")).to_be_visible()
    assert status_with(key, live) == 401

    assert not watched.complaints


def status_with(key: str, live: Live) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{live.url}/api/v1/chats", headers=headers, trust_env=False, timeout=120).status_code


def test_a_form_that_was_opened_before_a_change_shows_both_versions(watched: Watched, live: Live) -> None:
    page, expect = watched.page, playwright.expect
    headers = {"Authorization": f"Bearer {live.token}"}
    chat = live.get("/chats")[0]["id"]

    page.goto("/admin/")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.goto(f"/admin/chats/chat/{chat}/change/")
    body = {"data": {"attributes": {"group_ids": [], "description": "Their words"}}}
    url = f"{live.url}/api/v1/chats/{chat}"
    httpx.patch(url, json=body, headers=headers, trust_env=False, timeout=120).raise_for_status()
    page.get_by_label("Description").fill("My words")
    page.get_by_role("button", name="Save", exact=True).click()

    conflict = page.locator("#conflict")
    expect(conflict.get_by_role("row").filter(has_text="Description")).to_have_text("DescriptionTheir wordsMy words")
    expect(conflict.get_by_role("row").filter(has_text="Groups")).to_have_text(f"Groups–{GROUP}")
    assert not live.get(f"/chats/{chat}")["attributes"]["groups"]
    assert not [barrier for barrier in watched.barriers() if "conflict" in barrier]

    conflict.get_by_role("link", name="open what is stored").click()
    expect(page.get_by_label("Description")).to_have_value("Their words")
    choose(page, "groups", GROUP[:3].lower(), GROUP)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    assert len(live.get(f"/chats/{chat}")["attributes"]["groups"]) == 1
    assert not watched.complaints
