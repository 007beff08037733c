from argparse import ArgumentParser

from django.core.management.base import CommandError

from chats.access import access_summary, explain_access
from chats.models import Chat
from core.database.casefold import fold
from core.management.arguments import utf_8
from core.management.output import SafeCommand
from groups.models import User


class Command(SafeCommand):
    help = (
        "Says whether someone may use a chat, and through which group, or what is missing. Without a chat, lists the "
        "chats that they may use."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", type=utf_8)
        parser.add_argument("chat", type=utf_8, nargs="?", help="its name or id")

    def handle(self, *args: object, email: str, chat: str | None, **options: object) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist:
            raise CommandError(f"There is no user with the e-mail {email}.") from None
        if chat is None:
            self.say(access_summary(user))
            return
        chats = Chat.objects.filter(name_folded=fold(chat))
        if not chats and chat.isdecimal():
            chats = Chat.objects.filter(pk=int(chat))
        if not chats:
            raise CommandError(f"There is no chat with the name or id {chat}.")
        for each in chats:
            explanation = explain_access(user=user, chat=each)
            verdict = "yes" if explanation.allowed else "no"
            self.say(f"{each} (chat {each.pk}): {verdict}. {explanation.detail}")
