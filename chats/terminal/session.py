"""One user in one chat, for a program that asks and follows in the process that answers, with the user's rights.

All that is refused is a CommandError, in words for a terminal.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from django.core.management.base import CommandError
from django.db.models import QuerySet

from chats import conversation
from chats.access import access_summary
from chats.answering import runner
from chats.answering.live_answer import Subscriber
from chats.answering.runner import AnswerRunner
from chats.api.serializers import QuestionSerializer
from chats.conversation import Exchange
from chats.errors import ChatError, MessageNotFound, NothingToStop, SessionNotFound
from chats.models import Chat, Message, Session
from chats.terminal.screen import INTERVAL, LiveMarkdown, PlainOutput, clean, typed
from core.database.casefold import fold
from groups.models import User

EXCHANGES = 2  # that are shown of a conversation which is resumed
MOST_CHATS = 50  # that are listed
FAILED, INTERRUPTED_BY_KEY = 1, 130  # exit statuses


def refused(reason: str, status: int = FAILED) -> CommandError:
    return CommandError(clean(reason), returncode=status)


def chats_of(user: User) -> QuerySet[Chat]:
    return Chat.objects.visible_to(user).order_by("name_folded", "pk")


def listing(user: User) -> str:
    """The chats that a user may use, each with its number; raises CommandError where there is none."""
    chats = list(chats_of(user)[: MOST_CHATS + 1])
    if not chats:
        raise refused(access_summary(user))
    more = "\n     …  and more; name one." if len(chats) > MOST_CHATS else ""
    return clean("\n".join(f"{chat.pk:>6}  {' '.join(clean(chat.name).split())}" for chat in chats[:MOST_CHATS]) + more)


def find_chat(user: User, wanted: str) -> Chat:
    """The chat with this name or number among those of the user; raises CommandError."""
    if not_utf_8(wanted):
        raise refused("The name of the chat is not UTF-8.")
    chats = chats_of(user)
    found = list(chats.filter(name_folded=fold(wanted))[:MOST_CHATS])
    if not found and wanted.isascii() and wanted.isdecimal() and len(wanted) < 19:
        found = list(chats.filter(pk=int(wanted)))
    if not found:
        raise refused(
            f"There is no chat {wanted!r} that {user} may use; manage.py explain_access says why one may not."
            f" {access_summary(user)}"
        )
    if len(found) > 1:
        numbers = ", ".join(str(chat.pk) for chat in found)
        raise refused(f"Several chats are named {wanted!r}; take one by its number: {numbers}.")
    return found[0]


def last_session(user: User, chat: Chat) -> Session | None:
    """The conversation that the user had last in this chat, without those put away."""
    return Session.objects.visible_to(user).filter(chat=chat, archived=False).first()


class TerminalSession:
    """A user in a chat: every verb is the API's, with the rights that the user has at that moment."""

    def __init__(self, user: User, chat: Chat, worker: AnswerRunner) -> None:
        self.user, self.chat, self.worker = user, chat, worker
        self.session: Session | None = None  # the first question makes one

    def asking_user(self) -> User:
        """The user as they are now; raises CommandError."""
        user = User.objects.filter(pk=self.user.pk, is_active=True).first()
        if user is None:
            raise refused(f"{self.user} may not sign in any more.")
        return user

    def ask(self, text: str) -> Message:
        """Put a question; returns the answer that is being made. Raises CommandError, and nothing is stored then."""
        if not_utf_8(text):
            raise refused("The question is not UTF-8.")
        serializer = QuestionSerializer(data={"text": text})
        if not serializer.is_valid():
            raise refused(" ".join(map(str, serializer.errors["text"])))
        if self.session:
            return self.begin(conversation.ask, self.session, text=text)
        user = self.asking_user()
        if not Chat.objects.visible_to(user).filter(pk=self.chat.pk).exists():
            raise self.closed()
        session = Session.objects.create(user=user, chat=self.chat)
        try:
            answer = self.begin(conversation.ask, session, text=text)
        except CommandError:
            session.delete()
            raise
        self.session = session
        return answer

    def retry(self) -> Message:
        """Ask for another answer to the last question; returns it. Raises CommandError."""
        newest = self.newest()
        if self.session is None or newest is None:
            raise refused("There is no question yet.")
        return self.begin(conversation.regenerate, self.session, message=newest.pk)

    def begin(self, verb: Callable[..., Exchange], session: Session, **said: Any) -> Message:
        try:
            exchange = verb(user=self.asking_user(), session=session.uuid, worker=runner.current_runner_id, **said)
        except (SessionNotFound, MessageNotFound):
            raise self.closed() from None
        except ChatError as reason:
            raise refused(str(reason)) from None
        self.worker.begin(exchange)
        return exchange.answer

    def closed(self) -> CommandError:
        return refused(f"{self.chat} is not open to {self.user} any more.")

    def stop(self) -> None:
        """Stop what is being answered in this conversation, here or elsewhere; raises CommandError if nothing is."""
        try:
            if self.session is None:
                raise NothingToStop
            runner.stop(conversation.request_stop(session=self.session))
        except NothingToStop:
            raise refused("Nothing is being answered in this conversation.") from None

    def newest(self) -> Message | None:
        """The answer that the next question comes after."""
        session = self.session and Session.objects.visible_to(self.asking_user()).filter(pk=self.session.pk)
        found = session and session.select_related("leaf").first()
        return found.leaf if found else None

    def last_messages(self) -> list[Message]:
        newest = self.newest()
        if newest is None:
            return []
        return [*Message.objects.branch(newest.pk).order_by("-sequence")[: 2 * EXCHANGES]][::-1]

    def follow(self, answer: Message, view: LiveMarkdown | PlainOutput, events: "AnswerInput") -> Message:
        """Show an answer until it has ended, and stop it when the events say so; returns it as it has ended."""
        future = asyncio.run_coroutine_threadsafe(self.read(answer, events.queue.put), self.worker.loop)
        future.add_done_callback(lambda _: events.queue.put(None))
        is_stopped = False
        while not (future.done() and events.queue.empty()):
            if text := events.next():
                view.add(text)
            if events.stop and not is_stopped:
                is_stopped = True
                with suppress(NothingToStop):  # it has just ended
                    runner.stop(conversation.request_stop(session=answer.session))
            view.refresh()
        view.end()
        return future.result()

    async def read(self, answer: Message, put: Callable[[str], None]) -> Message:
        """In the worker's loop: hand on what comes of an answer."""
        feed = self.worker.live_answer(answer)
        offset = 0
        with Subscriber(feed) as reader:
            while True:
                if text := feed.since(offset):
                    offset += len(text)
                    put(text)
                elif feed.ended:
                    return feed.message
                else:
                    await reader.wait()


class AnswerInput:
    """What happens while an answer comes: its text, and the wish to stop it."""

    def __init__(self, keyboard: int | None = None) -> None:
        self.queue: SimpleQueue[str | None] = SimpleQueue()
        self.stop = False
        self.keyboard = keyboard
        self.ahead: list[str] = []  # what was typed meanwhile: questions for later, unless this answer is stopped
        self.is_pasted = False  # whether lines come one right after the other, and are one question

    def interrupt(self) -> None:
        self.stop = True
        self.queue.put(None)

    def next(self) -> str | None:
        """The text that has come, after a while if none has."""
        if self.keyboard is not None:
            self.look(list(typed(self.keyboard)))
        try:
            return self.queue.get(timeout=INTERVAL)
        except Empty:
            return None

    def look(self, lines: list[str]) -> None:
        """Take in the lines that were typed since the last look."""
        for line in lines:
            if line.strip() == "/stop":
                self.stop = True
            elif self.ahead and (self.is_pasted or self.ahead[-1].endswith("\\")):
                self.ahead[-1] = "\n".join((self.ahead[-1].removesuffix("\\"), line))
            else:
                self.ahead.append(line)
            self.is_pasted = True
        self.is_pasted = bool(lines)


def ending(answer: Message) -> str:
    """What is to be said of an answer that is not whole, or ""."""
    if answer.status == Message.Status.STOPPED:
        return "Stopped."
    if answer.status == Message.Status.COMPLETE:
        reason = answer.finish_reason
        return "" if reason in (None, "stop") else f"The LLM ended here: {reason}."
    return clean(f"{answer.get_status_display()}: {answer.error_detail}")


def not_utf_8(text: str) -> bool:
    """Whether some of what was read could not be decoded, and stands in the text as lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in text)
