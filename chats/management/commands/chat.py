from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from chats.terminal import dialogue
from chats.terminal.session import INTERRUPTED_BY_KEY, refused
from core.management.arguments import utf_8
from groups.models import User
from groups.sign_in import active_administrators


class Command(BaseCommand):
    help = (
        "Talks in a chat, here in the terminal. With standard input or output redirected: asks what is read, writes "
        "the plain answer, and ends with 0 if that is whole."
    )

    requires_system_checks = []  # a person waits, and a server has made them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "chat", type=utf_8, nargs="?", help="its name or number (default: the only one, or one to choose)"
        )
        parser.add_argument(
            "--as", dest="email", type=utf_8, metavar="EMAIL", help="as whom (default: the only administrator)"
        )
        parser.add_argument(
            "--resume",
            action=BooleanOptionalAction,
            help="go on with the last conversation (default: at a terminal, but not if redirected)",
        )

    def handle(self, *args: Any, chat: str | None, email: str | None, resume: bool | None, **options: Any) -> None:
        try:
            dialogue.run(user_of(email), chat, resume=resume)
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=INTERRUPTED_BY_KEY) from None
        except DatabaseError as error:
            raise refused(dialogue.unusable(error)) from None


def user_of(email: str | None) -> User:
    """The active user with this e-mail, or the only active administrator; raises CommandError."""
    if email is None:
        administrators = active_administrators()[:2]
        if len(administrators) != 1:
            few = "There is no active administrator" if not administrators else "There are several administrators"
            raise CommandError(f"{few}; --as EMAIL says as whom to talk.")
        return administrators[0]
    try:
        user: User = User.objects.get_by_natural_key(email)
    except User.DoesNotExist:
        raise CommandError(f"There is no user with the e-mail {email}.") from None
    if not user.is_active:
        raise CommandError(f"{user} is not active; activate the user first.")
    return user
