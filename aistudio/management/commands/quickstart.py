"""From nothing to a running server: what `make run` calls."""

import json
from contextlib import suppress
from socket import socket

import uvicorn
from django.conf import settings
from django.core.management import call_command

from aistudio.application import run_in_database_thread
from aistudio.management.commands.demo import make_demo
from aistudio.management.commands.runserver import (
    APPLICATION,
    base_url,
    check_database,
    server_options,
)
from chats.models import Chat
from core.audit.recording import recording
from core.characters import escape_controls
from core.management.output import SafeCommand
from groups.models import ApiToken, Group, User
from groups.sign_in import active_administrators

TOKEN_NAME = "make run"  # noqa: S105


class Command(SafeCommand):
    help = "Migrates, fills an empty database with the demo, serves, and says how to get in. For trying out."

    def handle(self, *args: object, **options: object) -> None:
        check_database()
        call_command("migrate", verbosity=0)
        _, password = (None, None) if User.objects.exists() else make_demo()
        with suppress(KeyboardInterrupt):
            WelcomingServer(password, settings.HOST, settings.PORT).run()


class WelcomingServer(uvicorn.Server):
    """Prints how to get in once it listens, so that a request that is pasted finds the server."""

    def __init__(self, password: str | None, host: str, port: int) -> None:
        super().__init__(uvicorn.Config(APPLICATION, **server_options(host, port)))
        self.url, self.password = base_url(host, port), password

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            await run_in_database_thread(lambda: print(welcome(self.url, self.password), flush=True))


def welcome(url: str, new_password: str | None) -> str:
    """What `make run` prints: the address, a sign-in, a new token, a request to paste."""
    admin = active_administrators().first()
    if admin is None:
        return f"AI Studio  {url}\nIt has no active administrator; manage.py createsuperuser makes one."
    with recording():
        ApiToken.objects.filter(user=admin, name=TOKEN_NAME).delete()
        _, key = ApiToken.issue(admin, name=TOKEN_NAME)
    known = new_password or settings.DEMO_PASSWORD
    password = known if known and admin.check_password(known) else "the one that was set"
    lines = [
        f"AI Studio  {url}",
        f"Admin      {url}/admin/  {escape_controls(admin.email)}  password: {password}",
        f"API        {url}/api/v1/docs",
        f"Token      {key}",
    ]
    if chat := Chat.objects.order_by("pk").first():
        lines += ["", "Create a chat:", "", curl(url, key, chat)]
    return "\n" + "\n".join(lines) + "\n"


def curl(url: str, key: str, like: Chat) -> str:
    """A command that creates a chat with the LLM, settings and first group of an existing one."""
    attributes = {
        "name": "My first chat",
        "llm_id": like.llm_id,
        "llm_settings_id": like.llm_settings_id,
        "group_ids": list(Group.objects.filter(chats=like).values_list("pk", flat=True)[:1]),
    }
    body = json.dumps({"data": {"type": "chats", "attributes": attributes}})
    return (
        f"curl -i {url}/api/v1/chats -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"
    )
