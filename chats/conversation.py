"""The actions in a conversation: ask, edit, regenerate, switch the branch, stop.

Each change is one transaction, which locks a session that the user may see. The work that needs no lock, such as
building the prompt, comes before that transaction.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, starmap
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.utils import timezone

from chats.answering import prompts
from chats.answering.journal import LEASE
from chats.errors import (
    AnswerInProgress,
    ChatClosed,
    ChatNotAnswerable,
    MessageNotFound,
    NotAQuestion,
    NothingToStop,
    QuestionKeyReused,
    RunnerUnavailable,
    SessionNotFound,
    TooManyAnswers,
)
from chats.graphemes import cut_graphemes
from chats.models import ActiveAnswer, Message, Session
from core.characters import CONTROL
from core.database.compiled import CompiledQuery, Row, column_names, python_values, to_instance, write_transaction
from core.database.encryption import UnreadableSecret
from groups.models import User
from groups.permissions import ROLES
from llms.call_builder import build_call
from llms.context_windows import input_budget
from llms.errors import LLMNotUsable
from llms.models import LLM, LLMSettings
from llms.vendors.types import Call, text_message
from usage.tokens import prompt_tokens

LONGEST_TITLE = 60  # characters
NO_RUNNER = "This server is about to stop, or was not started by manage.py runserver. Nothing was stored."
UNDER_WAY = "The last question is still being answered. Wait for its end, or stop it."
TOO_MANY_ANSWERS = "{} of your questions are being answered, which is the most at once. Wait for an end, or stop one."
ANSWER_WAIT = 5  # seconds
SWITCH_UNDER_WAY = "The last question is still being answered. Wait for its end, or stop it, to change the branch."


@dataclass(frozen=True)
class Exchange:
    """A question and its answer. `call` of `vendor` will produce the answer; None if that has begun already."""

    question: Message
    answer: Message
    vendor: str = ""
    call: Call | None = None
    wants_title: bool = False  # whether the LLM is to be asked for the session's title
    llm_id: int | None = None


@dataclass(frozen=True)
class AskContext:
    """A session in which its user may ask, with the LLM and settings of its chat."""

    user: User
    session: Session
    llm: LLM
    settings: LLMSettings
    system_prompt: str
    wants_title: bool


def ask(
    *, user: User, session: UUID, text: str, runner_id: UUID | None, idempotency_key: str | None = None
) -> Exchange:
    """Put a question after the newest message of the session's branch. The same key again leads to the same answer.

    `runner_id` is the id of the runner that will produce the answer, None if this process has none. If this raises a
    ChatError, nothing is stored.
    """
    context = read_context(user, session)
    question = Message(session=context.session, parent_id=context.session.leaf_id, role=Message.Role.USER, text=text)
    return begin_answer(context, question, runner_id, idempotency_key, follows_leaf=True)


def edit(
    *,
    user: User,
    session: UUID,
    message: int,
    text: str,
    runner_id: UUID | None,
    idempotency_key: str | None = None,
) -> Exchange:
    """Put a question in place of another one: a branch beside it. See `ask`."""
    context = read_context(user, session)
    replaced = read_message(context.session, message)
    if replaced.role != Message.Role.USER:
        raise NotAQuestion("Only a question can be edited; regenerate makes another answer.")
    question = Message(session=context.session, parent_id=replaced.parent_id, role=Message.Role.USER, text=text)
    return begin_answer(context, question, runner_id, idempotency_key)


def regenerate(
    *, user: User, session: UUID, message: int, runner_id: UUID | None, idempotency_key: str | None = None
) -> Exchange:
    """Ask for another answer to a question: a branch beside its answers. `message` is it or one of them. See `ask`."""
    context = read_context(user, session)
    given = read_message(context.session, message)
    question = given if given.role == Message.Role.USER else given.parent
    assert question  # every answer has one
    return begin_answer(context, question, runner_id, idempotency_key)


def switch_branch(*, user: User, session: UUID, message: int) -> None:
    """Go on in the branch of this message: from the newest answer below it.

    Raises SessionNotFound, MessageNotFound; and AnswerInProgress, because the answer would go on out of sight.
    """
    with write_transaction():
        locked = Session.objects.visible_to(user).filter(uuid=session).select_for_update(of=("self",)).first()
        if locked is None:
            raise SessionNotFound
        ensure_idle(locked)
        below = locked.messages.below(read_message(locked, message).pk)
        locked.leaf = below.filter(role=Message.Role.ASSISTANT).order_by("sequence").last()
        locked.save(update_fields=["leaf"])


def ensure_idle(session: Session) -> None:
    """Raises AnswerInProgress if an answer of this session, which is locked, is being produced."""
    if ActiveAnswer.objects.filter(session=session).exists():
        raise AnswerInProgress(SWITCH_UNDER_WAY)


def request_stop(*, session: Session) -> int:
    """Ask the worker that answers in this session to stop; returns the id of the answer. Raises NothingToStop."""
    active = ActiveAnswer.objects.filter(session=session)
    answer = active.values_list("message_id", flat=True).first()
    if answer is None or not active.update(stop_requested=True):
        raise NothingToStop("Nothing is being answered in this session.")
    return answer


# queries of a question

SESSION_COLUMNS = ("id", "uuid", "user_id", "chat_id", "name", "leaf_id", "last_sequence")
CHAT_COLUMNS = ("system_prompt", "llm_titles")
LLM_COLUMNS = column_names(LLM, "short_description", "long_description", "logo_url", "created_at", "updated_at")
SETTINGS_COLUMNS = column_names(LLMSettings, "metadata", "created_at", "updated_at")


def select_conversation(owner: int, uuid: UUID, role: str) -> QuerySet[Session, Row]:
    """The session of this owner with all that a call needs, as one row."""
    related = {"chat": CHAT_COLUMNS, "chat__llm": LLM_COLUMNS, "chat__llm_settings": SETTINGS_COLUMNS}
    columns = [f"{path}__{name}" for path, names in related.items() for name in names]
    return select_session(owner, uuid, role).values_list(*SESSION_COLUMNS, *columns)


def select_session(owner: int, uuid: UUID, role: str) -> QuerySet[Session]:
    """The session with this uuid, if a user of this role and id may see it."""
    return Session.objects.visible_to(User.of_role(role, owner)).filter(uuid=uuid).order_by()


def select_locked(owner: int, uuid: UUID, role: str) -> QuerySet[Session, Row]:
    """What of the session may have changed since it was read, locked until the transaction ends.

    With the number of answers to its owner that are in production.
    """
    running = ActiveAnswer.objects.filter(session__user=OuterRef("user")).values("session__user")
    number = Subquery(running.annotate(number=Count("*")).values("number"))
    locked = select_session(owner, uuid, role).select_for_update(of=("self",)).annotate(number=number)
    return locked.values_list("leaf_id", "last_sequence", "name", "number")


def select_locked_user(pk: int) -> QuerySet[User, Row]:
    """The user, locked so that of several questions at once each sees the answers of those before."""
    return User.objects.filter(pk=pk).order_by().select_for_update(no_key=True).values_list("pk")


# one query for each role, because their statements differ
CONVERSATIONS = {role: CompiledQuery(int, UUID, compose=partial(select_conversation, role=role)) for role in ROLES}
LOCKED_SESSIONS = {role: CompiledQuery(int, UUID, compose=partial(select_locked, role=role)) for role in ROLES}
LOCKED_USER = CompiledQuery(int, compose=select_locked_user)
HISTORY = CompiledQuery(
    int,
    compose=lambda leaf: Message.objects.branch(leaf).exclude(text="").order_by("sequence").values_list("role", "text"),
)


def read_context(user: User, session: UUID) -> AskContext:
    """Raises SessionNotFound. If the chat was deleted, the LLM and settings are empty."""
    row = CONVERSATIONS[user.role].get(user.pk, session)
    if row is None:
        raise SessionNotFound
    values = iter(row)
    found = to_instance(Session, SESSION_COLUMNS, list(islice(values, len(SESSION_COLUMNS))))
    system_prompt, llm_titles = islice(values, len(CHAT_COLUMNS))
    llm_values = python_values(LLM, LLM_COLUMNS, list(islice(values, len(LLM_COLUMNS))))
    llm = LLM(**dict(zip(LLM_COLUMNS, llm_values, strict=True)))  # not `from_db`: nobody changes it, to be audited
    settings_values = python_values(LLMSettings, SETTINGS_COLUMNS, list(values))
    settings = LLMSettings(**dict(zip(SETTINGS_COLUMNS, settings_values, strict=True)))
    return AskContext(user, found, llm, settings, system_prompt or settings.system_prompt or "", bool(llm_titles))


def read_message(session: Session, key: int) -> Message:
    """The message, with its parent; raises MessageNotFound."""
    message = session.messages.select_related("parent").filter(pk=key).first()
    if message is None:
        raise MessageNotFound
    return message


# the beginning of an answer


def begin_answer(
    context: AskContext,
    question: Message,
    runner_id: UUID | None,
    key: str | None,
    *,
    follows_leaf: bool = False,
) -> Exchange:
    """Store the question, if it is new, and an empty answer that the runner will fill.

    With `follows_leaf`, the question follows the newest message of the branch, even if that has just changed.
    """
    session = context.session
    if exchange := find_exchange(session, question, key):
        return exchange
    call, input_tokens = prepare_call(context, question)
    if runner_id is None:
        raise RunnerUnavailable(NO_RUNNER)
    try:
        with write_transaction():
            LOCKED_USER.get(context.user.pk)
            row = LOCKED_SESSIONS[context.user.role].get(context.user.pk, session.uuid)
            if row is None:
                raise SessionNotFound
            session.leaf_id, session.last_sequence, session.name, running = row
            if key and (exchange := find_exchange(session, question, key)):
                return exchange
            if (running or 0) >= settings.MAX_ANSWERS_PER_PERSON:
                raise TooManyAnswers(ANSWER_WAIT, TOO_MANY_ANSWERS.format(running))
            if follows_leaf and question.parent_id != session.leaf_id:
                question.parent_id = session.leaf_id
                call, input_tokens = prepare_call(context, question)
            answer = store_exchange(session, question, call.model, input_tokens, runner_id, key)
    except IntegrityError:  # the key of ActiveAnswer is the session
        raise AnswerInProgress(UNDER_WAY) from None
    return Exchange(question, answer, context.llm.vendor, call, context.wants_title, context.llm.pk)


def find_exchange(session: Session, question: Message, key: str | None) -> Exchange | None:
    """The exchange of an earlier request with this key, or None.

    Raises QuestionKeyReused if that request asked something else.
    """
    known = session.messages.select_related("parent").filter(idempotency_key=key).first() if key else None
    if known is None:
        return None
    if known.role == Message.Role.USER and question.pk is None and known.text == question.text:
        answer = known.children.order_by("sequence").first()
        assert answer  # it is stored with its question
        return Exchange(known, answer)
    if known.role == Message.Role.ASSISTANT and known.parent_id == question.pk:
        return Exchange(question, known)
    raise QuestionKeyReused


def prepare_call(context: AskContext, question: Message) -> tuple[Call, int]:
    """The call for the question, with the newest history that fits, and an estimate of its tokens.

    Raises ChatClosed and ChatNotAnswerable.
    """
    if context.session.chat_id is None:
        raise ChatClosed("The chat of this session was deleted. It can be read, and takes no more questions.")
    llm, settings = context.llm, context.settings
    try:
        call = build_call(llm, settings)
    except LLMNotUsable as reason:
        raise ChatNotAnswerable(f"{reason} An administrator can change that.") from None
    except UnreadableSecret:
        raise ChatNotAnswerable(
            "The key of this chat's LLM cannot be read. An administrator can set it anew."
        ) from None
    window = settings.max_length
    if window is None:
        window = input_budget(call.model, max_tokens=settings.max_tokens)
    messages = prompts.build(
        system=context.system_prompt,
        history=list(starmap(text_message, HISTORY.rows(question.parent_id) if question.parent_id else [])),
        question=question.text,
        window=window,
    )
    return replace(call, turns=messages), prompt_tokens(messages)


def store_exchange(
    session: Session, question: Message, model: str, input_tokens: int, runner_id: UUID, key: str | None
) -> Message:
    """Store the question, if it is new, and its empty answer, which is returned. The session must be locked."""
    is_new = question.pk is None
    if is_new:  # then the question keeps the key, otherwise the answer does
        session.last_sequence += 1
        question.sequence, question.idempotency_key = session.last_sequence, key
        question.save(force_insert=True)
    session.last_sequence += 1
    answer = Message(
        session=session,
        parent=question,
        sequence=session.last_sequence,
        role=Message.Role.ASSISTANT,
        status=Message.Status.STREAMING,
        model=model,
        input_tokens=input_tokens,
        estimated=True,
        idempotency_key=None if is_new else key,
    )
    answer.save(force_insert=True)
    ActiveAnswer.objects.create(session=session, message=answer, worker=runner_id, lease_until=timezone.now() + LEASE)
    session.leaf = answer
    if not session.name:
        first = session.messages.order_by("sequence").first() if question.parent_id else question
        session.name = title_of((first or question).text)
    session.save(update_fields=["leaf", "last_sequence", "name", "name_folded", "updated_at"])
    return answer


def title_of(question: str) -> str:
    """A name for a session: the beginning of its first question, cut between words, or within a very long one."""
    words = CONTROL.sub(" ", question).split(maxsplit=LONGEST_TITLE)  # a bound, because a question can have any length
    text = " ".join(words[:LONGEST_TITLE])
    if len(text) <= LONGEST_TITLE:
        return text
    return (text[:LONGEST_TITLE].rpartition(" ")[0] or cut_graphemes(text, LONGEST_TITLE)) + "…"
