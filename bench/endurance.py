"""Puts mixed load on a server of several workers, one of which is killed again and again, and prints what it saw.

    .venv/bin/python bench/endurance.py [--minutes 30] [--database postgres] [--workers 2] [--people 20]

See bench/README.md for what is done and what must hold.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.databases import postgres, sqlite  # noqa: E402  (found from the root)
from bench.servers import environment, free_port, memory, process  # noqa: E402
from bench.streaming import FILL  # noqa: E402

DATABASES = {"sqlite": sqlite, "postgres": postgres}
KILL_EVERY = 180  # seconds
WARM = 300  # seconds, after which memory is taken as what the server needs
END_TIMEOUT = 60  # seconds in which each answer must have an end, whatever became of its worker
ATTEMPTS = 120  # of a request whose connection is lost, one each half second: a key is leased for 30 s
GOOD, BROKEN = "fake-60-20-50", ("fake-oops", "fake-60-20-50-cut")  # the fake vendor's models; the latter it breaks off
MOST_LOST = 600  # characters, which come within 0.8 s: what a killed worker had shown and not stored yet
QUESTION = {"data": {"type": "messages", "attributes": {"text": "How do the tides work? " * 10}}}
ENDS = {"complete", "stopped", "failed", "interrupted"}
MANAGEMENT = ("list", "read", "create", "change", "delete")


@dataclass
class Seen:
    """What happened."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.faults.append(text)
        print(f"FAULT {text}", file=sys.stderr, flush=True)


@dataclass
class Caller:
    """Who asks over HTTP, and asks again where a worker was killed under the request."""

    http: aiohttp.ClientSession
    url: str
    seen: Seen

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, of 404 and 409 None; a POST is sent again under the key that it had."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" and body else {}
        for _ in range(ATTEMPTS):
            try:
                async with self.http.request(method, self.url + path, json=body, headers=headers) as response:
                    self.seen.counts[f"{response.status // 100}xx"] += 1
                    content = await response.read()
                    if response.status >= 500 and response.status != 503:
                        self.seen.fault(f"{method} {path}: {response.status} {content[:200]!r}")
                    if response.status < 400:
                        return json.loads(content) if content else {}
                    if response.status in (404, 409) and "Retry-After" not in response.headers:
                        return None
            except aiohttp.ClientError:
                self.seen.counts["connections lost"] += 1
            await asyncio.sleep(0.5)
        self.seen.fault(f"{method} {path}: no answer in {ATTEMPTS} attempts")
        return None


async def talk(caller: Caller, chats: dict[str, int], until: float) -> None:
    """Ask and read, as people and bad networks do, and look at what is kept."""
    while time.monotonic() < until:
        model = GOOD if random.random() < 0.9 else random.choice(BROKEN)
        session = await caller.call("POST", "/sessions", {"data": {"attributes": {"chat_id": chats[model]}}})
        if session is None:
            continue
        for _ in range(random.randint(1, 4)):
            await exchange(caller, f"/sessions/{session['id']}", model)
        if random.random() < 0.3:
            await caller.call("DELETE", f"/sessions/{session['id']}")


async def exchange(caller: Caller, session: str, model: str) -> None:
    """One question: its stream is read with losses, or stopped; then what is stored must agree with what was read."""
    reading = Reading(caller, session, stops=random.random() < 0.1, loses=random.random() < 0.3)
    try:
        await asyncio.wait_for(reading.to_end(), END_TIMEOUT + 30)
    except TimeoutError:
        caller.seen.fault(f"{session}: no end of the stream")
        return
    if reading.answer is None:
        return
    deadline = time.monotonic() + END_TIMEOUT
    stored = await caller.call("GET", f"{session}/messages/{reading.answer}")
    while stored and stored["attributes"]["status"] not in ENDS and time.monotonic() < deadline:
        await asyncio.sleep(1)
        stored = await caller.call("GET", f"{session}/messages/{reading.answer}")
    if not stored or stored["attributes"]["status"] not in ENDS:
        caller.seen.fault(f"{session}: the answer has no end")
        return
    status, text = stored["attributes"]["status"], stored["attributes"]["text"]
    caller.seen.counts[status] += 1
    lost = len(reading.text) - len(text) if status == "interrupted" and reading.text.startswith(text) else 0
    if text != reading.text and not 0 < lost <= MOST_LOST:
        caller.seen.fault(f"{session}: {status}, read {len(reading.text)} characters, stored {len(text)}")
    if status == "failed" and model == GOOD:
        caller.seen.fault(f"{session}: failed with {stored['attributes']['error']}")


class Reading:
    """Reads the stream of one question, from event to event."""

    def __init__(self, caller: Caller, session: str, *, stops: bool, loses: bool) -> None:
        self.caller, self.session, self.stops, self.loses = caller, session, stops, loses
        self.text, self.answer, self.last, self.is_done = "", None, "", False

    async def to_end(self) -> None:
        key = str(uuid.uuid4())
        for _ in range(ATTEMPTS):
            try:
                if self.last:
                    request = self.caller.http.get(
                        f"{self.caller.url}{self.session}/events", headers={"Last-Event-ID": self.last}
                    )
                else:
                    headers = {"Accept": "text/event-stream", "Idempotency-Key": key}
                    request = self.caller.http.post(
                        f"{self.caller.url}{self.session}/messages", json=QUESTION, headers=headers
                    )
                async with request as response:
                    self.caller.seen.counts[f"{response.status // 100}xx"] += 1
                    if response.status >= 500 and response.status != 503:
                        self.caller.seen.fault(f"{self.session}: {response.status}")
                    if response.status in (204, 400, 404):  # 400: what was shown last was not stored when it was killed
                        return
                    if response.status == 200:
                        await self.read(response)
            except (aiohttp.ClientError, TimeoutError):
                self.caller.seen.counts["connections lost"] += 1
            if self.is_done:
                return
            await asyncio.sleep(0.5)

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Take in events; some leave in the middle, and some ask that it be stopped."""
        left = random.randint(1, 40) if self.loses else -1
        event: dict[str, str] = {}
        async for line in response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                event[name] = value
                continue
            if "event" not in event:
                continue
            self.take(event["event"], json.loads(event["data"]))
            self.last = event["id"]
            event = {}
            left -= 1
            if left == 0:
                self.caller.seen.counts["readers gone"] += 1
                return
            if self.stops and len(self.text) > 100:
                self.stops = False
                await self.caller.call("POST", f"{self.session}/stop")

    def take(self, name: str, data: dict[str, Any]) -> None:
        if name == "delta":
            self.text += data["text"]
        elif name == "message" and data["role"] == "assistant":
            self.answer = data["id"]
        elif name == "done":
            self.is_done = True


async def manage(caller: Caller, about: dict[str, Any], until: float) -> None:
    """Administer chats: what was created is there, with what was changed, until it is deleted."""
    own: list[int] = []
    attributes = {"llm_id": about["llm"], "llm_settings_id": about["settings"], "group_ids": []}
    while time.monotonic() < until:
        verb = random.choice(MANAGEMENT) if own else "create"
        if verb == "create":
            body = {"data": {"type": "chats", "attributes": {"name": f"Chat {random.random()}", **attributes}}}
            if made := await caller.call("POST", "/chats", body):
                own.append(int(made["id"]))
        elif verb == "list":
            await caller.call("GET", "/chats?page_size=50&sort=-created_at")
        elif verb == "delete":
            await caller.call("DELETE", f"/chats/{own.pop()}")
        else:
            key = random.choice(own)
            changes = {"data": {"attributes": {"description": "x" * random.randint(0, 500)}}}
            if (
                await caller.call(
                    *(("PATCH", f"/chats/{key}", changes) if verb == "change" else ("GET", f"/chats/{key}"))
                )
                is None
            ):
                caller.seen.fault(f"/chats/{key} is gone")
        await asyncio.sleep(random.uniform(0, 0.3))


async def kill_workers(master: int, seen: Seen, every: float, until: float) -> None:
    """Kill a worker now and then, as a machine that has no memory left does."""
    while time.monotonic() + every < until:
        await asyncio.sleep(every)
        os.kill(random.choice(workers_of(master)), signal.SIGKILL)
        seen.counts["workers killed"] += 1


async def weigh(master: int, warm: float, until: float) -> list[float]:
    """The memory of a worker in kB on average: after a while, and at the end."""
    weights = []
    for moment in (time.monotonic() + warm, until):
        await asyncio.sleep(max(0, moment - time.monotonic()))
        pids = workers_of(master)
        weights.append(sum(map(memory, pids)) / max(1, len(pids)))
    return weights


def workers_of(master: int) -> list[int]:
    """The processes that serve; the tracker of resources that Python starts beside them is none."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def endure(port: int, master: int, about: dict[str, Any], options: argparse.Namespace) -> Seen:
    seen, seconds = Seen(), options.minutes * 60
    until = time.monotonic() + seconds
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=45)
    headers = {"Authorization": f"Bearer {about['token']}"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        caller = Caller(http, f"http://127.0.0.1:{port}/api/v1", seen)
        (before, after), *_ = await asyncio.gather(
            weigh(master, min(WARM, seconds / 3), until),
            kill_workers(master, seen, min(KILL_EVERY, seconds / 4), until),
            *(talk(caller, about["chats"], until) for _ in range(options.people)),
            *(manage(caller, about, until) for _ in range(max(1, options.people // 5))),
        )
    print(f"\n{options.minutes:g} minutes, {options.people} people, {options.workers} workers, {options.database}:\n")
    for name, count in sorted(seen.counts.items()):
        print(f"- {name}: {count:,}")
    print(
        f"- memory of a worker: {before / 1024:.0f} MiB at first, {after / 1024:.0f} at the end "
        f"({after / before - 1:+.1%})"
    )
    print(f"- faults: {len(seen.faults)}")
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description="Puts a server to the test of time; see bench/README.md.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--database", choices=DATABASES, default="postgres")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--people", type=int, default=20)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aistudio-bench-")))
        vendor_port, port = free_port(), free_port()
        stack.enter_context(
            process(
                [sys.executable, "bench/fake_vendor.py", str(vendor_port)], environment(""), vendor_port, folder / "v"
            )
        )
        variables = environment(stack.enter_context(DATABASES[options.database](folder))("endurance"))
        variables |= {"PRIVATE_NETWORKS": "1", "DJANGO_SETTINGS_MODULE": "aistudio.settings"}
        script = FILL.format(endpoint=f"http://127.0.0.1:{vendor_port}/v1", models=[GOOD, *BROKEN])
        filled = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
            cwd=ROOT, env=variables, capture_output=True, text=True, check=True,
        )  # fmt: skip
        about = {**json.loads(filled.stdout), "llm": 1, "settings": 1}
        command = [sys.executable, "manage.py", "runserver", f"127.0.0.1:{port}", "--workers", str(options.workers)]
        log = folder / "server.log"
        master = stack.enter_context(process(command, variables, port, log))
        seen = asyncio.run(endure(port, master, about, options))
        if "Traceback" in log.read_text():
            seen.fault("a traceback in the server's log")
            print(log.read_text()[log.read_text().index("Traceback") :][:3000], file=sys.stderr)
    sys.exit(bool(seen.faults))


if __name__ == "__main__":
    main()
