"""A real browser: one for all tests of a process, and pages that are watched."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright import sync_api as playwright

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
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed.")


def sign_in(page: Any, email: str, password: str) -> None:
    """Through the page, as a person does."""
    page.goto("/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("/")


class Watched:
    """A page, and what it did that a page of ours should not: errors, and requests to others."""

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
        if not address.startswith((f"{server}/", "data:", "blob:")):
            self.complaints.append(f"It asked {address}")

    def barriers(self, *, but: tuple[str, ...] = ()) -> list[str]:
        """What axe-core finds that keeps people out, in light and in dark; `but` are rules that do not apply here."""
        found = []
        everything = {"rules": {rule: {"enabled": False} for rule in but}}
        for scheme, options in (("light", everything), ("dark", {"runOnly": ["color-contrast"]})):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for violation in Axe().run(self.page, options=options).response["violations"]:
                found += [f"{scheme}: {violation['id']}: {node['html']}" for node in violation["nodes"]]
        return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[Any, Any]]:
    """The browser, and the event loop that Playwright leaves running in this thread."""
    playwright.expect.set_options(timeout=120_000)  # milliseconds, as for actions: other tests may be at work beside it
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        yield launched, loop
        asyncio._set_running_loop(loop)
        launched.close()


@pytest.fixture
def browser(chromium: tuple[Any, Any]) -> Iterator[Any]:
    """The browser of all tests. Its loop is there while a test uses it: Django's ORM refuses to work beside one."""
    launched, loop = chromium
    asyncio._set_running_loop(loop)
    yield launched
    asyncio._set_running_loop(None)


@contextmanager
def watched_page(browser: Any, server: str, **options: Any) -> Iterator[Watched]:
    """A page in a context of its own: nobody is signed in there."""
    context = browser.new_context(base_url=server, **{**DESKTOP, **options})
    try:
        yield Watched(context.new_page(), server)
    finally:
        context.close()
