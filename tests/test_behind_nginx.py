"""Behind nginx, as `deploy/nginx.conf` has it, over HTTPS."""

import re
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import httpx
import pytest

from tests.production import NAME, Production, Proxy, events_of
from tests.talking import Event, question, text_of

COUNTED = " ".join(map(str, range(1, 61)))  # takes 1.2 s
LIMIT = 2**20  # bytes


@pytest.fixture(scope="module")
def http(nginx: Proxy, production: Production) -> Iterator[httpx.Client]:
    with nginx.client(production.key) as http:
        yield http


def make(http: httpx.Client, kind: str, **attributes: object) -> str:
    response = http.post(f"/api/v1/{kind}", json={"data": {"attributes": attributes}})
    assert response.status_code == 201, response.text
    assert response.headers["location"].startswith(f"https://{NAME}/api/v1/{kind}/")
    return response.json()["id"]


@pytest.fixture(scope="module")
def chat(http: httpx.Client) -> str:
    llm = make(http, "llms", name="House model", vendor="demo", default_model="demo")
    settings = make(http, "llm-settings")
    return make(http, "chats", name="Help desk", llm_id=int(llm), llm_settings_id=int(settings), group_ids=[])


def session(http: httpx.Client, chat: str) -> str:
    return make(http, "sessions", chat_id=int(chat))


def test_a_stream_comes_as_it_is_made(http: httpx.Client, chat: str) -> None:
    path = f"/sessions/{session(http, chat)}/messages"
    read = [(time.monotonic(), event) for event in events_of(http, "POST", path, question("/count 60"))]

    arrived = [at for at, event in read if event.name == "delta"]
    assert text_of(event for _, event in read) == COUNTED
    assert arrived[-1] - arrived[0] > 0.8  # of 1.2 seconds
    assert len({round(at, 1) for at in arrived}) >= 5


def test_a_stream_goes_on_after_the_last_event_that_was_read(http: httpx.Client, chat: str) -> None:
    path = f"/sessions/{session(http, chat)}"
    with closing(events_of(http, "POST", f"{path}/messages", question("/count 60"))) as stream:
        read: list[Event] = list(islice(stream, 12))
    while read[-1].name != "done":
        with closing(events_of(http, "GET", f"{path}/events", **{"Last-Event-ID": str(read[-1].id)})) as stream:
            read += list(islice(stream, 12))

    assert [event.id for event in read] == sorted({event.id for event in read})
    assert text_of(read) == COUNTED


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 400), (LIMIT + 1, 413)])
def test_a_body_has_the_servers_limit(production: Production, http: httpx.Client, size: int, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    with production.direct as direct:
        answers = [each.post("/api/v1/chats", content=b" " * size, headers=headers) for each in (http, direct)]

    assert [answer.status_code for answer in answers] == [status, status]
    assert answers[0].json() == answers[1].json()


def test_browsers_are_told_to_stay_with_https(http: httpx.Client, nginx: Proxy, production: Production) -> None:
    age = re.search(r"max-age=(\d+)", http.get("/api/v1/chats").headers["strict-transport-security"])
    assert age and int(age[1]) >= 31_536_000
    plain = httpx.get(
        f"http://127.0.0.1:{nginx.plain}/admin/?a=b", headers={"Host": NAME}, trust_env=False, timeout=120
    )
    assert (plain.status_code, plain.headers["location"]) == (301, f"https://{NAME}/admin/?a=b")
    with production.direct as direct:
        plain = direct.get("/admin/", headers={"X-Forwarded-Proto": "http"})
    assert (plain.status_code, plain.headers["location"]) == (301, f"https://{NAME}/admin/")


def test_one_signs_in_with_cookies_that_are_for_https_alone(nginx: Proxy) -> None:
    origin = {"Origin": f"https://{NAME}", "Referer": f"https://{NAME}/admin/login/"}
    with nginx.client(**origin) as browser:
        page = browser.get("/admin/login/")
        cookie = page.headers["set-cookie"]
        assert "; Secure" in cookie
        token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form = {"username": "alice@example.com", "csrfmiddlewaretoken": token}  # a password would be hashed for long
        sent = {"Cookie": cookie.partition(";")[0]}
        assert browser.post("/admin/login/", data=form, headers=sent).status_code == 200
        refused = browser.post("/admin/login/", data=form, headers={**sent, "Origin": "https://evil.example.com"})
    assert refused.status_code == 403


def test_guessing_passwords_is_slowed_down_for_all_workers_together(nginx: Proxy) -> None:
    with nginx.client() as browser:
        assert 429 in [browser.get("/admin/login/").status_code for _ in range(25)]
        for path in ("/sign-in", "/first-run", "/profile/password", "/api/v1/auth/login"):
            refused = browser.get(path)
            assert refused.status_code == 429, path
            assert refused.json()["errors"][0]["code"] == "throttled"
            assert refused.headers["Retry-After"] == "60"
        assert browser.get("/api/v1/docs").status_code != 429
        assert browser.get("/health").status_code == 200


def test_a_caller_does_not_choose_the_host(http: httpx.Client) -> None:
    found = http.get("/api/v1/chats", headers={"X-Forwarded-Host": "localhost", "Accept": "application/vnd.api+json"})
    assert found.status_code == 200
    assert f"https://{NAME}/api/v1/chats" in found.text
    assert "localhost" not in found.text


def test_a_socket_is_not_opened(http: httpx.Client) -> None:
    headers = {"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert http.get("/api/v1/chats", headers=headers).status_code == 200  # nginx does not pass the wish on
