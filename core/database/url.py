"""Makes Django's settings of a database from DATABASE_URL. The settings import this module, so it reads none."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import dj_database_url
from environs import ValidationError

Config = dj_database_url.DBConfig

CONNECTIONS = 18  # for each process: 8 + 6 threads answer requests, 3 belong to its worker, 1 is for housekeeping
# how libpq notices that a host is gone without a word, as in a failover; DATABASE_URL may say otherwise
DETECTION = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}

READABLE_BY_OWNER = 0o600


class PrivateConnection(sqlite3.Connection):
    """Keeps a database file to its owner. SQLite itself makes a file that everyone on the machine may read."""

    def __init__(self, database: str, **options: Any) -> None:
        if not database.startswith((":memory:", "file:")):
            # A file that exists is not opened: closing it would release the locks of the process's other connections.
            with suppress(OSError):
                os.close(os.open(database, os.O_CREAT | os.O_EXCL, READABLE_BY_OWNER))
            for path in (database, f"{database}-wal", f"{database}-shm"):  # an earlier version may have made them
                with suppress(OSError):  # it may be another user's
                    if os.path.isfile(path):
                        os.chmod(path, READABLE_BY_OWNER)
        super().__init__(database, **options)


def database(url: str) -> Config:
    """Django's settings of a SQLite file or a PostgreSQL database. Makes the folder of a SQLite file if needed.

    Raises ValidationError. Its message never shows the URL, which may hold a password.
    """
    if url.partition("://")[0] not in ("sqlite", "postgres", "postgresql"):
        raise ValidationError("It must be sqlite:///path or postgres://user:password@host/name.")
    try:
        config = dj_database_url.parse(url)
    except ValueError:
        raise ValidationError("It cannot be read; characters such as # and / in a password are %-encoded.") from None
    if not config["NAME"] or (config["NAME"] == ":memory:" and not url.endswith(":memory:")):
        raise ValidationError("It names no database: sqlite:///path or postgres://user:password@host/name.")
    if "sqlite3" not in config["ENGINE"]:
        options = config.setdefault("OPTIONS", {})
        for name, value in DETECTION.items():
            options.setdefault(name, value)
        config["ENGINE"] = "core.database.postgresql"  # whose base.py asks the pool again until its patience ends
        options["pool"] = {"min_size": 2, "max_size": CONNECTIONS, "timeout": 1, "reconnect_timeout": 1}
        # how often a statement is run before PostgreSQL keeps its plan; the text `none` means never
        threshold = options.get("prepare_threshold", 5)
        if threshold != "none" and type(threshold) is not int:
            raise ValidationError("Its prepare_threshold is a whole number, 0 or more, or none.")
        options["prepare_threshold"] = None if threshold == "none" else threshold
        options["server_side_binding"] = True  # without it, the values are part of a statement, and no plan is reused
        return config
    if config["NAME"] != ":memory:":
        try:
            Path(config["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValidationError(f"Its folder cannot be made: {error.strerror}.") from None
    config["CONN_MAX_AGE"] = None  # each thread keeps its connection: opening one costs more than a query
    config["OPTIONS"] = {
        "factory": PrivateConnection,
        "timeout": 20,  # seconds that a writer waits for another
        "transaction_mode": "IMMEDIATE",  # a transaction that reads first and then writes would fail instead of waiting
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    return config
