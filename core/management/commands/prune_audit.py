from argparse import ArgumentParser
from datetime import timedelta

from django.core.management.base import CommandError
from django.utils import timezone

from core.audit import recording
from core.audit.models import AuditEvent
from core.management.output import SafeCommand

LONGEST_AGE = 36_500  # days


class Command(SafeCommand):
    help = "Deletes records of the audit that are older than so many days, and leaves a record of that."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=int, metavar="DAYS", required=True, help=f"1 to {LONGEST_AGE}")

    def handle(self, *args: object, older_than: int, **options: object) -> None:
        if not 1 <= older_than <= LONGEST_AGE:
            raise CommandError(f"--older-than must be from 1 to {LONGEST_AGE} days.")
        limit = timezone.now() - timedelta(days=older_than)
        with recording.recording():
            # AuditEvent.objects refuses to delete; the base manager's queryset is Django's own.
            deleted, _ = AuditEvent._base_manager.filter(created_at__lt=limit).delete()
            recording.record(
                AuditEvent.Action.PRUNED,
                AuditEvent.PRUNED_TYPE,
                detail=f"{deleted} older than {older_than} days, from before {limit:%Y-%m-%dT%H:%M:%SZ}",
            )
        self.say(f"{deleted} record{'s' * (deleted != 1)} older than {older_than} days deleted.")
