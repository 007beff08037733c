"""DATABASE_URL, made into Django's settings of a database. The settings import this, so it needs none."""

from pathlib import Path
from typing import Any

import dj_database_url
from environs import ValidationError

CONNECTIONS = 12  # of a process: for its 8 threads that answer requests, the 3 of its worker, and for housekeeping


def database(url: str) -> dict[str, Any]:
    """Django's settings of a SQLite file or a PostgreSQL database."""
    if url.partition("://")[0] not in ("sqlite", "postgres", "postgresql"):
        raise ValidationError("It must be sqlite:///path or postgres://user:password@host/name.")
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError:  # whose words may hold the password
        raise ValidationError("It cannot be read; characters such as # and / in a password are %-encoded.") from None
    if not config["NAME"] or url in ("sqlite:", "sqlite://"):
        raise ValidationError("It names no database: sqlite:///path or postgres://user:password@host/name.")
    if "sqlite3" not in config["ENGINE"]:
        options = config.setdefault("OPTIONS", {})
        options["pool"] = {"min_size": 2, "max_size": CONNECTIONS, "timeout": 10}
        options["prepare_threshold"] = prepare_threshold(options.get("prepare_threshold", 5))
        return config
    if config["NAME"] != ":memory:":
        try:
            Path(config["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValidationError(f"Its folder cannot be made: {error.strerror}.") from None
    config["CONN_MAX_AGE"] = None  # a thread keeps its connection; to open one costs more than a query
    config["OPTIONS"] = {
        "timeout": 20,  # seconds a writer waits for another
        "transaction_mode": "IMMEDIATE",  # a read that turns into a write would otherwise fail, not wait
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    return config


def prepare_threshold(value: Any) -> int | None:
    """How often a statement is run before the server keeps its plan; None for never."""
    if value == "none":
        return None
    if type(value) is not int:
        raise ValidationError("Its prepare_threshold is a whole number, 0 or more, or none.")
    return value
