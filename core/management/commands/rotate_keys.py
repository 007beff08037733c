from django.core.management.base import BaseCommand, CommandError

from core.database.key_rotation import rotate_keys


class Command(BaseCommand):
    help = "Encrypts every stored secret with the first key of FIELD_KEYS, so that the other keys can be removed."

    def handle(self, *args: object, **options: object) -> None:
        tally = rotate_keys(self.stdout.write)
        readable = tally.secrets - len(tally.unreadable)
        self.stdout.write(f"{readable:,} secrets are under the first key, {tally.changed:,} of them since now.")
        if tally.unreadable:
            raise CommandError(
                f"{len(tally.unreadable):,} cannot be read with these FIELD_KEYS and are left as they are:\n"
                + "\n".join(tally.unreadable)
            )
