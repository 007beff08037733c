"""A conversation as people have it: a real browser at the real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import vendor_server
from tests.browser import PHONE, Watched, needs_chromium, playwright, watched_page
from tests.chats.web.test_markdown import HOSTILE
from tests.live import manage
from tests.talking import Studio, opened, until
from tests.vendor_server import Connection, VendorServer

PASSWORD = "a long phrase of bob"
CODE = "```python\ndef due(days: int) -> int:\n    return days + 1\n```"
TABLE = "|Item|Days|\n|-|-:|\n|Box|30|"
MARKDOWN = (
    f"/echo ## Terms\n\nWithin **thirty days**.\n\n{TABLE}\n\n1. a\n2. b\n\n{CODE}\n\n$a_1*b_2$\n\nEnd{' on' * 200}."
)
LONG_TALK = """
from chats.models import Chat, Message, Session
from groups.models import User
bob = User.objects.get(email="bob@example.com")
session = Session.objects.create(user=bob, chat=Chat.objects.first(), name="Long")
for number in range(1, 1001, 2):
    question = Message.objects.create(
        session=session, parent=session.leaf, sequence=number, role="user", text=f"Q{number}")
    text = f"Answer **{number}**.\\n\\n- one\\n- two\\n\\n```python\\nx = {number}\\n```"
    session.leaf = Message.objects.create(
        session=session, parent=question, sequence=number + 1, role="assistant", text=text, latency_ms=10)
early = Message.objects.get(session=session, text="Q941")
Message.objects.create(session=session, parent=early, sequence=1001, role="assistant", text="Another 941.")
session.last_sequence = 1001
session.save()
print(session.uuid)
"""

FORBIDDEN = "script, img, svg:not(.icon), iframe, object, form, input, style, [style]"

pytestmark = needs_chromium
expect = playwright.expect


class House:
    """A server, a vendor, and bob who is signed in to a chat with the demo."""

    def __init__(self, studio: Studio, vendor: VendorServer, browser: Any) -> None:
        self.studio, self.vendor, self.browser = studio, vendor, browser
        self.group = studio.group()
        groups = [self.group]
        self.bob = studio.make("users", email="bob@example.com", password=PASSWORD, name="Bob", group_ids=groups)
        self.chat = studio.chat(self.group, description="Ask anything.")
        self.key = studio.call("POST", f"/users/{self.bob}/roll-api-key")["attributes"]["api_key"]
        self.signed_in: Any = None

    @contextmanager
    def page(self, **options: Any) -> Iterator[Watched]:
        """A page in a browser of its own, in which bob is signed in."""
        if self.signed_in is None:
            with watched_page(self.browser, self.studio.urls[0]) as watched:
                watched.page.goto("/sign-in")
                watched.page.get_by_label("E-mail").fill("bob@example.com")
                watched.page.get_by_label("Password").fill(PASSWORD)
                watched.page.get_by_role("button", name="Sign in").click()
                watched.page.wait_for_url("/")
                self.signed_in = watched.page.context.storage_state()
        with watched_page(self.browser, self.studio.urls[0], storage_state=self.signed_in, **options) as watched:
            yield watched

    def vendors_chat(self, model: str, name: str) -> int:
        llm = {"vendor": "openai", "api_endpoint": self.vendor.url, "api_key": "sk-0123456789", "default_model": model}
        room = self.studio.chat(self.group, llm=llm)
        self.studio.call("PATCH", f"/chats/{room}", {"name": name})
        return room

    def texts(self, session: str) -> list[str]:
        messages = self.studio.call("GET", f"/sessions/{session}/messages?page_size=100", key=self.key)
        return [message["attributes"]["text"] for message in messages]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[House]:
    with VendorServer() as vendor, opened(tmp_path_factory.mktemp("rooms"), servers=1) as studio:
        yield House(studio, vendor, chromium[0])


@pytest.fixture
def house(rooms: House, browser: Any) -> House:
    return rooms


def send(page: Any, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def ended(page: Any) -> None:
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def answers(page: Any) -> Any:
    return page.locator(".message.assistant .text")


def come_back(page: Any) -> None:
    """To the tab, which then looks at once for what happened elsewhere, and not only the next time."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def session_of(page: Any) -> str:
    return str(page.url.rpartition("/")[2])


def test_a_conversation(house: House) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with house.page(permissions=permissions) as watched:
        page = watched.page
        log, message, status = page.get_by_role("log"), page.get_by_label("Message"), page.locator("#status")
        page.goto(f"/chats/{house.chat}")
        expect(page.get_by_text("Ask anything.")).to_be_visible()
        assert watched.barriers() == []
        expect(page.get_by_role("button", name="Send")).to_be_disabled()

        # a draft with a line break survives a reload; Enter sends; the address becomes the conversation's
        message.type("/echo Hello")
        page.keyboard.press("Shift+Enter")
        message.type("there *you*")
        page.reload()
        expect(message).to_have_value("/echo Hello\nthere *you*")
        message.focus()
        message.dispatch_event("keydown", {"key": "Enter", "isComposing": True})  # a word is being chosen
        page.keyboard.press("Enter")
        expect(log).to_contain_text("there you")
        page.wait_for_url("**/sessions/*")
        ended(page)
        expect(message).to_have_value("")
        expect(page.get_by_role("heading", level=1)).to_contain_text("/echo Hello")
        expect(page.locator(".sidebar").get_by_role("link", name="/echo Hello")).to_be_visible()

        # what a screen reader hears; markdown as it is meant
        send(page, MARKDOWN)
        expect(status).to_have_text("Answering…")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        ended(page)
        expect(status).to_contain_text("thirty days")
        expect(log.get_by_role("heading", name="Terms")).to_be_visible()
        expect(log.get_by_role("cell", name="Box")).to_be_visible()
        expect(log.locator(".k").first).to_have_text("def")
        expect(log.locator("math msub").first).to_have_text("a1")
        assert log.get_attribute("aria-live") == "off"
        page.get_by_role("button", name="Copy code").click()
        until(lambda: page.evaluate("navigator.clipboard.readText()").startswith("def due"))
        page.get_by_role("button", name="Copy", exact=True).last.click()
        until(lambda: page.evaluate("navigator.clipboard.readText()") == MARKDOWN.removeprefix("/echo "))
        page.get_by_text("Details").last.click()
        expect(page.get_by_text("Tokens out").last).to_be_visible()

        # another answer, stopped; the one before; a retry; another question
        page.get_by_role("button", name="Regenerate").last.click()
        expect(answers(page).last).to_contain_text("Terms")
        page.get_by_role("button", name="Stop").click()
        expect(log.get_by_text("Stopped")).to_be_visible()
        expect(message).to_be_focused()  # the button is gone
        expect(log.get_by_text("2 of 2")).to_be_visible()
        assert watched.barriers() == []
        page.get_by_role("button", name="Previous branch").last.click()
        expect(log.get_by_text("1 of 2")).to_be_visible()
        expect(log.get_by_text("Stopped")).to_be_hidden()
        page.get_by_role("button", name="Next branch").last.click()
        page.get_by_role("button", name="Retry").click()
        expect(log.get_by_text("3 of 3")).to_be_visible()
        ended(page)
        message.fill("a draft")
        page.get_by_role("button", name="Edit").first.click()
        expect(message).to_have_value("/echo Hello\nthere *you*")
        message.fill("/echo Good")
        page.reload()
        expect(page.get_by_text("You are changing your question")).to_be_visible()
        expect(message).to_have_value("/echo Good")
        send(page, "/echo Good day")
        expect(answers(page)).to_have_text(["Good day"])
        ended(page)
        expect(message).to_have_value("a draft")
        expect(message).to_be_focused()
        expect(log.get_by_text("2 of 2")).to_be_visible()

        # what another tab is about to send stays there; and a name is no pattern
        other = page.context.new_page()
        other.goto(page.url)
        other.get_by_label("Message").fill("of the other")
        send(page, "/echo Good night")
        ended(page)
        other.reload()
        expect(other.get_by_label("Message")).to_have_value("of the other")
        other.close()
        house.studio.call("PATCH", f"/sessions/{session_of(page)}", {"name": "Costs $& more"}, key=house.key)
        come_back(page)
        expect(page).to_have_title("Costs $& more · AI Studio")

        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Markdown").click()
        assert "## Answer\n\nGood day\n" in Path(download.value.path()).read_text()
        assert download.value.suggested_filename.endswith(".md")
        assert house.texts(session_of(page)) == ["/echo Good day", "Good day", "/echo Good night", "Good night"]
        assert not watched.complaints


def test_an_answer_goes_on_whoever_looks(house: House) -> None:
    counted = " ".join(map(str, range(1, 201)))
    with house.page() as first, house.page(**PHONE) as second:
        page, phone = first.page, second.page
        page.goto(f"/chats/{house.chat}")
        page.route("**/messages", lambda route: route.abort())
        send(page, "Hello")
        expect(page.locator("#trouble")).to_contain_text("cannot be reached")
        page.unroute("**/messages")
        page.get_by_role("button", name="Send").click()
        page.wait_for_url("**/sessions/*")
        expect(answers(page)).to_contain_text("demo")
        ended(page)
        session = session_of(page)
        phone.goto(f"/sessions/{session}")
        expect(answers(phone)).to_contain_text("demo")

        # the phone, on which nobody does anything, learns of it; a reload and a lost network change nothing
        send(page, "/count 200")
        expect(answers(page).last).to_contain_text("10 11")
        page.reload()
        expect(answers(page).last).to_contain_text("20 21 22")
        page.context.set_offline(True)
        page.get_by_label("Message").fill("written in a tunnel")
        expect(answers(phone).last).to_contain_text("100 101")
        page.context.set_offline(False)
        expect(answers(page).last).to_contain_text("199 200")
        expect(answers(phone).last).to_contain_text("199 200")
        ended(page)
        ended(phone)
        assert answers(page).last.inner_text() == answers(phone).last.inner_text()
        expect(page.get_by_label("Message")).to_have_value("written in a tunnel")
        expect(page.locator("#trouble")).to_be_hidden()

        # one stops what the other began, and asks on; who comes back follows by another connection
        send(page, "/count 100000")
        expect(answers(page).last).to_contain_text("10 11")
        with page.expect_request("**/events?after=*"):
            come_back(page)
        expect(phone.get_by_role("button", name="Stop")).to_be_visible()
        phone.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("log").get_by_text("Stopped")).to_be_visible()
        assert second.barriers() == []
        assert not second.complaints
        assert [
            each for each in first.complaints if not each.endswith(("ERR_INTERNET_DISCONNECTED", "ERR_FAILED"))
        ] == []
        assert house.texts(session)[3] == counted


def test_what_is_closed_is_said(house: House) -> None:
    studio = house.studio
    with house.page() as watched:
        page, trouble = watched.page, watched.page.locator("#trouble")
        page.goto(f"/chats/{house.vendors_chat('500', 'Broken')}")
        send(page, "Hello")
        expect(page.get_by_role("log").get_by_text("Failed")).to_be_visible()
        expect(page.get_by_role("button", name="Retry")).to_be_visible()

        page.goto(f"/chats/{house.vendors_chat('close', 'Breaks')}")
        send(page, "Hello")
        expect(answers(page)).to_have_text(vendor_server.HALF)
        expect(page.get_by_role("log").get_by_text("Failed")).to_be_visible()

        # a stream that is silent for too long was lost without notice
        page.goto(f"/chats/{house.vendors_chat('hang', 'Hangs')}")
        send(page, "Hello")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        with page.expect_request("**/events?after=*"):
            page.evaluate("{ const now = Date.now; let later = 0; Date.now = () => now() + (later += 60_000); }")
        page.get_by_role("button", name="Stop").click()
        ended(page)

        # nothing is begun where nothing can be answered
        room = house.vendors_chat("ok", "Off and on")
        llm = studio.call("GET", f"/chats/{room}")["attributes"]["llm_id"]
        page.goto(f"/chats/{room}")
        studio.call("PATCH", f"/llms/{llm}", {"active": False})
        send(page, "Hello")
        expect(trouble).to_contain_text("administrator")
        expect(page.get_by_label("Message")).to_have_value("Hello")
        assert studio.call("GET", f"/sessions?filter[chat]={room}", key=house.key) == []
        studio.call("PATCH", f"/llms/{llm}", {"active": True})
        page.get_by_role("button", name="Send").click()
        expect(answers(page)).to_have_text(vendor_server.ANSWER)
        expect(trouble).to_be_hidden()

        page.get_by_label("Message").fill("x" * 200_001)
        expect(page.get_by_text("1 characters too many")).to_be_visible()
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        page.get_by_label("Message").fill("kept")

        # out of the group and in again; the chat deleted; signed out
        studio.call("PATCH", f"/chats/{room}", {"group_ids": []})
        come_back(page)
        expect(trouble).to_contain_text("no longer open to you")
        studio.call("PATCH", f"/chats/{room}", {"group_ids": [house.group]})
        come_back(page)
        expect(trouble).to_be_hidden()
        studio.call("DELETE", f"/chats/{room}")
        come_back(page)
        expect(page.get_by_text("was deleted. It can be read")).to_be_visible()
        expect(page.get_by_label("Message")).to_be_hidden()
        page.goto(f"/chats/{house.chat}")
        page.context.clear_cookies(name="aistudio_session")
        send(page, "Who am I?")
        expect(trouble).to_contain_text("You are signed out.")
        link = trouble.get_by_role("link", name="Sign in")
        expect(link).to_have_attribute("href", f"/sign-in?next=%2Fchats%2F{house.chat}")
        expect(page.get_by_label("Message")).to_have_value("Who am I?")


async def say(connection: Connection, name: str, asked: dict[str, Any]) -> None:
    """One of TEXTS, in parts as large as they come."""
    connection.begin()
    connection.send(connection.wire.first(1))
    for start in range(0, len(TEXTS[name]), 20_000):
        connection.send(connection.wire.text(TEXTS[name][start : start + 20_000]))
    connection.finish(1, asked)
    await connection.end()


TEXTS = {
    "hostile": "\n\n".join(HOSTILE.values()) + "\n\nThe end.",
    "megabyte": "Lorem *ipsum* <b>dolor</b> sit amet.\n\n" * 27_000 + "The end.",
    "code": "```python\n" + "total = sum(price * 2 for price in prices)  # <script>\n" * 5_000 + "```\n\nThe end.",
}


def test_hostile_answers_only_show(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vendor_server.BEHAVIOURS, "say", say)
    with house.page() as watched:
        page = watched.page
        dialogs: list[Any] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        for name in TEXTS:
            page.goto(f"/chats/{house.vendors_chat(f'say:{name}', name)}")
            send(page, "Go on")
            expect(answers(page).last).to_contain_text("The end.")
            ended(page)
            page.reload()  # as it is sent when it is whole
            expect(answers(page).last).to_contain_text("The end.")
            for link in page.locator("#log .text a").all():
                assert link.get_attribute("href").startswith(("https://", "http://"))
            assert page.locator(f"#log :is({FORBIDDEN})").count() == 0
            # the page goes on
            page.get_by_label("Message").type("and?")
            page.get_by_text("Details").click()
            expect(page.get_by_text("Tokens out")).to_be_visible()
        assert not dialogs
        assert not watched.complaints


def test_a_thousand_messages(house: House) -> None:
    session = manage(house.studio.variables, "shell", "--no-imports", "--command", LONG_TALK).strip()
    with house.page() as watched:
        page, log = watched.page, watched.page.get_by_role("log")
        page.goto(f"/sessions/{session}")
        expect(log.get_by_text("Answer 999.")).to_be_in_viewport()
        assert page.locator("#log article").count() == 30
        assert page.locator("#log").evaluate("log => log.children.length") == 30

        # up for more, which keeps its place
        page.locator("#main").evaluate("main => main.scrollTo(0, 0)")
        expect(page.locator("#log article")).to_have_count(60)
        expect(log.get_by_text("Q971", exact=True)).to_be_in_viewport()

        # another branch, far above its end, and back
        page.get_by_role("button", name="Next branch").click()
        expect(log.get_by_text("Another 941.")).to_be_in_viewport()
        page.get_by_role("button", name="Previous branch").click()
        expect(log.get_by_text("Answer 941.")).to_be_in_viewport()

        # reading above: what comes below does not pull the reader down
        page.get_by_label("Message").focus()
        page.get_by_label("Message").fill("/count 100")
        page.keyboard.press("Enter")
        expect(answers(page).last).to_contain_text("10 11")
        page.locator("#main").evaluate("main => main.scrollBy(0, -600)")
        top = page.locator("#main").evaluate("main => main.scrollTop")
        expect(page.get_by_role("button", name="Jump to newest")).to_be_visible()
        ended(page)
        assert page.locator("#main").evaluate("main => main.scrollTop") == top
        page.get_by_role("button", name="Jump to newest").click()
        expect(answers(page).last).to_be_in_viewport()
        expect(page.get_by_role("button", name="Jump to newest")).to_be_hidden()
        assert not watched.complaints


def test_keys(house: House) -> None:
    with house.page() as watched:
        page = watched.page
        message, keys = page.get_by_label("Message"), page.get_by_role("dialog", name="Keys")
        page.goto(f"/chats/{house.chat}")
        expect(page.get_by_text("Answered by demo")).to_be_visible()

        # what is typed outside a field goes to the composer; Escape stops; ArrowUp edits the last question
        page.get_by_role("heading", level=1).click()
        page.keyboard.type("/count 1000")
        expect(message).to_have_value("/count 1000")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("log").get_by_text("Stopped")).to_be_visible()
        ended(page)
        expect(page.locator(".message.assistant .model")).to_have_text("demo")
        expect(page.locator("#chat-link")).to_contain_text("· demo")
        page.keyboard.press("ArrowUp")
        expect(message).to_have_value("/count 1000")
        expect(page.get_by_text("You are changing your question")).to_be_visible()
        page.keyboard.press("Escape")
        expect(message).to_have_value("")

        # in the field, a question mark is one
        page.keyboard.type("?")
        expect(message).to_have_value("?")
        message.fill("")
        page.get_by_role("heading", level=1).click()
        page.keyboard.press("?")
        expect(keys).to_be_visible()
        assert watched.barriers() == []
        page.keyboard.type("x")
        page.keyboard.press("Escape")
        expect(keys).to_be_hidden()
        expect(message).to_have_value("")

        page.keyboard.press("Control+k")
        expect(page.get_by_label("Search conversations")).to_be_focused()
        page.keyboard.press("Control+Shift+O")
        page.wait_for_url(f"**/chats/{house.chat}")  # a new conversation in the same chat
