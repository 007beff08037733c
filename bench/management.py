"""Measures the management API, one server process per size, and prints what it found as Markdown.

    .venv/bin/python bench/management.py [--sizes 100,10000,20000,100000] [--databases sqlite,postgres] [--quick]

See bench/README.md for what is measured, and how.
"""

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.databases import Missing, postgres, sqlite  # noqa: E402  (found from the root)
from bench.requests import Place, Request, requests_of  # noqa: E402
from bench.servers import environment, processor_seconds, yardstick  # noqa: E402
from bench.servers import server as a_server  # noqa: E402

DATABASES = {"sqlite": sqlite, "postgres": postgres}
FILL_TIMEOUT, ANSWER_TIMEOUT = 900, 30  # seconds
TYPICAL = 20_000  # chats of the goals for processor time
GOALS = {"create": 6.0, "read": 3.0, "list 60": 3.0}  # ms of processor time per call
FIRST_PAGE_GOAL = 1.3  # p50 of the first page in the largest database, in units of that in the smallest
BARE_GOAL = 3.0  # a read, in units of the bare view


class Amount(NamedTuple):
    rounds: int
    slice: int  # requests, one after the other, of one kind to one server in one round
    crowd: int  # requests of one kind to one server from CONNECTIONS at once


CONNECTIONS = 8
USUAL = Amount(rounds=6, slice=40, crowd=160)
QUICK = Amount(rounds=2, slice=20, crowd=40)


@dataclass
class Result:
    """What was measured of one kind of request at one server."""

    latencies: list[float] = field(default_factory=list)  # seconds
    processor: float = 0.0  # seconds, of the server
    per_second: float = 0.0

    @property
    def p50(self) -> float:
        return statistics.median(self.latencies) * 1000

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98] * 1000

    @property
    def cpu(self) -> float:
        """Milliseconds of processor time for a request."""
        return self.processor / len(self.latencies) * 1000


class Served(NamedTuple):
    """A server that is up, on a filled database."""

    size: int
    port: int
    pid: int
    requests: dict[str, Request]
    statements: dict[str, int]


Results = dict[tuple[int, str], Result]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the management API; see bench/README.md.")
    parser.add_argument("--sizes", default=f"100,10000,{TYPICAL},100000", help="numbers of chats (%(default)s)")
    parser.add_argument("--databases", default=",".join(DATABASES), help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="fewer requests: a look, not a measurement")
    options = parser.parse_args()
    sizes = sorted({int(size) for size in options.sizes.split(",")})
    for database in options.databases.split(","):
        print(f"\n## {database}\n", flush=True)
        try:
            measure(database, sizes, QUICK if options.quick else USUAL)
        except Missing as reason:
            print(f"Skipped: {reason}.")


def measure(database: str, sizes: list[int], amount: Amount) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aistudio-bench-")))
        url_of = stack.enter_context(DATABASES[database](folder))
        servers = []
        for size in sizes:
            print(f"filling {size:,} chats", file=sys.stderr)
            variables = environment(url_of(f"chats{size}"))
            servers.append(stack.enter_context(serving(size, variables, folder / f"{size}.log")))
        results = ask(servers, amount)
        print(f"A loop of a million additions takes this machine {yardstick():.1f} ms of processor time.\n")
        report(servers, results)
        judge(sizes, results)


# the servers


@contextmanager
def serving(size: int, variables: dict[str, str], log: Path) -> Iterator[Served]:
    """Fill the database, and serve it from one process as `manage.py runserver` does."""
    command = [sys.executable, "-m", "bench.filling", str(size)]
    filled = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=FILL_TIMEOUT)
    if filled.returncode:
        raise SystemExit(f"Filling failed:\n{filled.stderr}")
    about = json.loads(filled.stdout)
    with a_server(variables, log) as (port, pid):
        yield Served(size, port, pid, requests_of(Place(**about["place"])), about["statements"])


# the requests


def ask(servers: list[Served], amount: Amount) -> Results:
    """Ask each server everything, in turn and back; what is created comes last, for it makes the databases grow."""
    results: Results = defaultdict(Result)
    kinds = list(servers[0].requests)
    reads = [(server, kind) for kind in kinds if kind != "create" for server in servers]
    writes = [(server, "create") for server in servers]
    for targets in (reads, writes):
        for server, kind in targets:
            ask_in_turn(server, kind, max(5, amount.slice // 5), Result())  # warm
        for number in range(amount.rounds):
            print(f"round {number + 1} of {amount.rounds}", file=sys.stderr)
            for server, kind in targets if number % 2 == 0 else reversed(targets):
                ask_in_turn(server, kind, amount.slice, results[server.size, kind])
        for server, kind in targets:
            results[server.size, kind].per_second = ask_at_once(server, kind, amount.crowd)
    return results


def ask_in_turn(server: Served, kind: str, number: int, result: Result) -> None:
    """One request after the other over one connection."""
    used = processor_seconds(server.pid)
    result.latencies += latencies(server, kind, number)
    result.processor += processor_seconds(server.pid) - used


def ask_at_once(server: Served, kind: str, number: int) -> float:
    """Requests per second over several connections."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        begun = time.perf_counter()
        each = number // CONNECTIONS
        list(pool.map(lambda _: latencies(server, kind, each), range(CONNECTIONS)))
        return each * CONNECTIONS / (time.perf_counter() - begun)


def latencies(server: Served, kind: str, number: int) -> list[float]:
    request, taken = server.requests[kind], []
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_TIMEOUT)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(number):
        begun = time.perf_counter()
        connection.request(request.method, request.path, request.body or None, request.headers)
        response = connection.getresponse()
        content = response.read()
        taken.append(time.perf_counter() - begun)
        if response.status not in (200, 201):
            raise SystemExit(f"{kind} at {server.size} chats: {response.status} {content[:300]!r}")
    connection.close()
    return taken


# the report


def report(servers: list[Served], results: Results) -> None:
    first = servers[0].size
    print("| request | chats | requests/s | p50 ms | p99 ms | statements | processor ms | p50 to that at", end=" ")
    print(f"{first:,} |\n|---|--:|--:|--:|--:|--:|--:|--:|")
    for kind in servers[0].requests:
        for server in servers:
            one = results[server.size, kind]
            cells: list[Any] = [kind, f"{server.size:,}", f"{one.per_second:.0f}", f"{one.p50:.2f}", f"{one.p99:.2f}"]
            cells += [server.statements[kind], f"{one.cpu:.2f}", f"{one.p50 / results[first, kind].p50:.2f}"]
            print(f"| {' | '.join(map(str, cells))} |")


def judge(sizes: list[int], results: Results) -> None:
    """Say which goals are met; noise decides close calls, so nothing fails."""
    first, last = sizes[0], sizes[-1]
    typical = min(sizes, key=lambda size: abs(size - TYPICAL))
    print()
    for kind, whose in (("list 50", "administrator's"), ("list 50, member", "member's")):
        ratio = results[last, kind].p50 / results[first, kind].p50
        goal = f" (at most {FIRST_PAGE_GOAL}: {said(ratio <= FIRST_PAGE_GOAL)})" if kind == "list 50" else ""
        print(f"- The {whose} first page at {last:,} chats takes {ratio:.2f} times that at {first:,}{goal}.")
    whole, bare = results[typical, "read"], results[typical, "read, bare"]
    ratio = whole.p50 / bare.p50
    print(
        f"- A read takes {ratio:.2f} times the bare view (at most {BARE_GOAL:g}: {said(ratio <= BARE_GOAL)}); "
        f"{whole.cpu / bare.cpu:.2f} times its processor time. At {typical:,} chats."
    )
    for kind, goal in GOALS.items():
        used = results[typical, kind].cpu
        aim = "and half of that" if used <= goal / 2 else "not half of that"
        verdict = f"{said(used <= goal)}, {aim}" if used <= goal else said(False)
        print(f"- {kind}: {used:.2f} ms of processor time at {typical:,} chats (at most {goal:g}: {verdict}).")


def said(met: bool) -> str:
    return "met" if met else "NOT met"


if __name__ == "__main__":
    main()
