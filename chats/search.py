"""Searches conversations for words: in their names and in the texts of their messages."""

import re
import unicodedata
from functools import reduce
from operator import or_

from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Collate, Lower

from chats.models import Message, SessionQuerySet
from core.database.casefold import fold


def match_sessions(sessions: SessionQuerySet, words: str) -> SessionQuerySet:
    """The sessions that have each of these words in their name or texts."""
    for word in words.split():
        sessions = sessions.filter(Q(name_folded__contains=fold(word)) | text_contains(word))
    return sessions


def text_contains(word: str) -> Q:
    """The sessions with a word in their texts, in any letter case. Texts are not stored folded."""
    forms = {unicodedata.normalize(form, word) for form in ("NFC", "NFD")}
    if connection.vendor == "sqlite":  # its LIKE folds only ASCII; its regular expressions are Python's
        texts = Message.objects.filter(reduce(or_, (Q(text__iregex=re.escape(form)) for form in forms)))
    else:  # whatever the locale of the database
        lower = Message.objects.annotate(lower=Lower(Collate("text", "und-x-icu")))
        texts = lower.filter(reduce(or_, (Q(lower__contains=form.lower()) for form in forms)))
    return Q(Exists(texts.filter(session=OuterRef("pk"))))
