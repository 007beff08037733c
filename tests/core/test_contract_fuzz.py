"""A fuzzer that reads the contract finds nothing."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live import Live

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "contract"
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture
def contract(live: Live, tmp_path: Path) -> Path:
    """The contract, with an example that can be created: it cannot say itself which LLMs exist."""
    chat = live.get("/chats?sort=id")[0]["attributes"]
    attributes: dict[str, Any] = {name: chat[name] for name in ("llm_id", "llm_settings_id")}
    attributes |= {"name": "Fuzzed", "group_ids": [int(group["id"]) for group in chat["groups"]]}
    document = yaml.safe_load((FOLDER / "create-chat.yaml").read_text())
    body = document["paths"]["/chats"]["post"]["requestBody"]["content"]["application/json"]
    body["example"] = {"data": {"type": "chats", "attributes": attributes}}
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_server_keeps_the_contract_whatever_it_is_sent(live: Live, contract: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [SCHEMATHESIS, "--config-file", FOLDER / "schemathesis.toml", "run", contract]
    command += ["--url", f"{live.url}/api/v1", "--report-har-path", report, "--no-color"]

    done = subprocess.run(
        command,
        cwd=tmp_path,  # it leaves its caches where it runs
        env={"AISTUDIO_TOKEN": live.token, "NO_PROXY": "*", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    with_token, without = answers(report)
    assert without <= {401}  # ... and it was the fuzzer that left it out
    assert with_token[201] >= 3
    assert with_token[400] >= 100
    assert with_token.keys() <= {201, 400, 401, 415}


def answers(report: Path) -> tuple[Counter[int], set[int]]:
    """The statuses of what was posted: with an `Authorization` header, counted, and without."""
    with_token, without = Counter[int](), set[int]()
    for entry in json.loads(report.read_text())["log"]["entries"]:
        request, status = entry["request"], entry["response"]["status"]
        if request["method"] != "POST":
            continue
        if any(header["name"].lower() == "authorization" for header in request["headers"]):
            with_token[status] += 1
        else:
            without.add(status)
    return with_token, without
