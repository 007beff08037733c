from typing import Any

from django.db import migrations

import core.database.casefold
from core.database.casefold import refold


def refold_names(apps: Any, editor: Any) -> None:
    refold(apps.get_model("chats", "Chat"), "name_folded", using=editor.connection.alias)
    refold(apps.get_model("chats", "Session"), "name_folded", using=editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [("chats", "0009_uuid_unique_per_user")]

    operations = [
        migrations.SeparateDatabaseAndState(  # the columns stay as they are
            state_operations=[
                migrations.AlterField(
                    model_name="chat",
                    name="name",
                    field=core.database.casefold.NameField(max_length=200),
                ),
                migrations.AlterField(
                    model_name="session",
                    name="name",
                    field=core.database.casefold.NameField(
                        blank=True, help_text="Made of the first question, when empty.", max_length=200
                    ),
                ),
            ]
        ),
        migrations.RunPython(refold_names, migrations.RunPython.noop),
    ]
