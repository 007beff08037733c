"""The backend of PostgreSQL that DATABASE_URL names."""

from django.db import OperationalError


class OtherEncoding(OperationalError):
    """The database has another encoding than UTF-8, so that it could not store every text."""
