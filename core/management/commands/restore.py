from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

from core.audit import recording
from core.database.backup import BackupContent, restore
from core.database.backup_file import Damaged, open_backup
from core.database.connections import Unsuitable, describe_database
from core.database.encryption import fingerprint
from core.database.table_dump import Unfit, first_line
from core.management.output import SafeCommand


class Command(SafeCommand):
    help = "Replaces all that is in the database by a backup; all of it or nothing. See docs/backup.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="do not ask")

    def handle(self, *args: object, file: Path, interactive: bool, **options: object) -> None:
        config = settings.DATABASES["default"]
        try:
            with open_backup(file) as archive:
                content = BackupContent.of(archive)
                self.describe(content)
                if interactive and not confirm(describe_database(config)):
                    raise CommandError("Nothing was changed.")
                restore(config, content, self.say)
        except (Damaged, Unfit, Unsuitable) as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Nothing was changed.") from None
        except OSError as error:
            raise CommandError(f"The backup cannot be restored: {error.strerror}. Nothing was changed.") from None
        except DatabaseError as error:
            raise CommandError(f"The database refused it: {first_line(error)}. Nothing was changed.") from None
        made_at, version = content.archive.manifest["made_at"], content.archive.manifest["version"]
        recording.record(recording.RESTORED, recording.DATABASE, detail=f"the backup of {made_at}, version {version}")
        self.say("The backup is restored. Everyone must sign in again; tokens are those of the backup.")

    def describe(self, content: BackupContent) -> None:
        """Check the whole backup, then print what is in it. Raises Damaged."""
        unreadable, manifest = content.check(), content.archive.manifest
        rows = sum(map(content.count, content.tables))
        self.say(f"The backup is whole: {rows:,} rows of {manifest['made_at']}, version {manifest['version']}.")
        present = {fingerprint(key) for key in settings.FIELD_KEYS}
        if missing := [key for key in manifest["field_keys"] if key not in present]:
            self.say(f"It was made with keys that FIELD_KEYS lacks: {', '.join(missing)} (fingerprints).")
        if unreadable:
            self.say(
                f"FIELD_KEYS cannot read {unreadable:,} of its secrets. They are restored as they are: "
                "add the missing key, or enter these secrets again."
            )


def confirm(database: str) -> bool:
    """Ask the person at the terminal whether the database may be replaced; raises CommandError if not."""
    try:
        return input(f"This replaces all that is in {database}. Stop the server first. Go on? (yes/no) ") == "yes"
    except EOFError:
        raise CommandError("There is nobody to ask, so nothing was changed. --noinput does not ask.") from None
