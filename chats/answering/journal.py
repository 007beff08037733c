"""The journal of answers that are being produced: pieces that arrived, leases of workers, and the end of answers.

A text is not written again as it grows: its pieces are, and they are joined once it has ended.
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

from chats.models import USAGE, ActiveAnswer, Message, Piece, Session
from core.database.compiled import CompiledQuery, database_value, write_transaction
from usage.tokens import text_tokens

LEASE = timedelta(seconds=10)  # a worker renews it long before
MOST_CONDITIONS = 100  # joined with OR in one statement; SQLite takes at most 1,000
LOST = "The server that was answering ended. What had arrived is kept; ask for the answer again."
OUTCOME = ("text", "status", "finish_reason", "error_code", "error_detail", "error_retryable", "ignored_settings")
# Statements that run for each answer. The ORM takes several times as long to compose them as the database to run them.
INSERT_PIECE = "INSERT INTO chats_piece (message_id, start, text) VALUES (%s, %s, %s)"
DELETE_ACTIVE = "DELETE FROM chats_activeanswer WHERE worker = %s AND message_id = %s"
DELETE_PIECES = "DELETE FROM chats_piece WHERE message_id = %s"
ACTIVE_ANSWERS = CompiledQuery(
    UUID,
    compose=lambda worker: ActiveAnswer.objects.filter(worker=worker).values_list("message_id", "stop_requested"),
)

Lease = tuple[int, datetime]  # the answer's id, and when it ends


@dataclass(frozen=True)
class RunStatus:
    """Ids of answers: those that still are a worker's own, and those of them that are to stop."""

    own: set[int]
    to_stop: set[int]


def append_pieces(*, worker: UUID, pieces: Iterable[tuple[int, int, str]]) -> RunStatus:
    """Store what arrived since the last time. A piece is an answer's id, the characters before it, and its text."""
    with write_transaction():
        flags: dict[int, bool] = dict(ACTIVE_ANSWERS.rows(worker))
        if rows := [piece for piece in pieces if piece[0] in flags]:
            with connection.cursor() as cursor:
                cursor.executemany(INSERT_PIECE, rows)
    return RunStatus(set(flags), {message for message, stop in flags.items() if stop})


def finalize(*, worker: UUID, ended: Sequence[Message]) -> dict[int, Message | None]:
    """Store the answers that have ended. Returns by their ids those that another worker has ended, as it stored them.

    An answer that was deleted is there as None.
    """
    lost = []
    with write_transaction(), connection.cursor() as cursor:
        for message in ended:
            cursor.execute(DELETE_ACTIVE, [database_value(worker), message.pk])
            if cursor.rowcount:
                cursor.execute(DELETE_PIECES, [message.pk])
                message.save(update_fields=(*OUTCOME, *USAGE))
            else:
                lost.append(message.pk)
        others = Message.objects.in_bulk(lost) if lost else {}
    return {key: others.get(key) for key in lost}


def renew_leases(*, worker: UUID, answers: Collection[int]) -> None:
    """Extend the leases of these answers. Other rows of the worker are there because a COMMIT was not confirmed."""
    ActiveAnswer.objects.filter(worker=worker, message__in=answers).update(lease_until=timezone.now() + LEASE)


def without_access(*, answers: list[int]) -> set[int]:
    """Those of these answers whose owner may not ask in their chat any more."""
    still_open = Session.objects.open_to_owner().filter(messages__in=answers)
    return set(answers) - set(still_open.values_list("messages", flat=True))


def read_new(offsets: Mapping[int, int]) -> tuple[dict[int, str], dict[int, Message | None]]:
    """Of answers that other workers produce: the text after so many characters of each, and those that have ended.

    One that has ended is there as it is stored, or as None if it was deleted.
    """
    running = set(ActiveAnswer.objects.filter(message__in=offsets).values_list("message", flat=True))
    messages = Message.objects.in_bulk(offsets.keys() - running)
    fresh = dict.fromkeys(running, "")
    keys = sorted(running)
    for first in range(0, len(keys), MOST_CONDITIONS):
        some = keys[first : first + MOST_CONDITIONS]
        wanted = reduce(or_, (Q(message=message, start__gte=offsets[message]) for message in some))
        pieces = Piece.objects.filter(wanted).order_by("start")
        for message, start, text in pieces.values_list("message", "start", "text"):
            if start == offsets[message] + len(fresh[message]):
                fresh[message] += text
            else:  # a piece was stored twice, in two lengths, because its COMMIT was not confirmed
                fresh[message] = partial_text(message)[offsets[message] :]
    return fresh, {message: messages.get(message) for message in offsets.keys() - running}


def partial_text(message: int) -> str:
    """The stored text of an answer that has not ended."""
    text = ""
    for start, piece in Piece.objects.filter(message=message).order_by("start", "pk").values_list("start", "text"):
        text = text[:start] + piece
    return text


def expired_leases() -> list[Lease]:
    """The leases that were not renewed. It writes first: if that works, their workers could have written, too."""
    Piece.objects.filter(~Exists(ActiveAnswer.objects.filter(message=OuterRef("message_id")))).delete()
    return list(ActiveAnswer.objects.filter(lease_until__lt=timezone.now()).values_list("message", "lease_until"))


def interrupt_orphan(message: int, lease_until: datetime) -> bool:
    """End an answer as interrupted, if this still is its lease. Returns whether it was."""
    with transaction.atomic():
        active = ActiveAnswer.objects.select_for_update().filter(message=message, lease_until=lease_until).first()
        if active is None:
            return False
        text = partial_text(message)
        Message.objects.filter(pk=message).update(
            text=text,
            status=Message.Status.INTERRUPTED,
            output_tokens=text_tokens(text),
            error_code="interrupted",
            error_detail=LOST,
            error_retryable=True,
        )
        Piece.objects.filter(message=message).delete()
        active.delete()
    return True
