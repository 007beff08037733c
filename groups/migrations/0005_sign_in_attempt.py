from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("groups", "0004_audit_and_idempotency_move_to_core")]

    operations = [
        migrations.RenameModel("Attempts", "SignInAttempt"),
        migrations.AlterModelOptions("SignInAttempt", options={"verbose_name": "sign-in attempt"}),
    ]
