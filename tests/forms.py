"""The forms of pages, filled in as a browser sends them, and browsers that are signed in at live servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

import httpx

from tests.talking import NUMBER, TIMEOUT, Studio

Sent = dict[str, list[str]]


class FormReader(HTMLParser):
    """Reads what a browser would send of a page whose only form with fields is the one that is looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: Sent = {}
        self.select, self.area = "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {"type": "", "value": "on" if ("type", "checkbox") in attrs else "", **dict(attrs)}
        name = given.get("name") or ""
        is_sent = given["type"] not in ("submit", "button") and "disabled" not in given
        if given["type"] == "checkbox" and "checked" not in given:
            is_sent = False
        if tag == "input" and name and is_sent:
            self.sent.setdefault(name, []).append(given["value"] or "")
        elif tag == "textarea":
            self.area = name
            self.sent[name] = [""]
        elif tag == "select":
            self.select = name
        elif tag == "option" and "selected" in given:
            self.sent.setdefault(self.select, []).append(given.get("value") or "")

    def handle_data(self, data: str) -> None:
        if self.area:
            self.sent[self.area] = [self.sent[self.area][0] + data]

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.sent[self.area] = [self.sent[self.area][0].removeprefix("\n")]  # HTML's own line end
            self.area = ""


def filled_form(page: str, **changes: str | list[str]) -> Sent:
    """What the form sends with these changes; an empty list removes a field."""
    reader = FormReader()
    reader.feed(page[page.index('method="post" id=') :])
    changed = {name: [value] if isinstance(value, str) else value for name, value in changes.items()}
    return {name: values for name, values in {**reader.sent, **changed}.items() if values}


@contextmanager
def signed_in(studio: Studio, server: int = 0) -> Iterator[httpx.Client]:
    """The browser of one more administrator."""
    email, password = f"dora-{next(NUMBER)}@example.com", "a long canary phrase"
    studio.make("users", email=email, password=password, is_admin=True)
    with httpx.Client(base_url=studio.urls[server], trust_env=False, timeout=TIMEOUT) as browser:
        browser.get("/admin/login/")
        fields = {"username": email, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post("/admin/login/?next=/admin/", data=fields).status_code == 302
        yield browser
