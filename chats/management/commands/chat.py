from argparse import ArgumentParser, BooleanOptionalAction

from django.core.management.base import CommandError
from django.db import DatabaseError

from chats.terminal import dialogue
from chats.terminal.repl import database_problem
from chats.terminal.session import INTERRUPTED_BY_KEY, command_error
from core.management.arguments import utf_8
from core.management.output import SafeCommand
from groups.models import User
from groups.sign_in import active_administrators


class Command(SafeCommand):
    help = (
        "Talks in a chat, here in the terminal. If standard input or output is redirected, asks the input as one "
        "question, writes the answer as plain text, and exits with 0 if the answer is complete."
    )

    requires_system_checks = []  # the server runs them; here a person waits

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("chat", type=utf_8, nargs="?", help="its name or number (default: the only chat, or ask)")
        parser.add_argument(
            "--as",
            dest="email",
            type=utf_8,
            metavar="EMAIL",
            help="the user to talk as (default: the only administrator)",
        )
        parser.add_argument(
            "--resume",
            action=BooleanOptionalAction,
            help="continue the last conversation (default: at a terminal, but not if redirected)",
        )

    def handle(
        self, *args: object, chat: str | None, email: str | None, resume: bool | None, **options: object
    ) -> None:
        try:
            dialogue.run(find_user(email), chat, resume=resume)
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=INTERRUPTED_BY_KEY) from None
        except DatabaseError as error:
            raise command_error(database_problem(error)) from None


def find_user(email: str | None) -> User:
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
