from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from core.audit import recording
from core.database.backup import BackupContent, restore
from core.database.backup_file import Damaged, open_backup
from core.database.connections import Unsuitable, describe_database
from core.database.table_dump import Unfit, first_line


class Command(BaseCommand):
    help = "Puts a backup in the place of all that the database has: all of it or nothing. See docs/backup.md."

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
                restore(config, content, self.stdout.write)
        except (Damaged, Unfit, Unsuitable) as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Nothing was changed.") from None
        except OSError as error:
            raise CommandError(f"It cannot be restored: {error.strerror}. Nothing was changed.") from None
        except DatabaseError as error:
            raise CommandError(f"The database does not let it: {first_line(error)}. Nothing was changed.") from None
        made_at, version = content.archive.manifest["made_at"], content.archive.manifest["version"]
        recording.record(recording.RESTORED, recording.DATABASE, detail=f"the backup of {made_at}, version {version}")
        self.stdout.write("It is restored. Everyone signs in anew; tokens are those of the backup.")

    def describe(self, content: BackupContent) -> None:
        """Say what is in it, once all of it has been read."""
        unreadable, manifest = content.check(), content.archive.manifest
        rows = sum(map(content.count, content.tables))
        self.stdout.write(f"It is whole: {rows:,} rows of {manifest['made_at']}, version {manifest['version']}.")
        if missing := content.missing_keys():
            self.stdout.write(f"It was made with FIELD_KEYS that are not here: {', '.join(missing)} (fingerprints).")
        if unreadable:
            self.stdout.write(
                f"The present FIELD_KEYS cannot read {unreadable:,} of its secrets. They are restored as they are: "
                "add the missing key, or set them anew."
            )


def confirm(database: str) -> bool:
    try:
        return input(f"This replaces all that is in {database}. Stop the server first. Go on? (yes/no) ") == "yes"
    except EOFError:
        raise CommandError("Nobody can be asked. --noinput does not ask. Nothing was changed.") from None
