"""Messages have parts, and the journal has entries of all kinds."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chats", "0007_active_answer")]

    operations = [
        migrations.RenameModel("Piece", "JournalEntry"),
        migrations.AlterModelOptions(
            name='journalentry',
            options={'ordering': ('start',), 'verbose_name_plural': 'journal entries'},
        ),
        migrations.AddField(
            model_name='journalentry',
            name='kind',
            field=models.CharField(db_default='text', default='text', max_length=20),
        ),
        migrations.AddField(
            model_name='message',
            name='parts',
            field=models.JSONField(db_default=[], default=list, help_text='See chats.parts; empty where it is text alone.'),
        ),
        migrations.AlterField(
            model_name='journalentry',
            name='message',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='journal', to='chats.message'),
        ),
        migrations.AlterField(
            model_name='journalentry',
            name='start',
            field=models.BigIntegerField(help_text='Places of the answer before it.'),
        ),
        migrations.AlterField(
            model_name='journalentry',
            name='text',
            field=models.TextField(help_text='What came; JSON where the kind is neither text nor thinking.'),
        ),
    ]
