"""Secrets that are encrypted in the database."""

import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class UnreadableSecret(Exception):
    """The stored value was encrypted with a key that FIELD_KEYS does not hold."""


def fernet() -> MultiFernet:
    """The keys of FIELD_KEYS: the first encrypts, any of them decrypts."""
    return MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])


class EncryptedStr(str):
    """A secret as it is stored. Its repr shows nothing of it; only `reveal()` decrypts it."""

    def reveal(self) -> str:
        """The secret in clear. Raises UnreadableSecret if no key of FIELD_KEYS fits."""
        if not self:
            return ""
        try:
            return fernet().decrypt(str.__str__(self)).decode()
        except InvalidToken:
            raise UnreadableSecret("This secret was encrypted with a key that is not in FIELD_KEYS.") from None

    def __repr__(self) -> str:
        return "<secret>" if self else "<no secret>"


def encrypt(value: str) -> EncryptedStr:
    """Encrypt a secret under the first of FIELD_KEYS. An empty one stays empty."""
    return EncryptedStr(fernet().encrypt(value.encode()).decode() if value else "")


class EncryptedField(models.TextField):
    """Text that stays encrypted in the instance too: assign `encrypt(value)`, read with `.reveal()`."""

    def from_db_value(self, value: str | None, *_: object) -> EncryptedStr | None:
        return None if value is None else EncryptedStr(value)

    def get_prep_value(self, value: object) -> str | None:
        if value and not isinstance(value, EncryptedStr):
            raise TypeError(f"{self.name} takes encrypt(value), never a secret in clear")
        plain: str | None = super().get_prep_value(value and str.__str__(value))
        return plain


def fingerprint(key: str) -> str:
    """Twelve hex digits that identify a key of FIELD_KEYS. They reveal nothing: a key is 256 random bits."""
    return hashlib.sha256(b"fingerprint of " + key.encode()).hexdigest()[:12]
