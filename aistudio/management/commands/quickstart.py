"""From nothing to a running server: what `make run` calls."""

import json
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from aistudio.management.commands.demo import make_demo
from aistudio.management.commands.runserver import APPLICATION, base_url, server_options
from chats.models import Chat
from groups.models import ApiToken, Group, User

TOKEN_NAME = "make run"  # noqa: S105


class Command(BaseCommand):
    help = "Migrates, fills an empty database with the demo, serves, and says how to get in. For trying out."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        if not User.objects.exists():
            make_demo()
        words = welcome(base_url(settings.HOST, settings.PORT))
        Server(uvicorn.Config(APPLICATION, **server_options(settings.HOST, settings.PORT)), words).run()


class Server(uvicorn.Server):
    """Says its words once it listens, so that a pasted line finds it."""

    def __init__(self, config: uvicorn.Config, words: str) -> None:
        super().__init__(config)
        self.words = words

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            print(self.words, flush=True)


def welcome(url: str) -> str:
    """How to get in: the address, a sign-in, a token, a request to paste."""
    admin = User.objects.filter(is_admin=True, is_active=True).order_by("pk").first()
    if admin is None:
        return f"AI Studio at {url}\nIt has no active administrator; manage.py createsuperuser makes one."
    ApiToken.objects.filter(user=admin, name=TOKEN_NAME).delete()
    _, key = ApiToken.issue(admin, name=TOKEN_NAME)
    knows = settings.DEMO_PASSWORD and admin.check_password(settings.DEMO_PASSWORD)
    password = settings.DEMO_PASSWORD if knows else "the one that was set"
    lines = [
        f"AI Studio  {url}",
        f"Admin      {url}/admin/  {admin.email}  password: {password}",
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
