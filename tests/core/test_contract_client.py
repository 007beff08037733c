"""A typed client, generated from the contract, works against the server."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.live import Live

pytestmark = pytest.mark.slow

CONTRACT = Path(__file__).parents[1] / "contract" / "create-chat.yaml"
GENERATOR = Path(sys.executable).with_name("openapi-python-client")
PACKAGE = "client_of_the_contract"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The client's package, with the modules that the tests use as attributes."""
    folder = tmp_path_factory.mktemp("generated")
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")  # it is read by nobody, so nothing has to be put into form
    command = [GENERATOR, "generate", "--path", CONTRACT, "--meta", "none", "--fail-on-warning"]
    command += ["--config", config, "--output-path", folder / PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        package = importlib.import_module(PACKAGE)
        for name in ("models", "api.chats.post_chats"):
            importlib.import_module(f"{PACKAGE}.{name}")
        yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(params=["Bearer", ""], ids=["Bearer token", "bare token"])
def client(request: pytest.FixtureRequest, generated: Any, live: Live) -> Iterator[Any]:
    with generated.AuthenticatedClient(
        base_url=f"{live.url}/api/v1",
        token=live.token,
        prefix=request.param,
        raise_on_unexpected_status=True,
        httpx_args={"trust_env": False},  # loopback is never a matter of a proxy
    ) as client:
        yield client


@pytest.fixture
def demo(live: Live) -> dict[str, Any]:
    """The attributes of the demo's chat."""
    return live.get("/chats?sort=id")[0]["attributes"]


def create_chat(generated: Any, client: Any, **attributes: Any) -> Any:
    models, endpoint = generated.models, generated.api.chats.post_chats
    fields = models.ApiChatInputDataAttributes(**attributes)
    body = models.ApiChatInput(data=models.ApiChatInputData(type_="chats", attributes=fields))
    return endpoint.sync_detailed(client=client, body=body)


def test_a_chat_is_created(generated: Any, client: Any, demo: dict[str, Any]) -> None:
    group = demo["groups"][0]
    response = create_chat(
        generated,
        client,
        name="From a typed client",
        llm_id=demo["llm_id"],
        llm_settings_id=demo["llm_settings_id"],
        group_ids=[int(group["id"])],
    )

    assert response.status_code == HTTPStatus.CREATED
    chat = response.parsed
    assert isinstance(chat, generated.models.ApiChatResponse)
    assert chat.type_ == "chats"
    assert chat.id.isdigit()
    assert chat.attributes.name == "From a typed client"
    assert chat.attributes.llm_id == demo["llm_id"]
    assert chat.attributes.llm_settings_id == demo["llm_settings_id"]
    assert [(item.type_, item.id, item.attributes.name) for item in chat.attributes.groups] == [
        ("groups", group["id"], group["attributes"]["name"])
    ]


def test_an_llm_that_does_not_exist_is_a_typed_error(generated: Any, client: Any, demo: dict[str, Any]) -> None:
    response = create_chat(
        generated, client, name="No such LLM", llm_id=999_999, llm_settings_id=demo["llm_settings_id"]
    )

    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert isinstance(response.parsed, generated.models.ApiErrorResponse)
    (error,) = response.parsed.errors
    assert error.title == "No such resource"
    assert "999999" in error.detail
