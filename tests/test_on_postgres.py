"""What holds on SQLite holds on PostgreSQL: a part of these tests, run again on it."""

import os
import re
import subprocess
import sys

import pytest

from tests.live import ROOT

pytestmark = pytest.mark.slow

TIMEOUT = 120  # seconds
FILES = (
    "core/test_names.py",
    "chats/test_change_chat.py",
    "chats/test_history_records.py",
    "chats/test_read_chats.py",
    "chats/test_sessions.py",
    "groups/test_audit.py",
    "groups/test_tokens.py",
    "llms/test_llms.py",
)


def test_the_api_behaves_the_same_on_postgresql(postgres: str) -> None:
    files = [f"tests/{name}" for name in FILES]
    command = [sys.executable, "-m", "pytest", *files, "-p", "no:cacheprovider", "-n", "0"]
    variables = {"PATH": os.environ["PATH"], "TEST_DATABASE_URL": postgres}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 100, done.stdout
