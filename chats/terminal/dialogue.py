"""The command `manage.py chat`: a dialogue at a terminal, or one question through a pipe.

Answers are produced in this process, in a thread with an event loop, as a server produces them. The main thread reads
the keyboard and shows the answers. Control characters in texts or names never reach the terminal.
"""

import logging
import os
import sys
from typing import TextIO

from chats.models import Chat, Message
from chats.terminal.keyboard import AnswerInput
from chats.terminal.markdown import clean
from chats.terminal.process import answer_runner, exit_on_signals, interruptible
from chats.terminal.repl import Repl
from chats.terminal.screen import PlainOutput
from chats.terminal.session import (
    FAILED,
    INTERRUPTED_BY_KEY,
    TerminalSession,
    chats_of,
    command_error,
    find_chat,
    list_chats,
    outcome_text,
)
from groups.models import User


class CleanFormatter(logging.Formatter):
    """A log that a terminal shows between other lines."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))


def run(user: User, wanted: str | None, *, resume: bool | None) -> None:
    """Chat as this user in the chat with this name or number. Asks once if input or output is redirected.

    `resume` says whether the last conversation goes on; None means only in a dialogue. Raises CommandError with the
    exit status if the command cannot run, or if the answer to a redirected question is not complete.
    """
    for handler in logging.getLogger().handlers:
        handler.setFormatter(CleanFormatter("{levelname} {name} {message}", style="{"))
    logging.disable(logging.WARNING)  # the outcome of an answer is shown with the answer
    exit_on_signals()
    if sys.stdin is None or sys.stdout is None:  # closed by the shell with `<&-` or `>&-`
        raise command_error("Standard input and standard output have to be open; /dev/null will do.")
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    chat = None if wanted is None else find_chat(user, wanted)
    if sys.stdin.isatty() and sys.stdout.isatty():
        with answer_runner() as worker:
            Repl(user, worker).run(chat, resume=resume is not False)
        return
    chat = chat or only_chat(user)
    text = read_question(sys.stdin)
    with answer_runner() as worker:
        ask_once(TerminalSession(user, chat, worker, resume=bool(resume)), text, sys.stdout)


def ask_once(session: TerminalSession, text: str, output: TextIO) -> None:
    """Ask, and write the answer as plain text; raises CommandError if the answer is not complete."""
    events = AnswerInput()
    with interruptible(events.interrupt):
        answer = session.ask(text)
        try:
            answer = session.follow(answer, PlainOutput(output), events)
        except BrokenPipeError:  # the reader has ended, such as `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())  # Python flushes once more when it exits
            session.stop()
            raise command_error("Nobody reads the answer, so it was stopped.") from None
    if answer.status != Message.Status.COMPLETE:
        raise command_error(outcome_text(answer), INTERRUPTED_BY_KEY if events.stop else FAILED)
    if text := outcome_text(answer):
        sys.stderr.write(f"{text}\n")


def only_chat(user: User) -> Chat:
    """The user's chat if there is exactly one; raises CommandError."""
    chats = chats_of(user)[:2]
    if len(chats) != 1:
        raise command_error(f"Name one of these chats, or its number:\n{list_chats(user)}")
    return chats[0]


def read_question(source: TextIO) -> str:
    """The whole input without a final line feed; raises CommandError if it is blank."""
    text = source.read().removesuffix("\n")
    if not text.strip():
        raise command_error("There is no question: it is read from standard input.")
    return text
