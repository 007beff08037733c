"""Measures streamed answers, side by side with the vendor asked directly, and prints what it found as Markdown.

    .venv/bin/python bench/streaming.py [--tokens 300] [--databases sqlite,postgres] [--quick]

See bench/README.md for what is measured, and how.
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.databases import Missing, postgres, sqlite  # noqa: E402  (found from the root)
from bench.servers import environment, free_port, memory, process, processor_seconds, server, yardstick  # noqa: E402

DATABASES = {"sqlite": sqlite, "postgres": postgres}
ANSWER_TIMEOUT = 300  # seconds
RESUMES = 20
STAMP = re.compile(rb"@([0-9a-f]{13})")
QUESTION = "Explain how the tides work, step by step. " * 20
FILL = """
import json
from django.core.management import call_command
from groups.models import ApiToken, User
from chats.models import Chat
from llms.models import LLM, LLMSettings
call_command("migrate", verbosity=0)
user = User.objects.create_superuser("admin@example.com")
llm = LLM.objects.create(name="Fake", vendor="openai", api_endpoint="{endpoint}")
chats = {{}}
for model in {models}:
    settings = LLMSettings.objects.create(model_name=model)
    chats[model] = Chat.objects.create(name=model, llm=llm, llm_settings=settings).pk
print(json.dumps({{"token": ApiToken.issue(user, name="bench")[1], "chats": chats}}))
"""


class Load(NamedTuple):
    """So many streams at once; each asks so often, one answer after the other, for so many tokens."""

    streams: int
    repeat: int
    tokens: int
    delay: int  # ms between tokens
    first: int = 100  # ms

    @property
    def model(self) -> str:
        return f"fake-{self.tokens}-{self.delay}-{self.first}"


class Place(NamedTuple):
    """Where is asked, and how: a request for each answer."""

    port: int
    pid: int
    requests: Callable[[Load], Awaitable[list[bytes]]]


@dataclass
class Result:
    """What was read of one load."""

    first: list[float] = field(default_factory=list)  # seconds to the first token
    under_way: list[float] = field(default_factory=list)  # seconds from the vendor's sending to our reading
    tokens: int = 0
    complete: int = 0
    answers: int = 0
    seconds: float = 0.0
    processor: float = 0.0

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures streamed answers; see bench/README.md.")
    parser.add_argument("--tokens", type=int, default=300, help="of each answer (%(default)s)")
    parser.add_argument("--databases", default=",".join(DATABASES), help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of each: a look, not a measurement")
    options = parser.parse_args()
    print(f"A loop of a million additions takes this machine {yardstick():.1f} ms of processor time.\n")
    for database in options.databases.split(","):
        print(f"\n## {database}\n", flush=True)
        try:
            measure(database, options.tokens, rounds=1 if options.quick else 3)
        except Missing as reason:
            print(f"Skipped: {reason}.")


def measure(database: str, tokens: int, rounds: int) -> None:
    usual = [Load(streams, 2, tokens, 20) for streams in (50, 200, 500)]
    crowd, long = Load(1000, 1, 60, 100), Load(1, 1, 2000, 1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aistudio-bench-")))
        vendor_port = free_port()
        command = [sys.executable, "bench/fake_vendor.py", str(vendor_port)]
        vendor_pid = stack.enter_context(process(command, environment(""), vendor_port, folder / "vendor.log"))
        variables = environment(stack.enter_context(DATABASES[database](folder))("streams"))
        variables |= {"PRIVATE_NETWORKS": "1", "DJANGO_SETTINGS_MODULE": "aistudio.settings"}
        models = [load.model for load in (*usual, crowd, long)]
        script = FILL.format(endpoint=f"http://127.0.0.1:{vendor_port}/v1", models=models)
        filled = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
            cwd=ROOT, env=variables, capture_output=True, text=True, check=True,
        )  # fmt: skip
        about = json.loads(filled.stdout)
        port, pid = stack.enter_context(server(variables, folder / "server.log"))
        ours = Place(port, pid, lambda load: questions(port, about["token"], about["chats"][load.model], load))
        direct = Place(vendor_port, vendor_pid, lambda load: completions(vendor_port, load))
        uvloop.run(report(direct, ours, usual, crowd, long, rounds))
        assert "Traceback" not in (folder / "server.log").read_text()


# what is asked


async def completions(port: int, load: Load) -> list[bytes]:
    body = {"model": load.model, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    return [post(port, "/v1/chat/completions", body)] * (load.streams * load.repeat)


async def questions(port: int, token: str, chat: int, load: Load) -> list[bytes]:
    """A question in a new session for each answer."""
    headers = f"Authorization: Bearer {token}\r\n"
    new = post(port, "/api/v1/sessions", {"data": {"attributes": {"chat_id": chat}}}, headers)
    made = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(load.streams * load.repeat):
        writer.write(new)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length, head
        made.append(json.loads(await reader.readexactly(int(length[1])))["id"])
    writer.close()
    question = {"data": {"type": "messages", "attributes": {"text": QUESTION}}}
    wanted = headers + "Accept: text/event-stream\r\n"
    return [post(port, f"/api/v1/sessions/{session}/messages", question, wanted) for session in made]


def post(port: int, path: str, document: object, headers: str = "") -> bytes:
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Reading(asyncio.Protocol):
    """Reads one answer: nothing but where its tokens are, so that the reader is not what is measured."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.ended = asyncio.get_running_loop().create_future()
        self.carry = b""
        self.seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> None:
        self.asked = time.monotonic()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data, end = self.carry + data, 0
        for stamp in STAMP.finditer(data):
            end = stamp.end()
            if not self.seen:
                self.result.first.append(now - self.asked)
            self.seen += 1
            self.result.under_way.append(now - int(stamp[1], 16) / 1e6)
        self.carry = data[max(end, len(data) - 40) :]
        if self.carry.endswith(b"0\r\n\r\n") and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def read(place: Place, load: Load) -> Result:
    """Put the load on it; arrivals are spread over a second."""
    requests = await place.requests(load)
    await asyncio.sleep(0.5)
    result, used, begun = Result(), processor_seconds(place.pid), time.monotonic()

    async def one(number: int) -> None:
        await asyncio.sleep(number / load.streams)
        for _ in range(load.repeat):
            transport, reading = await asyncio.get_running_loop().create_connection(
                lambda: Reading(result), "127.0.0.1", place.port
            )
            reading.ask(requests.pop())
            await asyncio.wait_for(reading.ended, ANSWER_TIMEOUT)
            transport.close()
            result.answers += 1
            result.tokens += reading.seen
            result.complete += reading.seen == load.tokens

    await asyncio.gather(*(one(number) for number in range(load.streams)))
    result.seconds = time.monotonic() - begun
    result.processor = processor_seconds(place.pid) - used
    return result


# the report


async def report(direct: Place, ours: Place, loads: list[Load], crowd: Load, long: Load, rounds: int) -> None:
    await read(ours, loads[0]._replace(repeat=1))  # warm
    await crowded(ours, crowd)  # first: who has served more before has memory at hand that this would not count
    print(
        "| streams x tokens/s | tokens/s to direct | complete | first token, added p50 / p99 ms "
        "| under way, added p50 / p99 ms | processor us/token: ours, the vendor's |\n|---|--:|--:|--:|--:|--:|"
    )
    for load in loads:
        pairs = []
        for number in range(rounds):
            turn = [await read(place, load) for place in ((direct, ours) if number % 2 == 0 else (ours, direct))]
            pairs.append(turn if number % 2 == 0 else turn[::-1])
        print(row(load, pairs), flush=True)
    await resumed(ours, long)


def row(load: Load, pairs: list[list[Result]]) -> str:
    def median(of: Callable[[Result, Result], float]) -> float:
        return statistics.median(of(direct, ours) for direct, ours in pairs)

    complete = sum(ours.complete for _, ours in pairs) / sum(ours.answers for _, ours in pairs)
    first = [median(lambda direct, ours, q=q: at(ours.first, q) - at(direct.first, q)) for q in (0.5, 0.99)]  # type: ignore[misc]
    lag = [median(lambda direct, ours, q=q: at(ours.under_way, q) - at(direct.under_way, q)) for q in (0.5, 0.99)]  # type: ignore[misc]
    cells = [
        f"{load.streams} x {1000 // load.delay}, {load.tokens} tokens",
        f"{median(lambda direct, ours: ours.rate / direct.rate):.3f}",
        f"{complete:.1%}",
        " / ".join(f"{seconds * 1000:.1f}" for seconds in first),
        " / ".join(f"{seconds * 1000:.1f}" for seconds in lag),
        ", ".join(f"{median(lambda *both, i=i: both[i].processor / both[i].tokens) * 1e6:.0f}" for i in (1, 0)),  # type: ignore[misc]
    ]
    return f"| {' | '.join(cells)} |"


def at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def crowded(ours: Place, load: Load) -> None:
    """Many open streams at once: whether all are complete, and what memory they take; and what the next take more."""
    before, tops, results = memory(ours.pid), [], []
    for _ in range(2):
        reading, top = asyncio.create_task(read(ours, load)), 0.0
        while not reading.done():
            top = max(top, memory(ours.pid))
            await asyncio.sleep(0.5)
        results.append(await reading)
        tops.append(top)
    first, second = ((top - start) / load.streams for top, start in zip(tops, (before, tops[0]), strict=True))
    complete, answers = sum(result.complete for result in results), sum(result.answers for result in results)
    print(
        f"{load.streams:,} open streams of {1000 // load.delay} tokens/s, twice: {complete:,} of {answers:,} complete; "
        f"{first:.0f} kB for each, which the process keeps for the next: the second time {second:.0f} kB more; "
        f"{results[1].processor / results[1].tokens * 1e6:.0f} us of processor time per token.\n",
        flush=True,
    )


async def resumed(ours: Place, load: Load) -> None:
    """How long it takes to have a finished answer again."""
    asked = await ours.requests(load)
    replay = re.sub(rb"POST (\S+)/messages", rb"GET \1/events", asked[0].partition(b"\r\n\r\n")[0])
    replay = re.sub(rb"Content-\w+: [^\r]+\r\n|\r\nContent-Length: \d+$", b"", replay) + b"\r\n\r\n"
    taken = []
    for request in (asked[0], *[replay] * RESUMES):
        result, begun = Result(), time.monotonic()
        transport, reading = await asyncio.get_running_loop().create_connection(
            lambda result=result: Reading(result),
            "127.0.0.1",
            ours.port,  # type: ignore[misc]
        )
        reading.ask(request)
        await asyncio.wait_for(reading.ended, ANSWER_TIMEOUT)
        transport.close()
        assert reading.seen == load.tokens, reading.seen
        taken.append(time.monotonic() - begun)
    print(f"A finished answer of {load.tokens:,} tokens is resumed in {statistics.median(taken[1:]) * 1000:.0f} ms.")


if __name__ == "__main__":
    main()
