"""A first administrator, group, LLM, settings and chat, to look around with."""

import secrets

from django.conf import settings

from chats.models import Chat
from core.audit.recording import recording
from core.database.casefold import fold
from core.management.output import SafeCommand
from groups.models import Group, User
from llms.models import LLM, LLMSettings

EMAIL = "admin@example.com"
NAME = "Demo"
GROUP = "Everyone"
CHAT = "Welcome"


class Command(SafeCommand):
    help = "Makes what is missing of the demo: an administrator, a group, an LLM of vendor demo, settings, a chat."

    def handle(self, *args: object, **options: object) -> None:
        user, password = make_demo()
        if password:
            self.say(f"Administrator {user.email}, password {password}")
        self.say(f"The demo is there: group {GROUP}, LLM {NAME}, chat {CHAT}.")


@recording()
def make_demo() -> tuple[User, str | None]:
    """Make what is missing; returns the administrator, and their password if they are new (DEMO_PASSWORD or random)."""
    password = None
    user = User.objects.filter(email_folded=fold(EMAIL)).first()
    if user is None:
        password = settings.DEMO_PASSWORD or secrets.token_urlsafe(12)
        user = User.objects.create_superuser(EMAIL, password, name="Admin")
    group = Group.objects.filter(name_folded=fold(GROUP)).first() or Group.objects.create(name=GROUP)
    group.members.add(user)
    llm = LLM.objects.filter(name_folded=fold(NAME)).first() or LLM.objects.create(
        name=NAME, vendor="demo", default_model="demo", short_description="Answers from what it is told; costs nothing."
    )
    chat = Chat.objects.filter(name_folded=fold(CHAT), llm=llm).first()
    if chat is None:
        call_settings = LLMSettings.objects.create(model_name="demo")
        chat = Chat.objects.create(name=CHAT, description="A chat to try.", llm=llm, llm_settings=call_settings)
        chat.groups.add(group)
    return user, password
