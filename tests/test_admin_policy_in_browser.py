"""The admin works within its content security policy: no page asks for anything that it forbids."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aistudio.management.commands.demo import EMAIL
from tests.browser import Watched, needs_chromium, watched_page
from tests.live import Live, environment

PASSWORD = environment(Path())["DEMO_PASSWORD"]
NOTE_VIOLATIONS = """
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) =>
  console.error(`The policy forbids ${violatedDirective} ${blockedURI} ${sample}`));
"""
LINKS = """[...document.querySelectorAll("a[href^='/admin/']")].map((link) => link.getAttribute("href"))"""
ROW = re.compile(r"/\d+/")

pytestmark = needs_chromium


@pytest.fixture
def watched(live: Live, browser: Any) -> Iterator[Watched]:
    with watched_page(browser, live.url) as page:
        page.page.add_init_script(NOTE_VIOLATIONS)
        yield page


@pytest.mark.slow
def test_no_page_of_the_admin_asks_for_what_is_forbidden(watched: Watched) -> None:
    page = watched.page
    page.goto("/admin/")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("/admin/")
    waiting, seen = ["/admin/"], set()  # of the rows of a table one page of each kind
    while waiting:
        path = waiting.pop().partition("?")[0]
        if (kind := ROW.sub("/row/", path)) in seen or "logout" in path:
            continue
        seen.add(kind)
        page.goto(path)
        page.wait_for_load_state("networkidle")
        waiting += page.evaluate(LINKS)
    assert {kind.split("/")[-2] for kind in seen} >= {"llm", "add", "change", "history", "delete"}
    assert not watched.complaints


def test_what_is_inline_is_not_run(watched: Watched) -> None:
    page = watched.page
    page.goto("/admin/login/")
    title = page.title()
    page.evaluate("""() => {
        document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='document.title = 1'>");
        document.head.append(Object.assign(document.createElement("script"), { text: "document.title = 2" }));
        return new Promise((resolve) => addEventListener("securitypolicyviolation", resolve));
    }""")
    assert page.title() == title
    assert [each for each in watched.complaints if "The policy forbids script-src" in each]
