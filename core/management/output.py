"""What commands print: names, and the words of errors, may hold characters that control a terminal."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.characters import escape_controls


class SafeCommand(BaseCommand):
    """A command that prints with `say`, and whose errors are as safe."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            if type(error) is CommandError:  # not Django's own, which are coloured
                error.args = ("\n".join(map(escape_controls, str(error).split("\n"))),)
            raise

    def say(self, *lines: str) -> None:
        """Print these lines. A line end within one of them is shown, so that no name can forge a line."""
        for line in lines:
            self.stdout.write(escape_controls(line))
