from argparse import ArgumentParser

from django.core.management.base import CommandError
from django.db import DatabaseError
from environs import ValidationError

from core.database.connections import Unsuitable
from core.database.move_to_postgres import move
from core.database.table_dump import Unfit, first_line
from core.database.url import Config, database
from core.management.output import SafeCommand

NEXT = """The database is moved: {rows:,} rows, and each was compared.
Set DATABASE_URL to the target and start the server. Keep {source} until you have seen that all is well."""


class Command(SafeCommand):
    help = "Copies everything from SQLite to an empty PostgreSQL; goes on where it was interrupted. See docs/backup.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", help="sqlite:///path")
        parser.add_argument("target", help="postgres://user@host/name; PGPASSWORD or ~/.pgpass may have the password")

    def handle(self, *args: object, source: str, target: str, **options: object) -> None:
        try:
            rows = move(parse_url("SOURCE", source), parse_url("TARGET", target), self.say)
        except (Unfit, Unsuitable) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"{first_line(error)}. The same command goes on where it stopped.") from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. The same command goes on where it stopped.") from None
        self.say(*(line.format(rows=rows, source=source) for line in NEXT.splitlines()))


def parse_url(name: str, url: str) -> Config:
    """The configuration of a database URL; raises CommandError, which names the argument."""
    try:
        return database(url)
    except ValidationError as error:
        raise CommandError(f"{name}: {error}") from None
