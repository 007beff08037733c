"""Every stored secret under the first of FIELD_KEYS, so that the others can be taken out."""

from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import models, transaction

from core.database.encryption import EncryptedField, EncryptedStr, fernet
from core.database.table_dump import Say

AT_ONCE = 100  # rows that are locked together


@dataclass
class Tally:
    """How many secrets there are, which of them had to be changed, and which nobody can read."""

    secrets: int = 0
    changed: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate_keys(say: Say) -> Tally:
    """Encrypt each secret anew that is not under the first key; what cannot be read is left as it is and named.

    Beside a running server: rows are locked while they are changed. Whoever read one before may write it back as it
    was, so this looks again until there is nothing left to do. When it is interrupted, the next one does the rest.
    """
    changed = 0
    while True:
        tally = Tally()
        for model in apps.get_models():
            for name in [found.attname for found in model._meta.local_fields if isinstance(found, EncryptedField)]:
                rotate_field(model, name, tally, say)
        changed += tally.changed
        if not tally.changed:
            tally.changed = changed
            return tally


def rotate_field(model: type[models.Model], name: str, tally: Tally, say: Say) -> None:
    rows, last = model._base_manager.order_by("pk").filter(**{f"{name}__gt": ""}), None
    while True:
        with transaction.atomic():
            following = rows if last is None else rows.filter(pk__gt=last)
            batch = list(following.select_for_update(of=("self",))[:AT_ONCE])
            for row in batch:
                rotate_one(row, name, tally)
        if len(batch) < AT_ONCE:
            return
        last = batch[-1].pk
        say(f"{model._meta.label}.{name}: {tally.secrets:,} looked at")


def rotate_one(row: models.Model, name: str, tally: Tally) -> None:
    secret = str.__str__(getattr(row, name))
    tally.secrets += 1
    try:
        if is_under_first_key(secret):
            return
        renewed = EncryptedStr(fernet().rotate(secret.encode()).decode())
    except InvalidToken:
        tally.unreadable.append(f"{row._meta.verbose_name} {row} (id {row.pk}, {name})")
        return
    type(row)._base_manager.filter(pk=row.pk).update(**{name: renewed})  # not save(), which would say it was changed
    tally.changed += 1


def is_under_first_key(secret: str) -> bool:
    try:
        Fernet(settings.FIELD_KEYS[0]).decrypt(secret.encode())
    except InvalidToken:
        return False
    return True
