"""The pages around a conversation as a person meets them: a real browser at the real server."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from tests.browser import PHONE, Watched, needs_chromium, playwright, watched_page
from tests.live import Live
from tests.talking import bearer, until

PASSWORD = "a long phrase of dora"
CONVERSATIONS = 31
NUMBER = count(1)

pytestmark = needs_chromium
expect = playwright.expect


class Dora:
    """A member of a group with one chat, who talked a lot."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.cookies: list[Any] = []
        self.group = f"Painters {next(NUMBER)}"
        self.email = f"dora-{next(NUMBER)}@example.com"
        group = self.post("groups", live.token, name=self.group)
        user = self.post("users", live.token, email=self.email, password=PASSWORD, name="Dora", group_ids=[group])
        self.key = self.send("POST", f"users/{user}/roll-api-key", live.token)["attributes"]["api_key"]
        settings = {"llm_id": 1, "llm_settings_id": 1, "group_ids": [group]}
        self.chat = self.post("chats", live.token, name="Help desk", description="Ask about laptops.", **settings)

    def send(self, method: str, path: str, key: str, **attributes: Any) -> Any:
        body = {"data": {"attributes": attributes}} if attributes else None
        url = f"{self.live.url}/api/v1/{path}"
        answer = httpx.request(method, url, json=body, headers=bearer(key), trust_env=False, timeout=120)
        return answer.raise_for_status().json()

    def post(self, path: str, key: str, **attributes: Any) -> int:
        return int(self.send("POST", path, key, **attributes)["id"])

    def talks(self, *names: str) -> list[str]:
        chat = {"chat_id": self.chat}
        return [str(self.send("POST", "sessions", self.key, name=name, **chat)["id"]) for name in names]

    def sessions(self, query: str = "") -> dict[str, Any]:
        rows = self.send("GET", f"sessions?page_size=100{query}", self.key)
        return {row["attributes"]["name"]: row["attributes"] for row in rows}

    def sign_in(self, page: Any) -> None:
        page.context.add_cookies(self.cookies)
        page.goto("/")
        if not self.cookies:  # once: to check a password takes its time
            page.get_by_label("E-mail", exact=True).fill(self.email)
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Where would you like to talk?")).to_be_visible()
        self.cookies = page.context.cookies()


@pytest.fixture(scope="module")
def dora(live: Live) -> Dora:
    return Dora(live)


@pytest.fixture
def watched(live: Live, browser: Any) -> Iterator[Watched]:
    with watched_page(browser, live.url) as page:
        yield page


def act(page: Any, name: str, action: str) -> None:
    """Choose from a conversation's menu."""
    page.get_by_role("link", name=name, exact=True).hover()
    page.get_by_role("button", name=f"Actions for {name}", exact=True).click()
    page.get_by_role("button", name=action, exact=True).click()


def test_finding_and_keeping_order_among_conversations(watched: Watched, dora: Dora) -> None:
    page = watched.page
    first, *_ = dora.talks(*(f"Talk {number}" for number in range(CONVERSATIONS)))
    dora.send("POST", f"sessions/{first}/messages", dora.key, text="Where is the ZEBRA kept?")
    dora.send("PATCH", f"sessions/{first}", dora.key, name="Talk 0")
    dora.talks("A name that is longer than there is room for beside the page, and is cut")
    page.goto("/sign-in")
    assert not watched.barriers()
    dora.sign_in(page)
    assert not watched.barriers()
    rows = page.locator(".conversation")
    link = lambda name: page.get_by_role("link", name=name, exact=True)  # noqa: E731

    expect(rows).to_have_count(30)
    rows.last.scroll_into_view_if_needed()
    expect(rows).to_have_count(CONVERSATIONS + 1)
    assert page.evaluate("(it => it.scrollWidth <= it.clientWidth)(document.querySelector('.sidebar-scroll'))")
    expect(page.get_by_role("heading", name="Today")).to_have_count(1)

    page.get_by_label("Search conversations").fill("zebra")
    expect(rows).to_have_count(1)
    expect(link("Talk 0")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="1 conversation shown")).to_be_attached()
    act(page, "Talk 0", "Rename")
    page.get_by_label("New name").fill("   ")
    page.keyboard.press("Enter")
    expect(page.get_by_label("New name")).to_be_visible()  # no name at all is refused
    page.get_by_label("New name").fill("  Animals ")
    page.keyboard.press("Enter")
    expect(link("Animals")).to_be_visible()
    act(page, "Animals", "Pin")
    page.get_by_label("Search conversations").fill("")
    expect(page.get_by_role("heading", name="Pinned")).to_be_visible()
    expect(rows.first).to_contain_text("Animals")
    act(page, "Animals", "Unpin")
    expect(page.get_by_role("heading", name="Pinned")).to_be_hidden()

    act(page, "Animals", "Archive")
    expect(link("Animals")).to_be_hidden()
    page.get_by_role("button", name="Archived").click()
    expect(rows).to_have_count(1)
    assert dora.sessions("&filter[archived]=true").keys() == {"Animals"}
    act(page, "Animals", "Delete")
    assert not watched.barriers()
    page.keyboard.press("Escape")
    expect(link("Animals")).to_be_visible()
    act(page, "Animals", "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing is archived.")).to_be_visible()
    assert "Animals" not in dora.sessions()

    page.route("**/api/v1/sessions/*", lambda route: route.abort())
    page.get_by_role("button", name="Archived").click()
    act(page, "Talk 20", "Archive")
    expect(page.get_by_role("alert").filter(has_text="That did not work")).to_be_visible()
    assert not [complaint for complaint in watched.complaints if "ERR_FAILED" not in complaint]


def test_the_profile_and_the_keyboard(watched: Watched, dora: Dora) -> None:
    page = watched.page
    dora.sign_in(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Search chats")).to_be_focused()
    page.keyboard.type("LAPTOPS")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=LAPTOPS#main")
    expect(page.get_by_role("main").get_by_role("link", name="Help desk")).to_be_visible()

    page.get_by_role("link", name="Dora").click()
    expect(page.get_by_text(dora.group)).to_be_visible()
    expect(page.get_by_role("link", name="Dora")).to_have_attribute("aria-current", "page")
    page.get_by_label("Name", exact=True).fill("Evening report")
    page.get_by_role("button", name="Create a token").click()
    key = page.locator("#key").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    assert dora.send("GET", "users/me", key)["attributes"]["email"] == dora.email
    assert not watched.barriers()
    page.get_by_role("button", name="Revoke Evening report").press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    assert not watched.barriers()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Revoke Evening report")).to_be_focused()
    page.get_by_role("button", name="Revoke Evening report").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Evening report is revoked.")).to_be_visible()

    page.emulate_media(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_label("Dark", exact=True).check()
    dark = page.evaluate(background)
    assert dark != light
    page.get_by_role("link", name="Change the password").click()
    until(lambda: page.evaluate(background) == dark)
    assert not watched.barriers()
    assert not watched.complaints


def test_on_a_phone_the_list_is_a_drawer(browser: Any, live: Live, dora: Dora) -> None:
    dora.talks("In the drawer")
    with watched_page(browser, live.url, **PHONE) as watched:
        page = watched.page
        dora.sign_in(page)
        assert not watched.barriers()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        talk, opens = page.get_by_role("link", name="In the drawer"), page.get_by_role("button", name="Open the menu")
        expect(talk).to_be_hidden()
        opens.tap()
        expect(talk).to_be_visible()
        assert not watched.barriers(but=("landmark-one-main", "page-has-heading-one"))  # the page is out of reach
        for _ in range(60):  # the focus stays inside
            page.keyboard.press("Tab")
            assert page.evaluate("!document.activeElement.closest('.content')")
        page.get_by_role("button", name="Actions for In the drawer").tap()
        expect(page.get_by_role("button", name="Rename")).to_be_visible()
        page.keyboard.press("Escape")
        expect(talk).to_be_visible()
        page.keyboard.press("Escape")
        expect(talk).to_be_hidden()
        expect(opens).to_be_focused()
        assert not watched.complaints


def test_what_is_slipped_into_a_page_does_not_run(watched: Watched) -> None:
    page = watched.page
    page.goto("/sign-in")
    page.evaluate("""() => {
        window.refused = [];
        document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", '<img src="/nothing" onerror="window.ran = true">');
        document.body.insertAdjacentHTML("beforeend", '<img src="https://elsewhere.example/x.png">');
        document.body.insertAdjacentHTML("beforeend", '<p style="color: red">styled</p>');
    }""")
    until(lambda: page.evaluate("document.images[0].complete && refused.length == 4"))
    assert page.evaluate("refused.sort()") == ["img-src", "script-src-attr", "script-src-elem", "style-src-attr"]
    assert page.evaluate("window.ran") is None
