"""A user in a chat, for a program that produces and shows answers in its own process, with the user's rights.

Errors are CommandErrors, with texts for a terminal.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

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
from chats.parts import joined_text, total_size
from chats.terminal.keyboard import AnswerInput
from chats.terminal.markdown import clean
from chats.terminal.screen import AnswerView
from core.database.casefold import fold
from groups.models import User

EXCHANGES = 2  # that are shown of a conversation that goes on
MOST_CHATS = 50  # in a list
FAILED, INTERRUPTED_BY_KEY = 1, 130  # exit statuses


def command_error(reason: str, status: int = FAILED) -> CommandError:
    """The error that ends a command, or is shown in a dialogue; control characters are taken out."""
    return CommandError(clean(reason), returncode=status)


def chats_of(user: User) -> QuerySet[Chat]:
    """The chats that the user may use, by name."""
    return Chat.objects.visible_to(user).order_by("name_folded", "pk")


def list_chats(user: User) -> str:
    """The chats that a user may use, one per line with its number; raises CommandError if there are none."""
    chats = list(chats_of(user)[: MOST_CHATS + 1])
    if not chats:
        raise command_error(access_summary(user))
    more = "\n     …  and more; name one." if len(chats) > MOST_CHATS else ""
    return clean("\n".join(f"{chat.pk:>6}  {' '.join(clean(chat.name).split())}" for chat in chats[:MOST_CHATS]) + more)


def find_chat(user: User, wanted: str) -> Chat:
    """The user's chat with this name or number; raises CommandError."""
    if not_utf_8(wanted):
        raise command_error("The name of the chat is not UTF-8.")
    chats = chats_of(user)
    matches = list(chats.filter(name_folded=fold(wanted))[:MOST_CHATS])
    if not matches and wanted.isascii() and wanted.isdecimal() and len(wanted) < 19:
        matches = list(chats.filter(pk=int(wanted)))
    if not matches:
        raise command_error(
            f"There is no chat {wanted!r} that {user} may use; manage.py explain_access says why one may not."
            f" {access_summary(user)}"
        )
    if len(matches) > 1:
        numbers = ", ".join(str(chat.pk) for chat in matches)
        raise command_error(f"Several chats are named {wanted!r}; take one by its number: {numbers}.")
    return matches[0]


class TerminalSession:
    """A user's conversation in a chat. Each method checks the rights that the user has at that moment."""

    def __init__(self, user: User, chat: Chat, worker: AnswerRunner, *, resume: bool) -> None:
        self.user, self.chat, self.worker = user, chat, worker
        # The last conversation in the chat, or None: then the first question creates one.
        sessions = Session.objects.visible_to(user).filter(chat=chat, archived=False)
        self.session = sessions.first() if resume else None

    def current_user(self) -> User:
        """The user as stored now; raises CommandError if the user is no longer active."""
        user = User.objects.filter(pk=self.user.pk, is_active=True).first()
        if user is None:
            raise command_error(f"{self.user} may not sign in any more.")
        return user

    def ask(self, text: str) -> Message:
        """Ask a question; returns the answer, whose production begins. If it raises CommandError, nothing is stored."""
        if not_utf_8(text):
            raise command_error("The question is not UTF-8.")
        serializer = QuestionSerializer(data={"text": text})
        if not serializer.is_valid():
            raise command_error(" ".join(map(str, serializer.errors["text"])))
        if self.session:
            return self.begin(conversation.ask, self.session, text=text)
        user = self.current_user()
        if not Chat.objects.visible_to(user).filter(pk=self.chat.pk).exists():
            raise self.not_open()
        session = Session.objects.create(user=user, chat=self.chat)
        try:
            answer = self.begin(conversation.ask, session, text=text)
        except CommandError:
            session.delete()
            raise
        self.session = session
        return answer

    def retry(self) -> Message:
        """Ask for another answer to the last question; returns that answer. Raises CommandError."""
        newest = self.newest_answer()
        if self.session is None or newest is None:
            raise command_error("There is no question yet.")
        return self.begin(conversation.regenerate, self.session, message=newest.pk)

    def begin(self, verb: Callable[..., Exchange], session: Session, **arguments: str | int) -> Message:
        try:
            exchange = verb(
                user=self.current_user(), session=session.uuid, runner_id=runner.current_runner_id(), **arguments
            )
        except (SessionNotFound, MessageNotFound):
            raise self.not_open() from None
        except ChatError as reason:  # another answer is being produced, or the LLM is not active
            raise command_error(str(reason)) from None
        self.worker.submit(exchange)
        return exchange.answer

    def not_open(self) -> CommandError:
        return command_error(f"{self.chat} is not open to {self.user} any more.")

    def stop(self) -> None:
        """Stop the answer that this or another process produces; raises CommandError if there is none."""
        try:
            if self.session is None:
                raise NothingToStop
            runner.stop(conversation.request_stop(session=self.session))
        except NothingToStop:
            raise command_error("Nothing is being answered in this conversation.") from None

    def newest_answer(self) -> Message | None:
        """The answer that the next question follows."""
        if self.session is None:
            return None
        sessions = Session.objects.visible_to(self.current_user()).filter(pk=self.session.pk)
        session = sessions.select_related("leaf").first()
        return session.leaf if session else None

    def last_messages(self) -> list[Message]:
        newest = self.newest_answer()
        if newest is None:
            return []
        return [*Message.objects.branch(newest.pk).order_by("-sequence")[: 2 * EXCHANGES]][::-1]

    def follow(self, answer: Message, view: AnswerView, events: AnswerInput) -> Message:
        """Show an answer until it has ended; returns it as it ended. Stops it when `events` asks for that."""
        future = asyncio.run_coroutine_threadsafe(self.read(answer, events.queue.put), self.worker.loop)
        future.add_done_callback(lambda _: events.queue.put(None))
        stop_requested = False
        while not (future.done() and events.queue.empty()):
            if text := events.next_text():
                view.add(text)
            if events.stop and not stop_requested:
                stop_requested = True
                with suppress(NothingToStop):  # the answer has just ended
                    runner.stop(conversation.request_stop(session=answer.session))
            view.refresh()
        view.end()
        return future.result()

    async def read(self, answer: Message, put: Callable[[str], None]) -> Message:
        """Pass each new piece of an answer to `put`. Runs in the runner's event loop."""
        feed = self.worker.live_answer(answer)
        offset = 0
        with Subscriber(feed) as reader:
            while True:
                if entries := feed.since(offset):
                    offset += total_size(entries)
                    if text := joined_text(entries):
                        put(text)
                elif feed.ended:
                    return feed.message
                else:
                    await reader.wait()


def outcome_text(answer: Message) -> str:
    """Why an answer is not complete, or has no text, or ends early; else ""."""
    if answer.status == Message.Status.STOPPED:
        return "Stopped."
    if answer.status == Message.Status.COMPLETE:
        return clean(answer.notice or "")
    return clean(f"{answer.get_status_display()}: {answer.error_detail}")


def not_utf_8(text: str) -> bool:
    """Whether the text was decoded from invalid UTF-8: Python marks such bytes with lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in text)
