from typing import Any

from django.db import migrations

import core.database.casefold
from core.database.casefold import refold


def refold_names(apps: Any, editor: Any) -> None:
    refold(apps.get_model("llms", "LLM"), "name_folded", using=editor.connection.alias)
    refold(apps.get_model("llms", "LLMSettings"), "model_name_folded", using=editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [("llms", "0002_help_texts")]

    operations = [
        migrations.SeparateDatabaseAndState(  # the columns stay as they are
            state_operations=[
                migrations.AlterField(
                    model_name="llm",
                    name="default_model",
                    field=core.database.casefold.NameField(
                        blank=True, help_text="Used if the settings of a chat name no model.", max_length=200
                    ),
                ),
                migrations.AlterField(
                    model_name="llm",
                    name="name",
                    field=core.database.casefold.NameField(max_length=200),
                ),
                migrations.AlterField(
                    model_name="llmsettings",
                    name="model_name",
                    field=core.database.casefold.NameField(
                        blank=True, help_text="If empty, the LLM's default model.", max_length=200
                    ),
                ),
            ]
        ),
        migrations.RunPython(refold_names, migrations.RunPython.noop),
    ]
