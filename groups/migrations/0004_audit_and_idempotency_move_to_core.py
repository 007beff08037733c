"""AuditEvent and IdempotentRequest move to the app `core`: their tables get new names and keep their rows."""

from functools import partial
from typing import Any

from django.db import migrations


def rename_content_types(apps: Any, editor: Any, *, old: str, new: str) -> None:
    """Keep the content types, so that rows that refer to them (the admin's history) stay valid.

    The database is that of the editor, because a restore migrates one that is not the default.
    """
    rows = apps.get_model("contenttypes", "ContentType").objects.using(editor.connection.alias)
    for model in ("auditevent", "idempotentrequest"):
        if not rows.filter(app_label=new, model=model).exists():
            rows.filter(app_label=old, model=model).update(app_label=new)


class Migration(migrations.Migration):
    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("groups", "0003_attempts"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.AlterModelTable("AuditEvent", "core_auditevent"),
                migrations.AlterModelTable("IdempotentRequest", "core_idempotentrequest"),
                migrations.RunPython(
                    partial(rename_content_types, old="groups", new="core"),
                    partial(rename_content_types, old="core", new="groups"),
                ),
            ],
            state_operations=[
                migrations.DeleteModel("AuditEvent"),
                migrations.DeleteModel("IdempotentRequest"),
            ],
        ),
    ]
