"""The dialogue with a person at a terminal: reads questions and commands, shows answers."""

import re
import sys
from collections.abc import Callable

from django.core.management.base import CommandError
from django.db import DatabaseError, close_old_connections
from rich.console import Console
from rich.text import Text

from chats.answering.runner import AnswerRunner
from chats.models import Chat, Message
from chats.terminal.keyboard import AnswerInput, silent_keys
from chats.terminal.markdown import clean
from chats.terminal.process import interruptible
from chats.terminal.screen import AnswerView, LiveMarkdown, PlainOutput
from chats.terminal.session import TerminalSession, chats_of, command_error, find_chat, list_chats, outcome_text
from core.database.connections import describe_failure
from groups.models import User

try:
    import readline
except ImportError:  # some builds of Python have no readline; then lines cannot be edited
    readline = None  # type: ignore[assignment]

COMMANDS = {
    "/retry": "ask for another answer to the last question",
    "/stop": "stop the answer, like Ctrl-C; also an answer that is produced elsewhere",
    "/new": "begin a new conversation",
    "/chats": "list the chats; with a name or number, go to that chat",
    "/help": "show this help",
    "/quit": "leave, like Ctrl-D",
}
MORE_HELP = (
    "Everything else is a question, and so is a command after a space. A line that ends with \\ continues on the next"
    " line."
)


def database_problem(error: DatabaseError) -> str:
    return f"The database cannot be used now: {describe_failure(error)}"


class Repl:
    """Runs until the person leaves."""

    def __init__(self, user: User, worker: AnswerRunner) -> None:
        self.user, self.worker = user, worker
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.keyboard = sys.stdin.fileno()
        self.ahead: list[str] = []  # questions that were typed ahead
        self.session: TerminalSession

    def say(self, text: str, style: str = "") -> None:
        self.console.print(Text(clean(text), style))

    def run(self, chat: Chat | None, *, resume: bool) -> None:
        try:
            self.enter(chat or self.choose_chat(), resume=resume)
            while True:
                close_old_connections()  # a person may think for longer than a connection may live
                try:
                    self.obey(self.read_line())
                except CommandError as error:
                    self.say(str(error), "red")
                except DatabaseError as error:
                    self.say(database_problem(error), "red")
        except (EOFError, KeyboardInterrupt):  # Ctrl-D, /quit, or Ctrl-C at the prompt
            self.console.line()

    def choose_chat(self) -> Chat:
        """The user's only chat, or the one that the person names."""
        chats = chats_of(self.user)[:2]
        if len(chats) == 1:
            return chats[0]
        self.say(list_chats(self.user))
        while True:
            try:
                if wanted := input("Chat (name or number): ").strip():
                    return find_chat(self.user, wanted)
            except CommandError as error:
                self.say(str(error), "red")

    def enter(self, chat: Chat, *, resume: bool) -> None:
        """Begin or resume a conversation in a chat, and show the last messages."""
        self.session = TerminalSession(self.user, chat, self.worker, resume=resume)
        self.console.print(Text.assemble((clean(chat.name), "bold"), ("   /help lists the commands", "dim")))
        messages = self.session.last_messages()
        if self.session.session and messages:
            self.say(f"“{self.session.session.name}” goes on; /new begins another.", "dim")
            for message in messages:
                self.show(message)

    def new_view(self) -> AnswerView:
        return PlainOutput(self.console.file) if self.console.is_dumb_terminal else LiveMarkdown(self.console)

    def show(self, message: Message) -> None:
        """Show an earlier message. An answer that another process still produces is followed."""
        if message.role == Message.Role.USER:
            if readline:
                readline.add_history(clean(message.text))
            self.say(f"> {message.text}", "bold")
        elif message.status == Message.Status.STREAMING:
            self.follow(lambda: message)
        else:
            view = self.new_view()
            view.add(message.text)
            self.console.line()
            view.end()
            self.show_outcome(message)

    def show_outcome(self, answer: Message) -> None:
        if text := outcome_text(answer):
            self.say(text, "yellow")
        self.console.line()

    def follow(self, begin: Callable[[], Message]) -> None:
        """Begin an answer, and show it until it has ended."""
        events = AnswerInput(self.keyboard)
        with interruptible(events.interrupt), silent_keys(self.keyboard):
            answer = begin()
            self.console.line()
            self.show_outcome(self.session.follow(answer, self.new_view(), events))
        self.ahead = [] if events.stop else self.ahead + events.ahead

    def read_line(self) -> str:
        """The next input: a question that was typed ahead, or a line and those that continue it."""
        if self.ahead:
            line = self.ahead.pop(0)
            self.say(f"> {line}")
        else:
            line = input("> ")
        while line.endswith("\\"):
            line = f"{line[:-1]}\n{input('… ')}"
        return line

    def obey(self, line: str) -> None:
        """Run a command, or ask a question; raises CommandError."""
        if line.startswith(" /"):
            self.follow(lambda: self.session.ask(line[1:]))
            return
        command, _, argument = line.strip().partition(" ")
        argument = argument.strip()
        if argument and command in COMMANDS and command != "/chats":
            raise command_error(f"{command} stands alone in its line.")
        match command:
            case "":
                pass
            case "/retry":
                self.follow(self.session.retry)
            case "/stop":
                self.session.stop()
                self.say("It is being stopped.")
            case "/new":
                self.session.session = None
                self.say("A new conversation begins with the next question.")
            case "/chats" if argument:
                self.enter(find_chat(self.session.current_user(), argument), resume=True)
            case "/chats":
                self.say(list_chats(self.session.current_user()))
            case "/help":
                for name, purpose in COMMANDS.items():
                    self.say(f"{name:<8} {purpose}")
                self.say(MORE_HELP)
            case "/quit":
                raise EOFError
            case _ if re.fullmatch(r"/[a-z]*", line):
                raise command_error(
                    f"There is no command {line}; /help lists them. With a space before it, it is a question."
                )
            case _:
                self.follow(lambda: self.session.ask(line))
