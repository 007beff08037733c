"""The models are as the migrations make them."""

from typing import Any

from django.core.management import call_command


def test_nothing_is_left_to_migrate(db: Any) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
