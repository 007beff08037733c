"""Migrations make the present models, and can run within the transaction of a restore."""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader

from tests.live import ROOT


def test_nothing_is_left_to_migrate(db: Any) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_each_migration_is_atomic() -> None:
    """`restore` into PostgreSQL migrates within one transaction, so that it changes all or nothing."""
    ours = {config.label for config in apps.get_app_configs() if Path(config.path).parent == ROOT}
    migrations = [migration for (label, _), migration in MigrationLoader(None).disk_migrations.items() if label in ours]
    assert {"chats", "core", "groups", "llms"} <= {migration.app_label for migration in migrations}
    assert [str(migration) for migration in migrations if not migration.atomic] == []
