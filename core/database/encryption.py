"""Secrets at rest."""

import hashlib
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class UnreadableSecret(Exception):
    """The stored value was encrypted with a key that FIELD_KEYS does not hold."""


@cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def fernet() -> MultiFernet:
    """The keys of FIELD_KEYS: the first encrypts, any of them decrypts."""
    return _fernet(tuple(settings.FIELD_KEYS))


class EncryptedStr(str):
    """A stored secret. It shows nothing of itself; `reveal()` is the one way to its value."""

    def reveal(self) -> str:
        """The secret in clear; raises UnreadableSecret when no key of FIELD_KEYS fits."""
        if not self:
            return ""
        try:
            return fernet().decrypt(str.__str__(self)).decode()
        except InvalidToken:
            raise UnreadableSecret("This secret was encrypted with a key that is not in FIELD_KEYS.") from None

    def __repr__(self) -> str:
        return "<secret>" if self else "<no secret>"


def encrypt(value: str) -> EncryptedStr:
    return EncryptedStr(fernet().encrypt(value.encode()).decode() if value else "")


class EncryptedField(models.TextField):
    """Text that is encrypted in the database and in the instance: assign `encrypt(value)`, read `.reveal()`."""

    def from_db_value(self, value: str | None, *_: Any) -> EncryptedStr | None:
        return None if value is None else EncryptedStr(value)

    def get_prep_value(self, value: Any) -> Any:
        if value and not isinstance(value, EncryptedStr):
            raise TypeError(f"{self.name} takes encrypt(value), never a secret in clear")
        return super().get_prep_value(value and str.__str__(value))


def fingerprint(key: str) -> str:
    """What tells a key of FIELD_KEYS from another and says nothing of it: keys are 256 random bits."""
    return hashlib.sha256(b"fingerprint of " + key.encode()).hexdigest()[:12]
