"""A fuzzer that reads our own description finds nothing: no 500, no undocumented status, no answer of another form."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import ROOT, environment, free_port, is_healthy, manage, running

pytestmark = pytest.mark.slow

FAR_AWAY = 7_777_777_777
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A server of its own, for the fuzzer deletes what it finds: its address and environment."""
    nowhere = f"http://127.0.0.1:{free_port()}"  # for what it makes of LLMs: no vendor is ever asked
    variables = environment(tmp_path, HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere, NO_PROXY="")
    manage(variables, "migrate", "--verbosity", "0")
    manage(variables, "demo")
    address = f"127.0.0.1:{free_port()}"
    with running(variables, tmp_path / "server.log", "runserver", address) as process:
        process.wait_until(lambda: is_healthy(f"http://{address}"))
        yield f"http://{address}", variables


@pytest.mark.parametrize("role", ["administrator", "member"])
def test_the_server_is_as_it_is_described(role: str, server: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    """`make fuzz` adds the phase that walks through all corners of the schema, which takes minutes."""
    url, variables = server
    email = "admin@example.com"
    if role == "member":
        email = "bob@example.com"
        # Group and User are there: the shell imports all models
        code = "Group.objects.get().members.add(User.objects.create_user('bob@example.com'))"
        manage(variables, "shell", "--command", code)
    token = manage(variables, "create_token", email).strip()
    # where the fuzzer does not find it, to delete it and be a stranger from then on
    manage(variables, "shell", "--command", f"ApiToken.objects.update(id={FAR_AWAY})")
    report = tmp_path / "report.json"

    done = subprocess.run(
        [
            SCHEMATHESIS,
            "--config-file",
            ROOT / "schemathesis.toml",
            "run",
            f"{url}/api/v1/schema",
            "--url",
            f"{url}/api/v1",
            "--report-har-path",
            report,
            "--no-color",
            "--phases",
            "fuzzing,stateful" if role == "administrator" else "fuzzing",  # a member makes little to go on with
            "--max-examples",
            "2" if role == "administrator" else "1",  # `make fuzz` takes its time
            "--workers",
            "2",
        ],
        cwd=tmp_path,
        env={"AISTUDIO_TOKEN": token, "NO_PROXY": "*", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    statuses = Counter(entry["response"]["status"] for entry in json.loads(report.read_text())["log"]["entries"])
    assert not [status for status in statuses if status >= 500]
    assert statuses[200] >= 5
    assert statuses[403 if role == "member" else 400] >= 30
    assert "Traceback" not in (tmp_path / "server.log").read_text()
