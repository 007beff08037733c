"""How passwords are hashed, and which are too easy to guess."""

import re
from itertools import pairwise

from django.contrib.auth.hashers import Argon2PasswordHasher
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

FEWEST_SURPRISES = 7  # characters that do not follow from the one before
LEET = str.maketrans("0134578@$!", "oleastbasi")
ROWS = ["abcdefghijklmnopqrstuvwxyz", "01234567890"]  # neighbours in it are easy to guess
ROWS += ["qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "qwertzuiop", "azertyuiop"]
STEPS = {step for row in ROWS for one, two in pairwise(row) for step in (one + two, two + one)}


class Argon2(Argon2PasswordHasher):
    """Argon2id as OWASP advises for servers: 19 MiB, two passes, one thread."""

    memory_cost = 19 * 1024  # KiB
    time_cost = 2
    parallelism = 1


class StrengthValidator:
    """Refuses a password that is a well-known one with decoration, one piece again and again, or a row of keys."""

    def __init__(self) -> None:
        self.common = CommonPasswordValidator().passwords

    def validate(self, password: str, user: object = None) -> None:
        text = password.casefold()
        piece = (text + text).find(text, 1)  # the shortest piece that makes the whole when it is repeated
        core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text[:piece])
        words = {text[:piece], core, core.translate(LEET), text[:piece].translate(LEET)}
        pairs = [text[index - 1 : index + 1] for index in range(1, piece)]
        surprises = 1 + sum(pair[0] != pair[1] and pair not in STEPS for pair in pairs)
        if surprises < FEWEST_SURPRISES or words & self.common:
            raise ValidationError(self.get_help_text(), code="password_too_weak")

    def get_help_text(self) -> str:
        return _(
            "Your password must not be a well-known one with a few more characters, nor a repetition or row of keys."
        )
