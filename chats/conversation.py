"""What happens in a conversation: asking, asking again, stopping, and keeping what was answered.

What changes something is one transaction. A session is looked up through what its user may see, and locked.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, reduce
from operator import or_
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from chats.answering import prompts
from chats.models import ActiveAnswer, Message, Piece, Session
from core.database.compiled import Lookup, adapted, execute, execute_each, new, store, update, writing
from core.database.encryption import UnreadableSecret
from core.idempotency.attempts import KeyReused
from core.rest.errors import Conflict
from groups.models import User
from llms.call_builder import LLMNotUsable, build_call, model_of
from llms.context_windows import input_budget
from llms.vendors.types import Call, ChatMessage, text_message

LEASE = timedelta(seconds=10)  # renewed by the worker long before
MOST_CONDITIONS = 100  # that one statement joins with OR; SQLite takes 1,000
LONGEST_TITLE = 60  # characters
LOST = "The server that was answering ended. What had arrived is kept; ask for the answer again."


@dataclass(frozen=True)
class Exchange:
    """A question and its answer, which `call` of `vendor` is to give; without a call it is being given already."""

    question: Message
    answer: Message
    vendor: str = ""
    call: Call | None = None
    wants_title: bool = False  # of the LLM, if its session has none yet


def ask(
    *, user: User, session: UUID, text: str, worker: Callable[[], UUID], idempotency_key: str | None = None
) -> Exchange:
    """Put a question after the newest of the session's branch. The same key again leads to the same answer."""
    with one_at_a_time(), writing():
        found = locked(user, session)
        question = new(Message, session=found, parent_id=found.leaf_id, role="user", text=text)
        return asked_before(found, question, idempotency_key) or begin(found, question, worker, idempotency_key)


def edit(
    *,
    user: User,
    session: UUID,
    message: int,
    text: str,
    worker: Callable[[], UUID],
    idempotency_key: str | None = None,
) -> Exchange:
    """Put a question instead of another: a branch beside it."""
    with one_at_a_time(), writing():
        found = locked(user, session)
        before = found.messages.get(pk=message)
        if before.role != Message.Role.USER:
            raise Conflict("Only a question can be edited; regenerate makes another answer.")
        question = new(Message, session=found, parent_id=before.parent_id, role="user", text=text)
        return asked_before(found, question, idempotency_key) or begin(found, question, worker, idempotency_key)


def regenerate(
    *, user: User, session: UUID, message: int, worker: Callable[[], UUID], idempotency_key: str | None = None
) -> Exchange:
    """Ask for another answer to a question, given itself or by one of its answers: a branch beside those."""
    with one_at_a_time(), writing():
        found = locked(user, session)
        given = found.messages.select_related("parent").get(pk=message)
        question = given if given.role == Message.Role.USER else given.parent
        assert question  # an answer has one
        return asked_before(found, question, idempotency_key) or begin(found, question, worker, idempotency_key)


def switch(*, user: User, session: UUID, message: int) -> None:
    """Go on in the branch of this message: from the newest answer that comes after it.

    Raises DoesNotExist, and Conflict while an answer is being made: it would go on out of sight.
    """
    with writing():
        found = locked(user, session)
        refuse_switch(found)
        after = found.messages.below(found.messages.get(pk=message).pk)
        found.leaf = after.filter(role=Message.Role.ASSISTANT).order_by("sequence").last()
        found.save(update_fields=["leaf"])


def refuse_switch(session: Session) -> None:
    """Raises Conflict while an answer is being made in this session, which is locked."""
    if ActiveAnswer.objects.filter(session=session).exists():
        raise Conflict("The last question is still being answered. Wait for its end, or stop it, to change the branch.")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """A session whose answer is being made takes no other question: the database sees to it."""
    try:
        yield
    except IntegrityError:
        raise Conflict("The last question is still being answered. Wait for its end, or stop it.") from None


def locked(user: User, session: UUID) -> Session:
    """The session, with all that a call needs; raises Session.DoesNotExist."""
    found = SESSIONS[user.is_admin].first(user.pk, session)
    if found is None:
        raise Session.DoesNotExist
    return found


UNUSED = {  # in asking: not read
    "": ("shut_out", "created_at", "updated_at"),
    "chat__": ("description", "created_at", "updated_at"),
    "chat__llm__": ("short_description", "long_description", "logo_url", "created_at", "updated_at"),
    "chat__llm_settings__": ("metadata", "created_at", "updated_at"),
}


def visible_session(owner: int, key: UUID, is_admin: bool) -> QuerySet[Session]:
    sessions = Session.objects.visible_to(User(pk=owner, is_admin=is_admin)).filter(uuid=key).order_by()
    unused = [path + name for path, names in UNUSED.items() for name in names]
    return sessions.select_related("chat__llm", "chat__llm_settings").defer(*unused).select_for_update(of=("self",))


SESSIONS = {
    is_admin: Lookup(int, UUID, compose=partial(visible_session, is_admin=is_admin)) for is_admin in (False, True)
}


def asked_before(session: Session, question: Message, key: str | None) -> Exchange | None:
    """What was begun with this key: a question with its answer, or another answer to a question that there was."""
    known = session.messages.select_related("parent").filter(idempotency_key=key).first() if key else None
    if known is None:
        return None
    if known.role == Message.Role.USER and question.pk is None and known.text == question.text:
        answer = known.children.order_by("sequence").first()
        assert answer  # they are stored together
        return Exchange(known, answer)
    if known.role == Message.Role.ASSISTANT and known.parent_id == question.pk:
        return Exchange(question, known)
    raise KeyReused


def begin(session: Session, question: Message, worker: Callable[[], UUID], key: str | None) -> Exchange:
    """Store the question, if it is new, and an empty answer that a worker of this id is about to fill."""
    if session.chat is None:
        raise Conflict("The chat of this session was deleted. It can be read, and takes no more questions.")
    llm, settings = session.chat.llm, session.chat.llm_settings
    system = session.chat.system_prompt or settings.system_prompt
    try:
        model = model_of(llm, settings)
        window = settings.max_length
        if window is None:
            window = input_budget(model, max_tokens=settings.max_tokens)
        turns = prompts.build(system=system, history=history(question.parent_id), question=question.text, window=window)
        call = build_call(llm, settings, turns)
    except LLMNotUsable as reason:
        raise Conflict(f"{reason} An administrator can change that.") from None
    except UnreadableSecret:
        raise Conflict("The key of this chat's LLM cannot be read. An administrator can set it anew.") from None
    is_new = question.pk is None
    if is_new:
        session.last_sequence += 1
        question.idempotency_key, key = key, None
        question.sequence = session.last_sequence
    session.last_sequence += 1
    answer = new(
        Message,
        session=session,
        parent=question,
        sequence=session.last_sequence,
        role=Message.Role.ASSISTANT,
        status=Message.Status.STREAMING,
        model=model,
        input_tokens=prompts.tokens_of(turns),
        estimated=True,
        idempotency_key=key,
    )
    under_way = new(ActiveAnswer, session=session, message=answer, worker=worker(), lease_until=timezone.now() + LEASE)
    session.leaf = answer
    if not session.name:
        first = session.messages.order_by("sequence").first() if question.parent_id else question
        session.name = title_of((first or question).text)
    added = (question, answer, under_way) if is_new else (answer, under_way)
    store(added, session, ("leaf", "last_sequence", "name", "name_folded", "updated_at"))
    return Exchange(question, answer, llm.vendor, call, session.chat.llm_titles)


def history(leaf_id: int | None) -> list[ChatMessage]:
    """What was said before, from the first message to this one. An answer without text says nothing."""
    if leaf_id is None:
        return []
    said = Message.objects.branch(leaf_id).exclude(text="").order_by("sequence").values_list("role", "text")
    return [text_message(role, text) for role, text in said]  # type: ignore[arg-type]


def title_of(question: str) -> str:
    """A name for a session: the beginning of its first question, cut between words."""
    words = question.split(maxsplit=LONGEST_TITLE)  # no more are looked for, of a question of any length
    text = " ".join(words[:LONGEST_TITLE])
    if len(text) <= LONGEST_TITLE:
        return text
    return re.sub(r"\s\S*$", "", text[:LONGEST_TITLE]) + "…"


def request_stop(*, session: Session) -> bool:
    """Ask the worker that answers in this session to stop; whether there is any."""
    return bool(ActiveAnswer.objects.filter(session=session).update(stop_requested=True))


# what workers do


@dataclass(frozen=True)
class Standing:
    """What the database says of a worker's runs, by message: those that still are its own, those to stop."""

    own: set[int]
    to_stop: set[int]


def keep(*, worker: UUID, pieces: Iterable[tuple[int, int, str]]) -> Standing:
    """Store what arrived since the last time. A piece is the key of its message, the characters before it, its text."""
    with writing() as database:
        find = "SELECT message_id, stop_requested FROM chats_activeanswer WHERE worker = %s"
        flags = dict(execute(database, find, [adapted(worker, database)]))
        if rows := [piece for piece in pieces if piece[0] in flags]:
            execute_each(database, "INSERT INTO chats_piece (message_id, start, text) VALUES (%s, %s, %s)", rows)
    return Standing(set(flags), {message for message, stop in flags.items() if stop})


def end(*, worker: UUID, ended: Sequence[Message]) -> dict[int, Message | None]:
    """Store the answers that have ended; returns those that were not this worker's own any more, by their keys.

    One of those is there as another has ended it, or None when it was deleted.
    """
    own: set[int] = set()
    keys = [message.pk for message in ended]
    with writing() as database:
        for first in range(0, len(keys), MOST_CONDITIONS):
            some = keys[first : first + MOST_CONDITIONS]
            let_go = f"DELETE FROM chats_activeanswer WHERE worker = %s AND {among(some)} RETURNING message_id"  # noqa: S608
            ours = [key for (key,) in execute(database, let_go, [adapted(worker, database), *some])]
            if ours:
                execute(database, f"DELETE FROM chats_piece WHERE {among(ours)}", ours, returns=False)  # noqa: S608
            own |= set(ours)
        if done := [message for message in ended if message.pk in own]:
            update(database, done, OUTCOME)
        others = Message.objects.in_bulk(set(keys) - own) if len(own) < len(keys) else {}
    return {key: others.get(key) for key in keys if key not in own}


def among(messages: Sequence[int]) -> str:
    return f"message_id IN ({', '.join(['%s'] * len(messages))})"


OUTCOME = (
    "text",
    "status",
    "finish_reason",
    "error_code",
    "error_detail",
    "error_retryable",
    "ignored_settings",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "estimated",
    "latency_ms",
    "time_to_first_token_ms",
)


def renew_leases(*, worker: UUID, answers: Collection[int]) -> None:
    """Say that these live. A run that its worker does not know of is none: the confirmation of its COMMIT was lost."""
    ActiveAnswer.objects.filter(worker=worker, message__in=answers).update(lease_until=timezone.now() + LEASE)


def closed_to_owner(*, answers: list[int]) -> set[int]:
    """Those of these answers whose owner may no longer ask in their chat."""
    still_open = Session.objects.open_to_owner().filter(messages__in=answers)
    return set(answers) - set(still_open.values_list("messages", flat=True))


def grown(offsets: Mapping[int, int]) -> tuple[dict[int, str], dict[int, Message | None]]:
    """Of answers that others make: the text of each after so many characters, and those that have ended.

    One that has ended is there as it is stored, or None when it is gone.
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
            else:  # one before it was stored twice, in two lengths: the confirmation of its COMMIT was lost
                fresh[message] = arrived(message)[offsets[message] :]
    return fresh, {message: messages.get(message) for message in offsets.keys() - running}


Lease = tuple[int, datetime]  # of the answer with this key, and when it is over


def leases_over() -> list[Lease]:
    """The leases that were not renewed. To write first shows that their workers could have done so."""
    Piece.objects.filter(~Exists(ActiveAnswer.objects.filter(message=OuterRef("message_id")))).delete()
    return list(ActiveAnswer.objects.filter(lease_until__lt=timezone.now()).values_list("message", "lease_until"))


def end_orphan(message: int, lease_until: datetime) -> bool:
    """End an answer as interrupted if this still is its lease; whether it was."""
    with transaction.atomic():
        run = ActiveAnswer.objects.select_for_update().filter(message=message, lease_until=lease_until).first()
        if run is None:
            return False
        text = arrived(message)
        Message.objects.filter(pk=message).update(
            text=text,
            status=Message.Status.INTERRUPTED,
            output_tokens=prompts.estimate(text),
            error_code="interrupted",
            error_detail=LOST,
            error_retryable=True,
        )
        Piece.objects.filter(message=message).delete()
        run.delete()
    return True


def arrived(message: int) -> str:
    """The stored text of an answer that is not whole yet."""
    text = ""
    for start, piece in Piece.objects.filter(message=message).order_by("start", "pk").values_list("start", "text"):
        text = text[:start] + piece
    return text
