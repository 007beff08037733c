from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from core.database.backup import NOTE, backup
from core.database.backup_file import Damaged
from core.database.connections import Unsuitable
from core.database.table_dump import first_line


class Command(BaseCommand):
    help = "Writes the whole database to one file, as it is at one moment; the server may go on. See docs/backup.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: object, file: Path, **options: object) -> None:
        try:
            rows = backup(settings.DATABASES["default"], file, self.stdout.write)
        except (Damaged, Unsuitable) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
        except DatabaseError as error:
            raise CommandError(f"The database refused it: {first_line(error)}.") from None
        self.stdout.write(f"{rows:,} rows are in {file}.\n{NOTE} Keep them elsewhere.")
