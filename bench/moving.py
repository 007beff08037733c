"""How long a backup, a restore and a move to PostgreSQL take, and the memory they need; see README.md."""

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.databases import postgres  # noqa: E402  (found from the root)

EACH_SESSION = 20  # messages
WORDS = "the house answers briefly and says where it looked; "
SESSIONS = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :sessions)
    INSERT INTO chats_session (id, uuid, user_id, chat_id, chat_name, name, name_folded, leaf_id, last_sequence, pinned,
        archived, created_at, updated_at)
    SELECT i, printf('%032x', i), 1, 1, '', 'Session ' || i, 'session ' || i, NULL, :each, 0, 0,
        '2026-11-01 08:00:00.123456', '2026-11-01 08:00:00.123456' FROM n
"""
MESSAGES = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :messages - 1)
    INSERT INTO chats_message (id, session_id, parent_id, sequence, role, text, status, error_code, error_detail,
        error_retryable, ignored_settings, input_tokens, output_tokens, estimated, latency_ms, model, created_at)
    SELECT i + 1, i / :each + 1, CASE WHEN i % :each THEN i END, i % :each + 1, iif(i % 2, 'assistant', 'user'),
        substr(:text, 1, iif(i % 2, 60 + i * 7919 % 700, 10 + i * 7919 % 100)) || hex(randomblob(10 + i % 190)),
        'complete', '', '', 0,
        '[]', 100 + i % 900, i % 300, 0, 1200, 'demo', '2026-11-01 08:00:00.123456' FROM n
"""
LEAVES = "UPDATE chats_session SET leaf_id = id * :each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    messages = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as name, postgres(Path(name)) as url_of:
        folder = Path(name)
        filled, copy = folder / "filled.sqlite3", folder / "copy.sqlite3"
        fill(filled, messages)
        print(f"{messages:,} messages, {filled.stat().st_size / 2**20:,.0f} MiB of SQLite")
        print(f"{'':30}{'seconds':>9}{'processor':>11}{'MiB':>6}")
        backup = str(folder / "backup.zip")
        measure("backup", filled, "backup", backup)
        print(f"{'':6}a file of {Path(backup).stat().st_size / 2**20:,.0f} MiB")
        measure("restore to SQLite", copy, "restore", backup, "--noinput")
        restored = url_of("restored")
        measure("restore to PostgreSQL", restored, "restore", backup, "--noinput")
        measure("backup of PostgreSQL", restored, "backup", str(folder / "second.zip"))
        measure("move_database", filled, "move_database", f"sqlite:///{filled}", url_of("moved"))


def fill(path: Path, messages: int) -> None:
    manage(path, "migrate", "--verbosity", "0")
    manage(path, "demo")
    values = {"messages": messages, "sessions": -(-messages // EACH_SESSION), "each": EACH_SESSION, "text": WORDS * 30}
    with closing(sqlite3.connect(path)) as database, database:
        for statement in (SESSIONS, MESSAGES, LEAVES):
            database.execute(statement, values)


def measure(what: str, database: Path | str, *arguments: str) -> None:
    """Print what a command takes: time on the clock, processor time and memory of its process."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = manage(database, *arguments)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime
    print(f"{what:30}{time.monotonic() - began:9.1f}{processor:11.1f}{peak:6.0f}", flush=True)


def manage(database: Path | str, *arguments: str) -> float:
    """Run a `manage.py` command, which must succeed; the most memory it had, in MiB."""
    url = database if isinstance(database, str) else f"sqlite:///{database}"
    settings = {"SECRET_KEY": "x" * 50, "FIELD_KEYS": KEY, "HTTPS": "0", "DATABASE_URL": url}
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return usage.ru_maxrss / 1024


KEY = Fernet.generate_key().decode()

if __name__ == "__main__":
    main()
