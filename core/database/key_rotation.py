"""Encrypts every stored secret with the first of FIELD_KEYS, so that the other keys can be removed."""

from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import models, transaction

from core.database.encryption import EncryptedField, EncryptedStr, fernet
from core.database.table_dump import Say

ROWS_PER_LOCK = 100


@dataclass
class Tally:
    """How many secrets there are, how many were changed, and the rows of those that cannot be decrypted."""

    secrets: int = 0
    changed: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate_keys(say: Say) -> Tally:
    """Encrypt each secret with the first key, unless it is already. Unreadable secrets stay unchanged.

    The server may run: rows are locked while they change. A process that read a row before may write its old secret
    back, so this repeats until there is nothing left to change. After an interruption, run it again.
    """
    changed = 0
    while True:
        tally = Tally()
        for model in apps.get_models():
            for column in model._meta.local_fields:
                if isinstance(column, EncryptedField):
                    rotate_field(model, column.attname, tally, say)
        changed += tally.changed
        if not tally.changed:
            tally.changed = changed
            return tally


def rotate_field(model: type[models.Model], name: str, tally: Tally, say: Say) -> None:
    """Encrypt this field of all rows under the first key. Returns nothing; `tally` counts what was done."""
    first = Fernet(settings.FIELD_KEYS[0])
    rows, last = model._base_manager.order_by("pk").filter(**{f"{name}__gt": ""}), None
    while True:
        with transaction.atomic():
            remaining = rows if last is None else rows.filter(pk__gt=last)
            batch = list(remaining.select_for_update(of=("self",))[:ROWS_PER_LOCK])
            for row in batch:
                tally.secrets += 1
                secret = str.__str__(getattr(row, name)).encode()
                with suppress(InvalidToken):
                    first.decrypt(secret)
                    continue
                try:
                    rotated = EncryptedStr(fernet().rotate(secret).decode())
                except InvalidToken:
                    tally.unreadable.append(f"{row._meta.verbose_name} {row} (id {row.pk}, {name})")
                    continue
                # update() instead of save(), because save() would record a change in the audit and set updated_at
                model._base_manager.filter(pk=row.pk).update(**{name: rotated})
                tally.changed += 1
        if len(batch) < ROWS_PER_LOCK:
            return
        last = batch[-1].pk
        say(f"{model._meta.label}.{name}: {tally.secrets:,} looked at")
