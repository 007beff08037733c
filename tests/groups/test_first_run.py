"""A new house: whoever can read what the server printed becomes its administrator, and only one does."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client

from groups.models import User
from groups.sign_in import first_run_code
from tests.browser import needs_chromium, playwright, watched_page
from tests.live import environment, free_port, is_healthy, manage, running
from tests.people import PASS_PHRASE, Person

AT_ONCE = 3


def filled(email: str, code: str) -> dict[str, str]:
    return {"code": code, "email": email, "name": "Alice", "password1": PASS_PHRASE, "password2": PASS_PHRASE}


@pytest.fixture(scope="module")
def empty_house(tmp_path_factory: Any) -> Iterator[tuple[str, str]]:
    """A server without any user, and the code that it printed."""
    folder: Path = tmp_path_factory.mktemp("empty")
    variables, address = environment(folder), f"127.0.0.1:{free_port()}"
    manage(variables, "migrate", "--verbosity", "0")
    with running(variables, folder / "server.log", "runserver", address) as server:
        server.wait_until(lambda: is_healthy(f"http://{address}"))
        printed = re.search(r"/first-run makes the administrator; its code: ([\w-]+)", server.log.read_text())
        assert printed
        yield f"http://{address}", printed[1]


@needs_chromium
def test_of_many_at_once_one_becomes_the_administrator(empty_house: tuple[str, str], browser: Any) -> None:
    url, code = empty_house
    with watched_page(browser, url) as watched:
        page = watched.page
        page.goto("/")
        playwright.expect(page).to_have_url(f"{url}/first-run")
        assert not watched.barriers()
        for label, text in (("Code", "wrong"), ("E-mail", "alice@example.com"), ("Name", "Alice")):
            page.get_by_label(label, exact=True).fill(text)
        page.get_by_label("Password", exact=True).fill(PASS_PHRASE)
        page.get_by_label("Password confirmation").fill(PASS_PHRASE)
        page.get_by_role("button", name="Create the administrator").click()
        playwright.expect(page.get_by_text("This is not the code.")).to_be_visible()

        def attempt(number: int) -> httpx.Response:
            with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
                client.get("/first-run")
                token = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
                return client.post("/first-run", data=filled(f"p{number}@example.com", code) | token)

        with ThreadPoolExecutor(AT_ONCE) as threads:
            places = [answer.headers.get("Location") for answer in threads.map(attempt, range(AT_ONCE))]
        assert sorted(places) == ["/"] + ["/sign-in"] * (AT_ONCE - 1)

        page.get_by_label("Code").fill(code)
        page.get_by_label("Password", exact=True).fill(PASS_PHRASE)
        page.get_by_label("Password confirmation").fill(PASS_PHRASE)
        page.get_by_role("button", name="Create the administrator").click()
        playwright.expect(page).to_have_url(f"{url}/sign-in")
        assert not watched.complaints


def test_the_code_is_asked_and_the_first_one_administers(db: Any) -> None:
    client = Client()
    assert client.get("/", follow=True).redirect_chain[-1][0] == "/first-run"
    for wrong in ("", "x", first_run_code()[:-1]):
        refused = client.post("/first-run", filled("alice@example.com", wrong))
        assert refused.status_code == 200 and not User.objects.exists()
    weak = filled("alice@example.com", first_run_code()) | {"password1": "12345678", "password2": "12345678"}
    assert "too common" in client.post("/first-run", weak).content.decode()

    made = client.post("/first-run", filled(" alice@example.com", first_run_code().upper()))

    assert made["Location"] == "/"
    assert User.objects.get().is_admin and User.objects.get().check_password(PASS_PHRASE)
    assert client.get("/").status_code == 200


def test_it_is_gone_once_there_is_a_user(charlie: Person) -> None:
    client = Client()
    assert client.get("/first-run")["Location"] == "/sign-in"
    assert client.post("/first-run", filled("mallory@example.com", first_run_code()))["Location"] == "/sign-in"
    assert User.objects.count() == 1
