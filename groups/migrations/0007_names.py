from typing import Any

from django.db import migrations, models

import core.database.casefold
from core.database.casefold import refold


def refold_names(apps: Any, editor: Any) -> None:
    refold(apps.get_model("groups", "Group"), "name_folded", using=editor.connection.alias)
    refold(apps.get_model("groups", "User"), "email_folded", using=editor.connection.alias)
    refold(apps.get_model("groups", "User"), "name_folded", using=editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [("groups", "0006_token_made_by")]

    operations = [
        migrations.SeparateDatabaseAndState(  # the columns stay as they are
            state_operations=[
                migrations.AlterField(
                    model_name="apitoken",
                    name="name",
                    field=core.database.casefold.NameField(
                        help_text="What uses it, so that one can tell what stops when it is revoked.", max_length=100
                    ),
                ),
                migrations.AlterField(
                    model_name="group",
                    name="name",
                    field=core.database.casefold.NameField(max_length=200),
                ),
                migrations.AlterField(
                    model_name="user",
                    name="email",
                    field=models.EmailField(
                        max_length=254,
                        unique=True,
                        validators=[core.database.casefold.refuse_control_characters],
                        verbose_name="e-mail",
                    ),
                ),
                migrations.AlterField(
                    model_name="user",
                    name="name",
                    field=core.database.casefold.NameField(blank=True, max_length=200),
                ),
            ]
        ),
        migrations.RunPython(refold_names, migrations.RunPython.noop),
    ]
