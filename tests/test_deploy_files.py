"""What `deploy/` says beside nginx.conf: its files agree with each other, and what they run is what runs here."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.live import ROOT
from tests.production import DEPLOY, Production, Unit, python, variables_of_file

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
# Tenths of what systemd-analyze calls the exposure of a unit; of one without any protection, 96. Five of them are the
# namespaces in which untrusted work has no network.
EXPOSURE = 17


def dockerfile(instruction: str) -> list[str]:
    """The arguments of its last such instruction."""
    found = re.findall(rf"^{instruction} [^\[\n]*(\[.*\])$", DOCKERFILE, re.MULTILINE)
    return json.loads(found[-1])


def test_containers_run_what_the_unit_runs() -> None:
    services = [COMPOSE["services"][name] for name in ("check", "migrate", "aistudio")]
    commands = [service["command"] for service in services]

    assert commands == [["python", "manage.py", *command] for command in Unit("aistudio.service").commands()]
    assert dockerfile("CMD") == commands[-1]
    assert services[1]["depends_on"]["check"] == {"condition": "service_completed_successfully"}
    assert services[2]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_the_image_gets_what_make_serve_gets() -> None:
    install = "-m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt"
    assert install in (ROOT / "Makefile").read_text()
    assert f"\nRUN python {install}\n" in DOCKERFILE.replace(" --no-cache-dir", "")
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {".env", ".git", "data"} <= set(ignored)


def test_nobody_is_killed_before_the_time_to_stop_is_up() -> None:
    needed = 2 * int(variables_of_file()["SHUTDOWN_TIMEOUT"]) + 30
    unit = Unit("aistudio.service")["Service"]
    assert int(unit["TimeoutStopSec"]) >= needed
    assert unit["KillMode"] == "mixed"
    assert int(COMPOSE["services"]["aistudio"]["stop_grace_period"].removesuffix("s")) >= needed


def test_the_health_check_asks_the_server(production: Production) -> None:
    for port, status in ((production.port, 0), (1, 1)):
        command = [part.replace("8080", str(port)) for part in python(dockerfile("HEALTHCHECK"))]
        assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=120).returncode == status


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed.")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("/bin/true")
    for name in ("aistudio.service", "aistudio.socket"):
        text = (DEPLOY / name).read_text().replace("/opt/aistudio/.venv/bin", str(tmp_path))
        text = text.replace("=/opt/aistudio", f"={tmp_path}").replace("User=aistudio", "User=daemon")
        (tmp_path / name).write_text(text.replace("Group=aistudio", "Group=daemon"))
    units = [str(tmp_path / name) for name in ("aistudio.service", "aistudio.socket")]
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=120)
    assert (verified.returncode, verified.stderr) == (0, "")

    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", units[0]]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
