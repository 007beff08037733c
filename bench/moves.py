"""Counts the moves of a request: how often it passes from one of our modules into another.

    .venv/bin/python bench/moves.py [--list] [--checkout FOLDER]

Our functions, in the order in which they are called, give a sequence of modules; each change in it is a move, whether
we call the function or a framework does. A return is no move. Counted is the thread that answers the request, from the
ASGI handler on, in a warm request; what the event loop does meanwhile is not. Everything runs in this process, on a
scratch SQLite database. Commit 60d45d9 makes 108 moves for `POST /chats` and 64 for `POST messages`.
"""

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType
from typing import NamedTuple

OURS = ("aistudio", "gateway", "chats", "tools", "sources", "usage", "llms", "filters", "catalogues", "groups", "core")
WARM_UP = 3  # requests of a kind before the one that is counted
THREADS = "request-"  # how the names of the threads that answer requests begin


class Call(NamedTuple):
    module: str
    function: str


def moves_of(calls: list[Call]) -> list[Call]:
    """The calls with which the request passes into another module."""
    return [call for before, call in pairwise(calls) if before.module != call.module]


class Counter:
    """Collects our functions as the thread that answers a request calls them, while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self.calls: list[Call] = []

    def start(self) -> None:
        """Must be called before the threads that answer requests begin."""
        threading.setprofile(self.profile)

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        if self.is_on and event == "call" and threading.current_thread().name.startswith(THREADS):
            module = str(frame.f_globals.get("__name__", ""))
            if module.partition(".")[0] in OURS:
                self.calls.append(Call(module, frame.f_code.co_qualname))


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


def prepare() -> dict[str, Callable[[], Request]]:
    """Fill the scratch database; returns for each kind of request what makes the next one."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)

    from chats.models import Chat, Session
    from groups.models import ApiToken, Group, User
    from llms.models import LLM, LLMSettings

    administrator = User.objects.create_superuser("alice@example.com")
    token = ApiToken.issue(administrator, name="moves")[1]
    group = Group.objects.create(name="Team")
    llm = LLM.objects.create(name="Demo", vendor="demo", default_model="demo")
    settings = LLMSettings.objects.create(model_name="demo")
    chats = [Chat.objects.create(name=f"Chat {number}", llm=llm, llm_settings=settings) for number in range(5)]
    for chat in chats:
        chat.groups.add(group)

    def headers(accept: str) -> dict[str, str]:
        return {
            "host": "localhost",
            "cookie": "theme=dark",  # commit 60d45d9 answers a question without a cookie past Django
            "authorization": f"Bearer {token}",
            "accept": accept,
            "content-type": "application/json",
        }

    def new_chat() -> Request:
        attributes = {"name": "New", "llm_id": llm.pk, "llm_settings_id": settings.pk, "group_ids": [group.pk]}
        body = json.dumps({"data": {"type": "chats", "attributes": attributes}}).encode()
        return Request("POST", "/api/v1/chats", headers("application/json"), body)

    def new_message() -> Request:
        session = Session.objects.create(user=administrator, chat=chats[0]).uuid
        body = json.dumps({"data": {"type": "messages", "attributes": {"text": "Hello"}}}).encode()
        return Request("POST", f"/api/v1/sessions/{session}/messages", headers("text/event-stream"), body)

    def list_chats() -> Request:
        return Request("GET", "/api/v1/chats", headers("application/json"))

    return {"POST /chats": new_chat, "POST messages": new_message, "GET /chats": list_chats}


Scope = dict[str, object]
Message = dict[str, object]
Application = Callable[..., Coroutine[object, object, None]]


async def answer(application: Application, request: Request) -> int:
    """Ask the application as a server would; returns the status of the answer, which is read to its end."""
    status, sent, done = 0, False, asyncio.Event()

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await done.wait()
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if isinstance(message.get("status"), int):
            status = int(str(message["status"]))
        elif not message.get("more_body"):
            done.set()

    names = {**request.headers, "content-length": str(len(request.body))}
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in names.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
    await application(scope, receive, send)
    return status


async def count(kinds: dict[str, Callable[[], Request]], counter: Counter) -> dict[str, list[Call]]:
    """The calls of one warm request of each kind, while the server's own work runs beside it."""
    from aistudio.asgi import application

    started, stopping = asyncio.Event(), asyncio.Event()
    steps = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> Message:
        step = next(steps)
        if started.is_set():
            await stopping.wait()
        return dict(step)

    async def send(message: Message) -> None:
        started.set()

    life = asyncio.ensure_future(application({"type": "lifespan", "state": {}}, receive, send))
    await started.wait()
    found: dict[str, list[Call]] = {}
    for kind, make in kinds.items():
        for number in range(WARM_UP + 1):
            request = await asyncio.to_thread(make)
            counter.calls, counter.is_on = [], number == WARM_UP
            status = await answer(application, request)
            counter.is_on = False
            if status not in (200, 201):
                raise SystemExit(f"{kind} was answered with {status}.")
        found[kind] = counter.calls
    stopping.set()
    with suppress(TimeoutError):
        await asyncio.wait_for(life, 10)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts the moves of a request from module to module.")
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the functions, a line for each module that the request passes through",
    )
    parser.add_argument(
        "--checkout", type=Path, default=Path(__file__).resolve().parent.parent, help="whose modules (%(default)s)"
    )
    options = parser.parse_args()
    sys.path[0] = str(options.checkout.resolve())
    counter = Counter()
    counter.start()
    with tempfile.TemporaryDirectory(prefix="aistudio-moves-") as folder:
        os.environ.update(
            SECRET_KEY="moves-" + "x" * 60,
            FIELD_KEYS=base64.urlsafe_b64encode(b"x" * 32).decode(),
            DATABASE_URL=f"sqlite:///{folder}/moves.sqlite3",
            HTTPS="0",
            ALLOWED_HOSTS="localhost",
            LOG_LEVEL="ERROR",
            DJANGO_SETTINGS_MODULE="aistudio.settings",
        )
        import django

        django.setup()
        by_kind = asyncio.run(count(prepare(), counter))
    for kind, calls in by_kind.items():
        print(f"{kind}: {len(moves_of(calls))} moves among {len({call.module for call in calls})} modules")
        if options.list:
            for module, group in groupby(calls, lambda call: call.module):
                print(f"    {module}: {', '.join(call.function for call in group)}")


if __name__ == "__main__":
    main()
