"""Searches conversations for words: in their names and in the texts of their messages."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from threading import Semaphore

from django.db import connection
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, Value
from django.db.models.functions import Collate, Lower

from chats.models import Message, SessionQuerySet
from core.database.casefold import fold
from core.database.time_limit import time_limit

LONGEST_SEARCH_TIME = 10  # seconds
# One search at a time in a process: it takes a whole core, of SQLite's process or of PostgreSQL's.
_turn = Semaphore(1)
# Characters that are the same in another letter case, but that Python's `lower` and `upper` do not find.
SAME = {"i": "\u0131\u0130", "k": "\u212a", "s": "\u017f", "ß": "\u1e9e", "\u03c3": "\u03c2", "å": "\u212b"}


@contextmanager
def bounded_search() -> Iterator[None]:
    """A block that searches. It waits for its turn, and raises TooSlow when it takes too long."""
    with _turn, time_limit(LONGEST_SEARCH_TIME):
        yield


def match_sessions(sessions: SessionQuerySet, words: str) -> SessionQuerySet:
    """The sessions that have each of these words in their name or texts."""
    for word in words.split():
        sessions = sessions.filter(Q(name_folded__contains=fold(word)) | text_contains(word))
    return sessions


def text_contains(word: str) -> Q:
    """The sessions with a word in their texts, in any letter case. Texts are not stored folded."""
    forms = {unicodedata.normalize(form, word) for form in ("NFC", "NFD")}
    if connection.vendor == "sqlite":
        patterns = {pattern for form in forms for pattern in glob_patterns(form)}
        texts = Message.objects.filter(reduce(or_, (Q(Glob(Value(pattern), F("text"))) for pattern in patterns)))
    else:  # whatever the locale of the database
        lower = Message.objects.annotate(lower=Lower(Collate("text", "und-x-icu")))
        texts = lower.filter(reduce(or_, (Q(lower__contains=form.lower()) for form in forms)))
    return Q(Exists(texts.filter(session=OuterRef("pk"))))


class Glob(Func):
    """SQLite's GLOB. Its LIKE folds only ASCII, and its regular expressions are Python's, which stop all threads."""

    function = "GLOB"
    output_field = BooleanField()


def glob_patterns(word: str) -> list[str]:
    """Patterns that find a word in any letter case. Each begins with a character, and not a choice: that is faster."""
    choices = []
    for character in word:
        lower = character.lower()
        cases = {character, lower, character.upper(), *SAME.get(lower, ""), *SAME.get(character, "")}
        choices.append(sorted(case for case in cases if len(case) == 1))
    rest = "".join(f"[{''.join(cases)}]" if len(cases) > 1 or cases[0] in "*?[" else cases[0] for cases in choices[1:])
    return [f"*{f'[{first}]' if first in '*?[' else first}{rest}*" for first in choices[0]]
