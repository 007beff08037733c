"""A typed client, generated from our own description: complete, it type-checks, and it works."""

import json
import os
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
import yaml

from tests.live import Live

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "clients" / "with_own.py"
PACKAGE = "aistudio_client"


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """What a command says on standard output; it must succeed."""
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "PYTHONPATH": str(folder), **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the generated package; a warning of the generator is an error."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "config.yaml").write_text("post_hooks: []\n")  # it is read by nobody, so nothing has to be put into form
    generator = Path(sys.executable).with_name("openapi-python-client")
    options = ["--meta", "none", "--fail-on-warning", "--config", "config.yaml", "--output-path", PACKAGE]
    run(folder, generator, "generate", "--url", f"{live.url}/api/v1/schema", *options)
    return folder


def test_every_operation_has_its_module(folder: Path, live: Live) -> None:
    schema = yaml.safe_load(httpx.get(f"{live.url}/api/v1/schema", trust_env=False, timeout=120).text)
    described = {
        operation["operationId"]
        for path in schema["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    }

    assert {path.stem for path in (folder / PACKAGE / "api").glob("*/*.py")} - {"__init__"} == described


def test_it_type_checks_and_so_does_its_use(folder: Path) -> None:
    run(folder, sys.executable, "-m", "mypy", "--strict", "--config-file=", "--package", PACKAGE)
    run(folder, sys.executable, "-m", "mypy", "--strict", "--config-file=", SCRIPT)


def test_it_works(folder: Path, live: Live) -> None:
    output = run(folder, sys.executable, "-W", "error", SCRIPT, API_URL=f"{live.url}/api/v1", API_TOKEN=live.token)
    seen = json.loads(output)

    assert seen["demo"] == "Welcome"
    assert seen["added"] == HTTPStatus.NO_CONTENT
    assert seen["me"][1] == "admin@example.com"
    assert seen["members"] == [seen["me"]]
    assert seen["made_in"] == [seen["group"]]
    assert seen["changed"] == [seen["made"], "Changed", []]
    assert seen["refused"] == ["does_not_exist", "/data/attributes/llm_id"]
    assert seen["deleted"] == [HTTPStatus.NO_CONTENT, HTTPStatus.NO_CONTENT]
    assert seen["gone"] == [HTTPStatus.NOT_FOUND, "not_found"]
