"""Clients that widespread generators make of the description compile and work; linters find nothing in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from tests.live import Live
from tests.npm import install

pytestmark = pytest.mark.slow

CLIENTS = Path(__file__).parent / "clients" / "generated"
OLDEST_NODE = 20
UNREACHABLE = ("No matching distribution", "Failed to establish a new connection", "timed out")
COMMANDS = {  # the client, and what generates it; with_NAME.ts uses it
    "openapi_fetch": ["openapi-typescript", "schema.json", "--output", "openapi-typescript.ts"],
    "hey_api": ["openapi-ts", "--input", "schema.json", "--output", "hey-api", "--client", "@hey-api/client-fetch"],
    "orval": ["orval", "--config", "orval.config.ts"],
}
ONE_OF_EACH_KIND = [
    ["thinking", "I should look it up."],
    ["tool_call", "weather"],
    ["tool_result", "Sunny, 21 °C."],
    ["text", "It is sunny in Graz [1]."],
    ["citation", "Sunny, 21 °C."],
]
SEEN = {
    "demo": "Welcome",
    "settings": [["END"], {"team": "research"}],
    "names": ["Generated", "Changed"],
    "answer": ["complete", ONE_OF_EACH_KIND],
    "deleted": HTTPStatus.NO_CONTENT,
    "gone": [HTTPStatus.NOT_FOUND, "not_found"],
}


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """What a command says on standard output; it must succeed."""
    home = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_PROXY": "*", "REDOCLY_TELEMETRY": "off"}
    done = subprocess.run(command, cwd=folder, env=home | variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def where_and_who(live: Live) -> dict[str, str]:
    return {"API_URL": f"{live.url}/api/v1", "API_TOKEN": live.token}


def seen_by_typescript(folder: Path, name: str, live: Live) -> dict[str, object]:
    """What with_NAME.ts prints, once the compiler has nothing against it and the client."""
    config = folder / f"tsconfig.{name}.json"
    config.write_text(json.dumps({"extends": "./tsconfig.json", "files": [f"with_{name}.ts"]}))
    run(folder, "node_modules/.bin/tsc", "--project", config)
    seen: dict[str, object] = json.loads(run(folder, "node", f"compiled/with_{name}.js", **where_and_who(live)))
    return seen


@pytest.fixture(scope="module")
def folder(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generators, the linters, the scripts and the description."""
    folder = tmp_path_factory.mktemp("generated")
    install(CLIENTS, folder)
    version = run(folder, "node", "--version")
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"the generators need Node.js {OLDEST_NODE}, and this is {version.strip()}")
    headers = {"Accept": "application/json"}
    (folder / "schema.json").write_bytes(
        httpx.get(f"{live.url}/api/v1/schema", headers=headers, trust_env=False).content
    )
    return folder


@pytest.fixture(scope="module")
def generator(folder: Path) -> list[str | Path]:
    """The command of openapi-generator."""
    if shutil.which("java") is None:
        pytest.skip("java cannot be found")
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    command += ["--target", "packages", "--requirement", "requirements.txt"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode != 0 and any(words in done.stderr for words in UNREACHABLE):
        pytest.skip("the index of Python packages cannot be reached")
    assert done.returncode == 0, done.stderr
    jar = folder / "packages" / "openapi_generator_cli" / "openapi-generator.jar"
    return ["java", "-jar", jar, "generate", "--input-spec", "schema.json"]


def test_redocly_finds_nothing(folder: Path) -> None:
    found = json.loads(run(folder, "node_modules/.bin/redocly", "lint", "schema.json", "--format", "json"))
    assert found["problems"] == []


def test_spectral_finds_nothing(folder: Path) -> None:
    assert run(folder, "node_modules/.bin/spectral", "lint", "schema.json", "--fail-severity", "hint")


def test_each_exception_from_a_linters_rules_has_its_reason(folder: Path) -> None:
    for name in ("redocly.yaml", ".spectral.yaml"):
        rules = re.findall(r"^  [\w-]+: .*$", (CLIENTS / name).read_text(), re.MULTILINE)
        assert all(re.search(r" # \S+ \S+", rule) for rule in rules), rules


@pytest.mark.parametrize("name", COMMANDS)
def test_a_client_from_npm_compiles_and_works(name: str, folder: Path, live: Live) -> None:
    program, *options = COMMANDS[name]
    run(folder, f"node_modules/.bin/{program}", *options, **where_and_who(live))
    events = {"events": 12} if name == "hey_api" else {}
    assert seen_by_typescript(folder, name, live) == SEEN | events


def test_openapi_generators_client_for_typescript_compiles_and_works(
    folder: Path, generator: list[str | Path], live: Live
) -> None:
    run(folder, *generator, "--generator-name", "typescript-fetch", "--output", "typescript-fetch")
    assert seen_by_typescript(folder, "typescript_fetch", live) == SEEN


def test_openapi_generators_client_for_python_compiles_and_works(
    folder: Path, generator: list[str | Path], live: Live
) -> None:
    run(folder, *generator, "--generator-name", "python", "--output", "python")
    run(folder, sys.executable, "-m", "compileall", "-q", "python/openapi_client")
    script, packages = "with_openapi_generator.py", {"PYTHONPATH": "packages:python"}
    assert json.loads(run(folder, sys.executable, script, **packages, **where_and_who(live))) == SEEN
