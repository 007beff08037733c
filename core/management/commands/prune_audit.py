from argparse import ArgumentParser
from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.audit import recording
from core.audit.models import AuditEvent

LONGEST_AGE = 36_500  # days


class Command(BaseCommand):
    help = "Forgets records of the audit that are older than so many days, and records that it did."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=int, metavar="DAYS", required=True, help=f"1 to {LONGEST_AGE}")

    def handle(self, *args: object, older_than: int, **options: object) -> None:
        if not 1 <= older_than <= LONGEST_AGE:
            raise CommandError(f"--older-than must be from 1 to {LONGEST_AGE} days.")
        limit = timezone.now() - timedelta(days=older_than)
        old = AuditEvent._base_manager.filter(created_at__lt=limit)
        with recording.recording():
            deleted = old._raw_delete(old.db)
            recording.record(
                AuditEvent.Action.PRUNED,
                AuditEvent.PRUNED_TYPE,
                detail=f"{deleted} older than {older_than} days, from before {limit:%Y-%m-%dT%H:%M:%SZ}",
            )
        self.stdout.write(f"{deleted} record{'s' * (deleted != 1)} older than {older_than} days deleted.")
