"""`check` also tells that there is a `.env.local`, which other commands need not repeat."""

from django.conf import settings
from django.core.management.commands import check


class Command(check.Command):
    def handle(self, *app_labels: list[str], **options: object) -> None:
        if settings.LOCAL_ENV_FILE.exists():
            use = "read; make serve ignores it" if settings.LOCAL_ENV else "ignored, because LOCAL_ENV=0"
            self.stdout.write(f"There is a .env.local. It is {use}.")
        super().handle(*app_labels, **options)
