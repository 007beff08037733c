#!/usr/bin/env python
"""The command line of AI Studio: `manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aistudio.settings")
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, ProgrammingError

    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError) as error:  # it is not there, or has not the tables
        if "--traceback" in sys.argv:
            raise
        from core.database.connections import describe_failure

        sys.exit(f"The database cannot be used: {describe_failure(error)}")


if __name__ == "__main__":
    main()
