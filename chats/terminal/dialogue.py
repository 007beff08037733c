"""Talking in a terminal: what `manage.py chat` asks, follows, and shows.

The answers are made by a Worker of this process, in a thread with an event loop of its own, as a server makes them; the
main thread reads the keyboard and shows what comes. No control character of a text or a name reaches a terminal.
"""

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TextIO

from django.core.management.base import CommandError
from django.db import DatabaseError, close_old_connections
from rich.console import Console
from rich.text import Text

from chats.answering.runner import AnswerRunner
from chats.models import Chat, Message
from chats.terminal.screen import LiveMarkdown, PlainOutput, clean, silent_keys
from chats.terminal.session import (
    FAILED,
    INTERRUPTED_BY_KEY,
    AnswerInput,
    TerminalSession,
    chats_of,
    ending,
    find_chat,
    last_session,
    listing,
    refused,
)
from groups.models import User

try:
    import readline
except ImportError:  # a Python without it: lines are typed, and cannot be edited
    readline = None  # type: ignore[assignment]

ENDINGS = (signal.SIGTERM, signal.SIGHUP)

COMMANDS = {
    "/retry": "ask for another answer to the last question",
    "/stop": "stop the answer, as Ctrl-C does, also one that is made elsewhere",
    "/new": "begin a new conversation",
    "/chats": "list the chats; with a name or number, go to that one",
    "/help": "show this",
    "/quit": "leave, as Ctrl-D does",
}
MORE_HELP = "All else is a question. A line that ends with \\ goes on in the next one."


def unusable(error: DatabaseError) -> str:
    return f"The database cannot be used now: {' '.join(str(error).split())}"


class CleanFormatter(logging.Formatter):
    """A log that a person reads between other lines."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))


# the process


@contextmanager
def answering() -> Iterator[AnswerRunner]:
    """A worker that answers in this process; what it still makes at the end is kept, as interrupted.

    A title that was asked for is waited for, unless there is a reason to hurry: it has its price.
    """
    begun: Future[tuple[AnswerRunner, asyncio.Event]] = Future()

    async def live() -> None:
        async with AnswerRunner() as worker:
            leave = asyncio.Event()
            begun.set_result((worker, leave))
            await leave.wait()

    thread = Thread(target=lambda: asyncio.run(live()), name="answers")
    thread.start()
    try:
        yield begun.result()[0]
        with suppress(KeyboardInterrupt):
            asyncio.run_coroutine_threadsafe(begun.result()[0].wait_for_titles(), begun.result()[0].loop).result()
    finally:
        worker, leave = begun.result()
        worker.loop.call_soon_threadsafe(worker.interrupt)
        worker.loop.call_soon_threadsafe(leave.set)
        thread.join()


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Within it Ctrl-C calls `stop`, wherever the program is, and raises nothing."""
    before = signal.signal(signal.SIGINT, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave_on_signals() -> None:
    """Let the end of a terminal or a machine be an orderly one, that loses nothing."""

    def leave(sent: int, frame: object) -> None:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)  # a second one would break off what the first began
        sys.exit(128 + sent)

    for number in ENDINGS:
        signal.signal(number, leave)


# the two ways to talk


def talk_once(talk: TerminalSession, text: str, output: TextIO) -> None:
    """Ask, and write the answer as plain text; raises CommandError where it is not whole."""
    events = AnswerInput()
    with interruptible(events.interrupt):
        answer = talk.ask(text)
        try:
            answer = talk.follow(answer, PlainOutput(output), events)
        except BrokenPipeError:  # nobody reads on, as behind `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())  # where the rest goes when Python ends
            talk.stop()
            raise refused("Nobody reads the answer, so it was stopped.") from None
    if answer.status != Message.Status.COMPLETE:
        raise refused(ending(answer), INTERRUPTED_BY_KEY if events.stop else FAILED)


class Repl:
    """A person at a terminal."""

    def __init__(self, user: User, worker: AnswerRunner) -> None:
        self.user, self.worker = user, worker
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.keyboard = sys.stdin.fileno()
        self.ahead: list[str] = []
        self.talk: TerminalSession

    def say(self, text: str, style: str = "") -> None:
        self.console.print(Text(clean(text), style))

    def view(self) -> LiveMarkdown | PlainOutput:
        return PlainOutput(self.console.file) if self.console.is_dumb_terminal else LiveMarkdown(self.console)

    def run(self, chat: Chat | None, resume: bool) -> None:
        """Until the person leaves."""
        try:
            self.enter(chat or self.chosen(), resume)
            while True:
                close_old_connections()  # a person thinks for longer than a connection may live
                try:
                    self.obey(self.line())
                except CommandError as reason:
                    self.say(str(reason), "red")
                except DatabaseError as error:
                    self.say(unusable(error), "red")
        except (EOFError, KeyboardInterrupt):  # at the prompt
            self.console.line()

    def chosen(self) -> Chat:
        """The chat that the person names, or the only one."""
        chats = chats_of(self.user)[:2]
        if len(chats) == 1:
            return chats[0]
        self.say(listing(self.user))
        while True:
            try:
                if wanted := input("Chat (name or number): ").strip():
                    return find_chat(self.user, wanted)
            except CommandError as reason:
                self.say(str(reason), "red")

    def enter(self, chat: Chat, resume: bool) -> None:
        """Begin to talk in a chat: where the last conversation ended, and there is what was said."""
        self.talk = TerminalSession(self.user, chat, self.worker)
        self.talk.session = last_session(self.user, chat) if resume else None
        self.console.print(Text.assemble((clean(chat.name), "bold"), ("   /help lists the commands", "dim")))
        messages = self.talk.last_messages()
        if self.talk.session and messages:
            self.say(f"“{self.talk.session.name}” goes on; /new begins another.", "dim")
            for message in messages:
                self.show(message)

    def show(self, message: Message) -> None:
        """What was said before. The answer that is just being made elsewhere is followed."""
        if message.role == Message.Role.USER:
            if readline:
                readline.add_history(clean(message.text))
            self.say(f"> {message.text}", "bold")
        elif message.status == Message.Status.STREAMING:
            self.follow(lambda: message)
        else:
            view = self.view()
            view.add(message.text)
            self.console.line()
            view.end()
            self.after(message)

    def after(self, answer: Message) -> None:
        if said := ending(answer):
            self.say(said, "yellow")
        self.console.line()

    def line(self) -> str:
        """What the person says: a line, with those that it announces, or one that was typed ahead."""
        if self.ahead:
            line = self.ahead.pop(0)
            self.say(f"> {line}")
        else:
            line = input("> ")
        while line.endswith("\\"):
            line = f"{line[:-1]}\n{input('… ')}"
        return line

    def obey(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if not word:
            return
        if word in COMMANDS:
            if rest and word != "/chats":
                raise refused(f"{word} stands alone in its line.")
            getattr(self, word[1:])(*[rest.strip()] if rest else [])
        elif re.fullmatch(r"/[a-z]*", line):
            raise refused(f"There is no command {line}; /help lists them. With a space before it, it is a question.")
        else:
            self.follow(lambda: self.talk.ask(line))

    def follow(self, begin: Callable[[], Message]) -> None:
        events = AnswerInput(self.keyboard)
        with interruptible(events.interrupt), silent_keys(self.keyboard):
            answer = begin()
            self.console.line()
            answer = self.talk.follow(answer, self.view(), events)
            self.after(answer)
        self.ahead = [] if events.stop else self.ahead + events.ahead

    # the commands

    def retry(self) -> None:
        self.follow(self.talk.retry)

    def stop(self) -> None:
        self.talk.stop()
        self.say("It is being stopped.")

    def new(self) -> None:
        self.talk.session = None
        self.say("A new conversation begins with the next question.")

    def chats(self, wanted: str = "") -> None:
        user = self.talk.asking_user()
        if wanted:
            self.enter(find_chat(user, wanted), resume=True)
        else:
            self.say(listing(user))

    def help(self) -> None:
        for command, purpose in COMMANDS.items():
            self.say(f"{command:<8} {purpose}")
        self.say(MORE_HELP)

    def quit(self) -> None:
        raise EOFError


def run(user: User, wanted: str | None, *, resume: bool | None) -> None:
    """Talk as this user, in the chat of this name or number: at a terminal, or once if one end of it is a pipe or file.

    Unless `resume` says otherwise, a terminal goes on with the last conversation and a pipe begins one. Raises
    CommandError, with the exit status, for what cannot be and for an answer that is not whole.
    """
    for handler in logging.getLogger().handlers:
        handler.setFormatter(CleanFormatter("{levelname} {name} {message}", style="{"))
    logging.disable(logging.WARNING)  # what is wrong with an answer is said with it
    leave_on_signals()
    if sys.stdin is None or sys.stdout is None:  # a shell's `<&-` and `>&-`
        raise refused("Standard input and standard output have to be open; /dev/null will do.")
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    chat = None if wanted is None else find_chat(user, wanted)
    if sys.stdin.isatty() and sys.stdout.isatty():
        with answering() as worker:
            Repl(user, worker).run(chat, resume is not False)
        return
    chat = chat or only_chat(user)
    text = question(sys.stdin)
    with answering() as worker:
        talk = TerminalSession(user, chat, worker)
        talk.session = last_session(user, chat) if resume else None
        talk_once(talk, text, sys.stdout)


def only_chat(user: User) -> Chat:
    chats = chats_of(user)[:2]
    if len(chats) != 1:
        raise refused(f"Name one of these chats, or its number:\n{listing(user)}")
    return chats[0]


def question(source: TextIO) -> str:
    """All that there is to read, without the line feed that ends a file; raises CommandError if that is nothing."""
    text = source.read().removesuffix("\n")
    if not text.strip():
        raise refused("There is no question: it is read from standard input.")
    return text
