"""JSON:API clients that others wrote list, include, create, change and delete against a real server."""

import json
import os
import subprocess
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from jsonapi_requests.orm import ApiModel, AttributeField, OrmApi, RelationField
from jsonapi_requests.request_factory import ApiClientError
from requests import PreparedRequest
from requests.auth import AuthBase

from tests.live import Live
from tests.npm import install

pytestmark = pytest.mark.slow

CLIENTS = Path(__file__).parent / "clients"


# from PyPI: jsonapi-requests


class Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@pytest.fixture
def api(live: Live, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_PROXY", "*")  # loopback is never a matter of a proxy
    root = f"{live.url}/api/v1"
    return OrmApi.config(API_ROOT=root, AUTH=Bearer(live.token), APPEND_SLASH=False, TIMEOUT=30, RETRIES=1)


@pytest.fixture
def chats(api: Any) -> Any:
    """Chats and what they relate to, as a user of the library declares them."""

    def resource(kind: str, attribute: str, *relations: str) -> Any:
        fields = {name: RelationField(name) for name in relations}
        meta = type("Meta", (), {"type": kind, "api": api})
        return type(kind, (ApiModel,), {attribute: AttributeField(attribute), **fields, "Meta": meta})

    resource("llms", "name")
    resource("llm-settings", "model_name")
    resource("groups", "name")
    return resource("chats", "name", "llm", "llm_settings", "groups")


def demo_of(chats: Any) -> Any:
    """The demo's chat, with what is included with it."""
    return chats.get_list(params={"sort": "id", "page[size]": 1, "include": "llm,groups"})[0]


def test_pypi_includes_what_a_chat_relates_to(chats: Any) -> None:
    demo = demo_of(chats)

    assert demo.name == "Welcome"
    assert not demo.llm.is_stub  # it came with the chat; asking a stub asks the server
    assert demo.llm.name == "Demo"
    assert [(group.is_stub, group.name) for group in demo.groups] == [(False, "Everyone")]
    assert demo.llm_settings.is_stub
    assert demo.llm_settings.model_name == "demo"


def test_pypi_creates_pages_changes_and_deletes(api: Any, chats: Any, live: Live) -> None:
    demo = demo_of(chats)
    chat = chats()
    chat.name, chat.llm, chat.llm_settings, chat.groups = "From PyPI", demo.llm, demo.llm_settings, []
    chat.save()
    assert live.get(f"/chats/{chat.id}")["attributes"]["groups"] == []

    listed, path, query = [], "chats", {"sort": "id", "page[size]": 1}
    while path:
        page = api.endpoint(path).get(params=query).content
        listed += [item.id for item in page.data]
        path, query = page.links["next"], {}  # it has the query in it
    assert len(listed) == page.meta["pagination"]["count"] > 1
    assert {demo.id, chat.id} <= set(listed)

    change = chats()
    change.id, change.name, change.groups = chat.id, "Changed from PyPI", demo.groups
    change.save()
    chat.refresh()
    assert (chat.name, chat.llm.id) == ("Changed from PyPI", demo.llm.id)
    assert [group.id for group in chat.groups] == [group.id for group in demo.groups]

    chat.delete()
    with pytest.raises(ApiClientError) as caught:
        chat.refresh()
    assert caught.value.status_code == HTTPStatus.NOT_FOUND
    assert json.loads(caught.value.content)["errors"][0]["code"] == "not_found"


def test_pypi_sends_a_whole_chat_back(chats: Any) -> None:
    demo = demo_of(chats)
    chat = chats()
    chat.name, chat.llm, chat.llm_settings = "From PyPI", demo.llm, demo.llm_settings
    chat.save()
    chat.name = "Changed from PyPI"
    chat.save()  # with created_at, updated_at and links, as they came
    chat.refresh()
    assert chat.name == "Changed from PyPI"
    chat.delete()


# from npm: kitsu


@pytest.fixture(scope="module")
def kitsu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and what it needs."""
    folder = tmp_path_factory.mktemp("npm")
    install(CLIENTS, folder)
    return folder


def test_npm_lists_includes_creates_changes_and_deletes(kitsu: Path, live: Live) -> None:
    variables = {"PATH": os.environ["PATH"], "API_URL": f"{live.url}/api/v1", "API_TOKEN": live.token}
    command = ["node", "with_kitsu.js"]
    done = subprocess.run(command, cwd=kitsu, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    demo, chat = seen["demo"], seen["created"]

    assert seen["included"] == {"llm": "Demo", "groups": ["Everyone"]}
    assert chat == {
        **demo,
        "id": chat["id"],
        "status": HTTPStatus.CREATED,
        "location": f"{live.url}/api/v1/chats/{chat['id']}",
        "name": "From npm",
        "groups": [],
    }
    assert len(seen["listed"]) == seen["count"] > 1
    assert chat["id"] in seen["listed"]
    assert seen["changed"] == seen["reread"] == {**demo, "name": "Changed from npm"}
    assert seen["deleted"] == HTTPStatus.NO_CONTENT
    assert seen["error"] == {"status": HTTPStatus.NOT_FOUND, "code": "not_found"}
