from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("chats", "0006_session_shut_out")]

    operations = [migrations.RenameModel("Run", "ActiveAnswer")]
