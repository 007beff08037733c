"""What `deploy/` describes, run here: the unit's commands on PostgreSQL, and nginx with a certificate before them."""

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from configparser import RawConfigParser
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import ROOT, Server, Variables, environment, free_port, manage, running
from tests.talking import FIRST_STEPS, TIMEOUT, Event, bearer, new_database, parsed

DEPLOY = ROOT / "deploy"
PYTHON = "/opt/aistudio/.venv/bin/python"
NAME = "studio.example.com"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
START_TIMEOUT = 120  # seconds
HTTP_BLOCK = """
daemon off;
user {user};
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Unit(RawConfigParser):
    """A systemd unit, in which a name may stand more than once: its values are lines of one."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, delimiters="=", comment_prefixes="#")
        self.optionxform = str  # type: ignore[assignment]
        text = (DEPLOY / name).read_text().replace("ExecStartPre", "ExecStartPre_1", 1)
        self.read_string(text)

    def commands(self) -> list[list[str]]:
        """The arguments of what it has run by manage.py, in order."""
        lines = [self["Service"][name] for name in ("ExecStartPre_1", "ExecStartPre", "ExecStart")]
        assert all(line.startswith(f"{PYTHON} manage.py ") for line in lines)
        return [line.split()[2:] for line in lines]


def variables_of_file() -> Variables:
    """What `deploy/aistudio.env` sets, without what is to be filled in."""
    lines = [line for line in (DEPLOY / "aistudio.env").read_text().splitlines() if line and not line.startswith("#")]
    values = dict(line.split("=", 1) for line in lines)
    assert [name for name, value in values.items() if not value] == ["SECRET_KEY", "FIELD_KEYS"]
    return {name: value for name, value in values.items() if value}


@dataclass(frozen=True)
class Production:
    """It runs: `port` is the server's own, which it is called at as a proxy does."""

    folder: Path
    variables: Variables
    key: str
    port: int
    server: Server

    @property
    def direct(self) -> httpx.Client:
        return client(self.key, f"http://127.0.0.1:{self.port}", {"X-Forwarded-Proto": "https"})

    def workers(self) -> set[int]:
        """The processes that serve now, and those that are still about to end."""
        listed = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.server.process.pid)], capture_output=True, text=True
        )
        return {int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line}

    @property
    def log(self) -> str:
        return self.server.log.read_text()


def client(key: str, url: str, headers: Variables, verify: ssl.SSLContext | bool = True) -> httpx.Client:
    headers = {"Host": NAME, **(bearer(key) if key else {}), **headers}
    return httpx.Client(base_url=url, headers=headers, verify=verify, trust_env=False, timeout=TIMEOUT)


@contextmanager
def in_production(folder: Path, database_url: str, **changes: str) -> Iterator[Production]:
    """Serve by the unit's commands, with the settings of its file, on this database."""
    port = free_port()
    variables = environment(folder, HTTPS="1", PRIVATE_NETWORKS="1") | variables_of_file()
    variables |= {"DATABASE_URL": database_url, "PORT": str(port), **changes}
    *before, serve = Unit("aistudio.service").commands()
    calls = [f"call_command(*{command})\n" for command in before]  # of one process, which saves seconds
    steps = "from django.core.management import call_command\n" + "".join(calls) + FIRST_STEPS
    key = manage(variables, "shell", "--no-imports", "--command", steps).split()[-1]
    with running(variables, folder / "server.log", *serve) as server:
        production = Production(folder, variables, key, port, server)
        with production.direct as http:
            server.wait_until(lambda: is_up(http))
        yield production


def is_up(http: httpx.Client) -> bool:
    try:
        return http.get("/health").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def production(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with in_production(tmp_path_factory.mktemp("production"), new_database(postgres)) as production:
        yield production
    assert "Traceback" not in production.log, production.log


@dataclass(frozen=True)
class Proxy:
    """nginx as `deploy/nginx.conf` configures it, but for ports and files."""

    plain: int
    port: int
    certificate: Path

    def client(self, key: str = "", **headers: str) -> httpx.Client:
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        return client(key, f"https://localhost:{self.port}", headers, trusted)


@pytest.fixture(scope="session")
def nginx(production: Production) -> Iterator[Proxy]:
    if NGINX is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed.")
    folder = production.folder
    proxy = Proxy(free_port(), free_port(), folder / "fullchain.pem")
    make_certificate(proxy.certificate, folder / "privkey.pem")
    site = replaced(
        (DEPLOY / "nginx.conf").read_text(),
        ("listen 80;", f"listen 127.0.0.1:{proxy.plain};"),
        ("listen 443 ", f"listen 127.0.0.1:{proxy.port} "),
        ("/etc/ssl/aistudio/", f"{folder}/"),
        ("127.0.0.1:8080", f"127.0.0.1:{production.port}"),
    )
    (folder / "site.conf").write_text(site)
    user = "root" if os.geteuid() == 0 else "nobody"  # which counts for root alone
    (folder / "nginx.conf").write_text(HTTP_BLOCK.format(folder=folder, user=user))
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    with subprocess.Popen(command) as process:
        try:
            with proxy.client() as http:
                wait_for(http, process, folder / "nginx.log")
            yield proxy
        finally:
            process.terminate()


def replaced(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, f"The file no longer says {old}"
        text = text.replace(old, new)
    return text


def make_certificate(certificate: Path, key: Path) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},DNS:localhost"]
    subprocess.run([*command, "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True)


def wait_for(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not is_up(http):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def events_of(http: httpx.Client, method: str, path: str, body: Any = None, **headers: str) -> Iterator[Event]:
    """The events of a stream; closing it closes the connection."""
    headers = {"Accept": "text/event-stream", **headers}
    with http.stream(method, f"/api/v1{path}", json=body, headers=headers) as response:
        assert response.status_code in (200, 204), (response.status_code, response.read())
        with closing(response.iter_bytes()) as chunks:
            yield from parsed(chunks)


def python(arguments: Sequence[str]) -> list[str]:
    """The command with the Python that runs the tests."""
    assert arguments[0] == "python"
    return [sys.executable, *arguments[1:]]
