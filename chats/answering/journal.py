"""The database side of answers in production: append entries, renew leases, store the end.

New text is appended; it is joined once, at the end.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from chats.models import USAGE, ActiveAnswer, JournalEntry, Message, Session
from chats.parts import TEXTUAL, Entry, entries_between, joined_text, stored_parts, total_size
from core.database.compiled import CompiledQuery, database_value, write_transaction
from llms.models import LLM
from usage.tokens import text_tokens

LEASE = timedelta(seconds=10)  # a worker renews it long before
MOST_CONDITIONS = 100  # joined with OR in one statement; SQLite takes at most 1,000
LOST = "The server that was answering ended. What had arrived is kept; ask for the answer again."
ERROR = ("error_code", "error_detail", "error_retryable")
OUTCOME = ("text", "parts", "status", "finish_reason", *ERROR, "ignored_settings")
# Statements that run for each answer. The ORM takes several times as long to compose them as the database to run them.
INSERT_ENTRY = "INSERT INTO chats_journalentry (message_id, start, kind, text) VALUES (%s, %s, %s, %s)"
DELETE_ACTIVE = "DELETE FROM chats_activeanswer WHERE worker = %s AND message_id = %s"
DELETE_ENTRIES = "DELETE FROM chats_journalentry WHERE message_id = %s"
ACTIVE_ANSWERS = CompiledQuery(
    UUID,
    compose=lambda worker: ActiveAnswer.objects.filter(worker=worker).values_list("message_id", "stop_requested"),
)

JournalRow = tuple[int, int, str, str]  # an answer's id, the places before the entry, its kind and text
Lease = tuple[int, datetime]  # the answer's id, and when it ends


@dataclass(frozen=True)
class RunStatus:
    """Ids of answers: those that still are a worker's own, and those of them that are to stop."""

    own: set[int]
    to_stop: set[int]


def append_entries(*, worker: UUID, rows: Iterable[JournalRow]) -> RunStatus:
    """Store what arrived since the last time."""
    with write_transaction():
        flags: dict[int, bool] = dict(ACTIVE_ANSWERS.rows(worker))
        if own := [row for row in rows if row[0] in flags]:
            with connection.cursor() as cursor:
                cursor.executemany(INSERT_ENTRY, own)
    return RunStatus(set(flags), {message for message, stop in flags.items() if stop})


def store_ended(*, worker: UUID, ended: Sequence[Message]) -> dict[int, Message | None]:
    """Store the answers that have ended. Returns by their ids those that another worker has ended, as it stored them.

    An answer that was deleted is there as None.
    """
    lost = []
    with write_transaction(), connection.cursor() as cursor:
        for message in ended:
            cursor.execute(DELETE_ACTIVE, [database_value(worker), message.pk])
            if cursor.rowcount:
                cursor.execute(DELETE_ENTRIES, [message.pk])
                message.save(update_fields=(*OUTCOME, *USAGE))
            else:
                lost.append(message.pk)
        others = Message.objects.in_bulk(lost) if lost else {}
    return {key: others.get(key) for key in lost}


def renew_leases(*, worker: UUID, answers: Collection[int]) -> None:
    """Extend the leases of these answers. Other rows of the worker are there because a COMMIT was not confirmed."""
    ActiveAnswer.objects.filter(worker=worker, message__in=answers).update(lease_until=timezone.now() + LEASE)


def without_access(*, answers: list[int]) -> set[int]:
    """The answers among these whose owner may no longer ask in their chat."""
    still_open = Session.objects.open_to_owner().filter(messages__in=answers)
    return set(answers) - set(still_open.values_list("messages", flat=True))


def without_llm(*, llms: Mapping[int, int]) -> set[int]:
    """The answers among these whose LLM may no longer be called. `llms` are the ids of the LLMs by those of answers."""
    active = set(LLM.objects.filter(pk__in=set(llms.values()), active=True).values_list("pk", flat=True))
    return {answer for answer, llm in llms.items() if llm not in active}


def read_new(offsets: Mapping[int, int]) -> tuple[dict[int, list[Entry]], dict[int, Message | None]]:
    """Read answers of other workers: the entries after the given place of each, and the answers that have ended.

    An answer that has ended is returned as it is stored, or as None if it was deleted.
    """
    running = set(ActiveAnswer.objects.filter(message__in=offsets).values_list("message", flat=True))
    messages = Message.objects.in_bulk(offsets.keys() - running)
    fresh: dict[int, list[Entry]] = {key: [] for key in running}
    ends = dict(offsets)
    keys = sorted(running)
    for first in range(0, len(keys), MOST_CONDITIONS):
        some = keys[first : first + MOST_CONDITIONS]
        wanted = reduce(or_, (Q(message=message, start__gte=offsets[message]) for message in some))
        rows = JournalEntry.objects.filter(wanted).order_by("start", "pk")
        for message, start, kind, text in rows.values_list("message", "start", "kind", "text"):
            if start == ends[message]:
                fresh[message].append(Entry(kind, text))
            else:  # something was stored twice, in two lengths, because its COMMIT was not confirmed
                fresh[message] = entries_between(partial_entries(message), offsets[message])
            ends[message] = offsets[message] + total_size(fresh[message])
    return fresh, {message: messages.get(message) for message in offsets.keys() - running}


def partial_entries(message: int) -> list[Entry]:
    """The stored entries of an answer that has not ended."""
    entries: list[Entry] = []
    end = 0
    rows = JournalEntry.objects.filter(message=message).order_by("start", "pk")
    for start, kind, text in rows.values_list("start", "kind", "text"):
        if start < end:  # stored twice; the later one counts
            entries = entries_between(entries, 0, start)
        entries.append(Entry(kind, text))
        end = start + entries[-1].size
    return entries_between(entries, 0)


def expired_leases() -> list[Lease]:
    """Leases that ran out.

    First deletes stray journal entries: if this write succeeds, the other workers could have renewed their leases.
    """
    JournalEntry.objects.filter(~Exists(ActiveAnswer.objects.filter(message=OuterRef("message_id")))).delete()
    return list(ActiveAnswer.objects.filter(lease_until__lt=timezone.now()).values_list("message", "lease_until"))


def interrupt_orphan(message: int, lease_until: datetime) -> bool:
    """End an answer as interrupted if it still has this lease. Returns whether it had."""
    with transaction.atomic():
        active = ActiveAnswer.objects.select_for_update().filter(message=message, lease_until=lease_until).first()
        if active is None:
            return False
        entries = partial_entries(message)
        Message.objects.filter(pk=message).update(
            text=joined_text(entries),
            parts=stored_parts(entries),
            status=Message.Status.INTERRUPTED,
            output_tokens=text_tokens(joined_text(entries, *TEXTUAL)),
            error_code="interrupted",
            error_detail=LOST,
            error_retryable=True,
        )
        JournalEntry.objects.filter(message=message).delete()
        active.delete()
    return True
