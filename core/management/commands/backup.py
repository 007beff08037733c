import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

from core.database.backup import NOTE, backup
from core.database.backup_file import Damaged
from core.database.connections import Unsuitable
from core.database.table_dump import first_line
from core.management.output import SafeCommand


class Command(SafeCommand):
    help = "Writes the whole database to one file, as it is at one moment; the server may go on. See docs/backup.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="where to; - is standard output")

    def handle(self, *args: object, file: Path, **options: object) -> None:
        is_pipe = str(file) == "-"
        say = self.stderr.write if is_pipe else self.say
        if is_pipe and sys.stdout.isatty():
            raise CommandError("Standard output is a terminal. Send the backup to a file or another program.")
        try:
            with ExitStack() as stack:
                # not sys.stdout.buffer, which would be flushed once more after a failure
                to = stack.enter_context(open(sys.stdout.fileno(), "wb", closefd=False)) if is_pipe else file
                rows = backup(settings.DATABASES["default"], to, say)
        except (Damaged, Unsuitable) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
        except DatabaseError as error:
            raise CommandError(f"The database refused it: {first_line(error)}.") from None
        say(f"{rows:,} rows are in {'the backup' if is_pipe else file}.")
        say(f"{NOTE} Keep them elsewhere.")
