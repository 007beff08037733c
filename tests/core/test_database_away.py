"""PostgreSQL restarts, or is away for a while: no request meets a dead connection, and pages say what is the matter."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.server.asgi_handler import THREADS
from tests.forms import signed_in
from tests.live import free_port
from tests.postgres import binary, folder_of, make, running_cluster, unprivileged
from tests.talking import HTTP, Studio, bearer, new_database, opened, until


@dataclass
class Cluster:
    """One that the tests stop and start, at one port."""

    folder: Path
    identity: dict[str, Any]
    port: int = field(default_factory=free_port)
    running: AbstractContextManager[str] | None = None

    def start(self) -> str:
        self.running = running_cluster(str(binary("postgres")), self.folder, self.identity, self.port)
        return self.running.__enter__()

    def stop(self) -> None:
        if self.running:
            self.running.__exit__(None, None, None)
        self.running = None


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    if (initdb := binary("initdb")) is None:
        pytest.skip("There is no PostgreSQL server.")
    identity = unprivileged()
    with folder_of(identity) as folder:
        make(initdb, folder, identity)
        cluster = Cluster(folder, identity)
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture
def studio(cluster: Cluster, tmp_path: Path) -> Iterator[Studio]:
    url = new_database(f"postgres://tests@127.0.0.1:{cluster.port}/postgres")
    with opened(tmp_path, servers=1, database_url=url) as studio:
        yield studio


def statuses(studio: Studio, browser: httpx.Client, count: int) -> list[int]:
    """Of that many requests to the API and for a page, one after the other."""
    urls = [f"{studio.urls[0]}/api/v1/groups", "/profile"]
    return [browser.get(url, headers=bearer(studio.key)).status_code for _ in range(count) for url in urls]


def test_after_a_restart_no_request_meets_a_dead_connection(cluster: Cluster, studio: Studio) -> None:
    with signed_in(studio) as browser, ThreadPoolExecutor(THREADS) as threads:
        for round in range(2):
            # at once, so that each of the server's threads has had a connection, which the pool keeps
            many = [threads.submit(statuses, studio, browser, 5) for _ in range(THREADS)]
            assert {status for each in many for status in each.result()} == {200}
            cluster.stop()
            cluster.start()
            assert set(statuses(studio, browser, 15)) == {200}, round


def test_a_request_waits_for_a_database_that_restarts(cluster: Cluster, studio: Studio) -> None:
    with ThreadPoolExecutor(1) as threads:
        cluster.stop()
        waiting = threads.submit(studio.send, "GET", "/groups")
        until(lambda: "error connecting" in studio.log, 30)
        cluster.start()
        assert waiting.result().status_code == 200


@pytest.mark.slow  # one request waits as long as the server is patient
def test_while_the_database_is_away_everything_says_so(cluster: Cluster, studio: Studio) -> None:
    with signed_in(studio) as browser:
        cluster.stop()
        for path in ("/", "/profile", "/admin/", "/admin/groups/user/"):
            page = browser.get(path)
            assert (page.status_code, page.headers["retry-after"]) == (503, "5")
            assert "The database cannot be reached" in page.text
            assert "core/page.css" in page.text
        form = {"username": "bob@example.com", "password": "x", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post("/sign-in", data=form).status_code == 503
        by_session, by_token = browser.get("/api/v1/groups"), studio.send("GET", "/groups")
        for answer in (by_session, by_token):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["errors"][0]["code"] == "unavailable"
        assert HTTP.get(f"{studio.urls[0]}/health/live").status_code == 200
        assert HTTP.get(f"{studio.urls[0]}/health/ready").status_code == 503
        cluster.start()
        assert set(statuses(studio, browser, 5)) == {200}
