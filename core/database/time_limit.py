"""A limit on the time that queries take."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from time import monotonic

from django.db import OperationalError, connection, transaction


class TooSlow(Exception):
    """Queries took longer than their limit."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let the queries in this block take so long together; raises TooSlow. A query that runs longer is ended."""
    connection.ensure_connection()
    ends_at = monotonic() + seconds
    try:
        if connection.vendor == "sqlite":
            timer = Timer(seconds, connection.connection.interrupt)
            timer.start()
            try:
                yield
            finally:
                timer.cancel()
        else:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(round(seconds * 1000))])
                yield
    except OperationalError:
        if monotonic() < ends_at:
            raise
        raise TooSlow(f"This took longer than {seconds:.0f} seconds, which is all that it may take.") from None
