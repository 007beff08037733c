"""The log at LOG_LEVEL=DEBUG has no cookie, CSRF token, password, token or key, and nothing of what was said."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.talking import Studio, ask, opened, text_of

PASSWORD = "a canary of a pass phrase"
KEY = "sk-canary-0123456789-7777"
SAID = "Where is the canary buried?"
EMAIL = "dora@example.com"
FORM_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
PAGES = [
    "/",
    "/profile",
    "/profile/password",
    "/conversations",
    "/nothing",
    "/admin/",
    "/admin/nothing/",
    "/admin/llms/llm/",
    "/admin/llms/llm/add/",
    "/admin/chats/chat/?q=house",
    "/admin/groups/user/",
    "/admin/groups/apitoken/",
    "/admin/core/auditevent/",
    "/api/v1/docs",
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(tmp_path_factory.mktemp("debug"), servers=1, LOG_LEVEL="DEBUG") as studio:
        yield studio


def test_the_log_has_no_secret(studio: Studio) -> None:
    user = studio.make("users", email=EMAIL, is_admin=True, password=PASSWORD)
    token = studio.call("POST", f"/users/{user}/roll-api-key")["attributes"]["api_key"]
    llm = {"vendor": "demo", "default_model": "demo", "api_key": KEY}
    session = studio.session(studio.chat(llm=llm), token)
    assert text_of(ask(studio.urls[0], token, session, f"/echo {SAID}")) == SAID

    secrets = {studio.key, token, PASSWORD, KEY, SAID}
    with httpx.Client(base_url=studio.urls[0], trust_env=False, timeout=60) as person:

        def visit(method: str, path: str, **form: str) -> httpx.Response:
            """The page, whose secrets are noted, and the cookies."""
            token = person.cookies.get("csrftoken", "")
            data = {"csrfmiddlewaretoken": token, **form} if method == "POST" else None
            response = person.request(method, path, data=data)
            secrets.update(FORM_TOKEN.findall(response.text))
            secrets.update(cookie.value for cookie in person.cookies.jar if cookie.value)
            return response

        for path in ("/sign-in", "/admin/login/", "/first-run"):
            visit("GET", path)
        assert visit("POST", "/sign-in", username=EMAIL, password=PASSWORD + "?").status_code == 200
        assert visit("POST", "/sign-in", username=EMAIL, password=PASSWORD).status_code == 302
        for path in (*PAGES, f"/sessions/{session}", f"/sessions/{session}/export.md"):
            response = visit("GET", path)
            assert response.status_code == (404 if "nothing" in path else 200), path
        assert visit("POST", "/sign-out", csrfmiddlewaretoken="wrong").status_code == 403
        assert visit("POST", "/sign-out").status_code == 302

    assert len(secrets) > 10  # there were forms and cookies
    assert " DEBUG " in studio.log  # of markdown-it, for one
    assert not [secret for secret in secrets if secret in studio.log]
