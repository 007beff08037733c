from django.core.management.base import CommandError

from core.database.key_rotation import rotate_keys
from core.management.output import SafeCommand


class Command(SafeCommand):
    help = "Encrypts every stored secret with the first key of FIELD_KEYS, so that the other keys can be removed."

    def handle(self, *args: object, **options: object) -> None:
        tally = rotate_keys(self.say)
        readable = tally.secrets - len(tally.unreadable)
        self.say(f"{readable:,} secrets are under the first key, {tally.changed:,} of them since now.")
        if tally.unreadable:
            raise CommandError(
                f"{len(tally.unreadable):,} cannot be read with these FIELD_KEYS and are left as they are:\n"
                + "\n".join(tally.unreadable)
            )
