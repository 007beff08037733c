"""The admin as an administrator meets it: a real browser at the real server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aistudio.management.commands.demo import EMAIL, GROUP, NAME
from tests.live import Live, environment

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = environment(Path())["DEMO_PASSWORD"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed.")


class Watched:
    """A page, and what it did that an admin page should not."""

    def __init__(self, page: Any, server: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("request", lambda request: self.check(request.url, server))
        page.on("console", self.read)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def read(self, message: Any) -> None:
        unasked = message.location["url"].endswith("/favicon.ico")  # the browser's own idea
        if message.type == "error" and not unasked:
            self.complaints.append(message.text)

    def check(self, address: str, server: str) -> None:
        if not address.startswith((f"{server}/", "data:")):
            self.complaints.append(f"It asked {address}")


@pytest.fixture
def watched(live: Live) -> Iterator[Watched]:
    playwright.expect.set_options(timeout=30_000)  # milliseconds, as for actions: other tests may be at work beside it
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        watched = Watched(browser.new_page(base_url=live.url, viewport={"width": 1280, "height": 800}), live.url)
        yield watched
        browser.close()


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
    return httpx.get(f"{live.url}/api/v1/chats", headers=headers, trust_env=False).status_code
