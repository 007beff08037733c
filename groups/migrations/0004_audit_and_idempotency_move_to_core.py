"""AuditEvent and IdempotentRequest move to the app `core`: their tables get its names, their rows stay."""

from typing import Any

from django.db import migrations


def rename_content_types(apps: Any, old: str, new: str) -> None:
    """What refers to a model by its content type, such as the admin's history, goes on to do so."""
    rows = apps.get_model("contenttypes", "ContentType").objects
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
                    lambda apps, editor: rename_content_types(apps, "groups", "core"),
                    lambda apps, editor: rename_content_types(apps, "core", "groups"),
                ),
            ],
            state_operations=[
                migrations.DeleteModel("AuditEvent"),
                migrations.DeleteModel("IdempotentRequest"),
            ],
        ),
    ]
