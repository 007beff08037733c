from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.utils import timezone

from core.management.arguments import utf_8
from core.management.output import SafeCommand
from groups.models import ApiToken, User

LONGEST_LIFE = 36_500  # days


class Command(SafeCommand):
    help = "Makes an API token for a user and prints it, alone, on standard output. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", type=utf_8, help="of the user who the token acts as")
        parser.add_argument("--name", type=utf_8, default="command line", help="what uses it (default: %(default)s)")
        parser.add_argument("--expires-in-days", type=int, metavar="N", help="never, when left out")

    def handle(self, *args: Any, email: str, name: str, expires_in_days: int | None, **options: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist:
            raise CommandError(f"There is no user with the e-mail {email}.") from None
        if not user.is_active:
            raise CommandError(f"{user.email} is not active, so a token would be refused.")
        try:
            name = ApiToken._meta.get_field("name").clean(name.strip(), None)
        except ValidationError as error:
            raise CommandError(f"--name: {' '.join(error.messages)}") from None
        if expires_in_days is not None and not 1 <= expires_in_days <= LONGEST_LIFE:
            raise CommandError(f"--expires-in-days must be from 1 to {LONGEST_LIFE}.")
        most = settings.TOKEN_MAX_DAYS
        if most and expires_in_days and expires_in_days > most:
            raise CommandError(f"--expires-in-days must be at most {most}, as TOKEN_MAX_DAYS says.")
        expires_at = timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None
        _, key = ApiToken.issue(user, name=name, expires_at=expires_at)
        self.say(key)
