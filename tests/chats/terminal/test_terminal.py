"""Talking in the terminal: `manage.py chat` at a real one, with pipes, and beside servers on the same database."""

import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from django.core.management import CommandError, call_command
from rich.console import Console

from chats.colouring import Colourer
from chats.management.commands.chat import find_user
from chats.models import Chat
from chats.terminal.dialogue import only_chat, read_question
from chats.terminal.keyboard import AnswerInput
from chats.terminal.markdown import markdown_lines
from chats.terminal.screen import LiveMarkdown
from chats.terminal.session import find_chat
from groups.models import User
from tests.live import ROOT, manage
from tests.people import Person
from tests.talking import Member, Studio, ask, question
from tests.terminals import Screen, Terminal
from tests.test_imports import imports, modules, tree_of
from tests.vendor_server import VendorServer

ON_SQLITE = pytest.mark.parametrize("studio", ["sqlite"], indirect=True)
HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\rover\x08\u202etxt"
HARMLESS = "]0;title[2J31movertxt"
NUMBER = count(1)


def email_of(studio: Studio, member: Member) -> str:
    return str(studio.call("GET", f"/users/{member.id}")["attributes"]["email"])


def named_chat(studio: Studio, *groups: int) -> tuple[int, str]:
    chat, name = studio.chat(*groups), f"Support {next(NUMBER)}"
    studio.call("PATCH", f"/chats/{chat}", {"name": name})
    return chat, name


def sessions(studio: Studio, chat: int, key: str = "") -> list[str]:
    return [item["id"] for item in studio.call("GET", f"/sessions?filter[chat]={chat}", key=key)]


def piped(studio: Studio, *arguments: str) -> Popen[bytes]:
    command = [sys.executable, "manage.py", "chat", *arguments]
    return Popen(command, cwd=ROOT, env=studio.variables, stdin=PIPE, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("studio", ["postgresql"], indirect=True)
def test_a_question_that_is_piped(studio: Studio) -> None:
    group = studio.group()
    bob = studio.bob(group)
    chat, name = named_chat(studio, group)
    with piped(studio, name.upper(), "--as", email_of(studio, bob)) as process:
        output, errors = process.communicate(f"/echo **{HOSTILE}**\n".encode())
    assert (output.decode(), errors, process.returncode) == (f"**{HARMLESS}**\n", b"", 0)

    (session,) = sessions(studio, chat, bob.key)
    answer = studio.answer(session, key=bob.key)
    assert (answer["status"], answer["text"]) == ("complete", f"**{HOSTILE}**")
    assert answer["usage"]["input_tokens"] and not answer["usage"]["estimated"]


@ON_SQLITE
def test_an_answer_that_is_not_whole_behind_a_pipe(studio: Studio) -> None:
    works, breaks = named_chat(studio)[0], named_chat(studio)[0]
    gone = {"vendor": "ollama", "api_endpoint": "http://127.0.0.1:9", "default_model": "gone"}
    studio.call("PATCH", f"/chats/{breaks}", {"llm_id": studio.make("llms", name=f"Gone {next(NUMBER)}", **gone)})
    with piped(studio, str(breaks)) as failed, piped(studio, str(works)) as stopped:
        assert stopped.stdin and stopped.stdout
        stopped.stdin.write(b"/count 1000")
        stopped.stdin.close()
        stopped.stdout.read(20)
        stopped.send_signal(signal.SIGINT)
        output, errors = failed.communicate(b"Hello")
        assert (output, failed.returncode) == (b"", 1)
        assert errors.startswith(b"CommandError: Failed: ")
        assert stopped.stderr and stopped.stderr.read() == b"CommandError: Stopped.\n"
        assert stopped.wait() == 130
    for chat, status in ((works, "stopped"), (breaks, "failed")):
        (session,) = sessions(studio, chat)
        assert studio.answer(session)["status"] == status


def test_what_cannot_be(bob: Person, charlie: Person, alice: Person, chat: Chat) -> None:
    """A chat of others is one that does not exist."""
    for person, wanted in ((charlie, "Help desk"), (charlie, str(chat.pk)), (bob, "No such"), (bob, "9" * 30)):
        with pytest.raises(CommandError, match=rf"There is no chat '{wanted}' that {person.user} may use"):
            find_chat(person.user, wanted)
    assert find_chat(bob.user, " help DESK") == find_chat(bob.user, str(chat.pk)) == only_chat(bob.user) == chat
    with pytest.raises(CommandError, match="no group at all"):
        only_chat(charlie.user)
    chat.pk = None
    chat.save()
    with pytest.raises(CommandError, match="Several chats are named 'Help desk'; take one by its number"):
        find_chat(alice.user, "Help desk")
    with pytest.raises(CommandError, match=rf"Name one of these[\s\S]*{chat.pk}  Help desk"):
        only_chat(alice.user)
    assert find_user(None) == alice.user
    User.objects.update(is_admin=True, is_active=True)
    with pytest.raises(CommandError, match="several administrators; --as"):
        find_user(None)
    User.objects.update(is_active=False)
    for email in (None, "nobody@example.com", "bob@example.com"):
        with pytest.raises(CommandError, match=r"no active|There is no user|is not active"):
            find_user(email)
    with pytest.raises(CommandError, match="There is no question"):
        read_question(io.StringIO(" \n"))


@pytest.mark.parametrize(
    ("looks", "questions"),
    [
        ([["a", "b"], ["c"], [], ["d"]], ["a\nb\nc", "d"]),
        ([["a \\"], [], ["b\\"], [], ["c"], [], ["d\\"]], ["a \nb\nc", "d\\"]),
    ],
)
def test_what_is_typed_ahead(looks: list[list[str]], questions: list[str]) -> None:
    events = AnswerInput()
    for lines in looks:
        events.take_lines(lines)
    assert events.ahead == questions


def test_arguments_that_are_no_text() -> None:
    """They come as the shell gave them, and no database takes them."""
    for command in (
        ("chat", "\udcff"),
        ("chat", "--as", "\udcff"),
        ("check_llm", "\udcff"),
        ("check_llm", "X", "--model", "\udcff"),
        ("explain_access", "\udcff", "X"),
        ("create_token", "\udcff"),
    ):
        with pytest.raises(CommandError, match="not UTF-8"):
            call_command(*command)


@ON_SQLITE
def test_what_ends_it_is_one_line(studio: Studio, tmp_path: Path) -> None:
    _, name = named_chat(studio)
    empty = {**studio.variables, "DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"}
    with piped(studio, name) as reading:
        for closing, variables, words in (
            ("<&-", studio.variables, b"Standard input and standard output have to be open"),
            ("</dev/null", empty, b"The database cannot be used now: no such table"),
        ):
            command = ["sh", "-c", f'exec "$0" manage.py chat Welcome {closing}', sys.executable]
            ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, check=False)
            assert (ended.returncode, ended.stderr.count(b"\n")) == (1, 1)
            assert ended.stderr.startswith(b"CommandError: " + words)
        reading.send_signal(signal.SIGINT)  # by now it reads
        assert reading.stderr
        assert (reading.stderr.read(), reading.wait()) == (b"CommandError: Interrupted.\n", 130)


@ON_SQLITE
def test_a_title_that_is_paid_for_is_kept(studio: Studio) -> None:
    with VendorServer() as vendor:
        llm = {"vendor": "openai", "api_endpoint": vendor.url, "default_model": "titling:slow:20"}
        chat = studio.chat(llm=llm, llm_titles=True)
        with piped(studio, str(chat)) as process:
            process.communicate(b"Hello")
        assert process.returncode == 0
    [session] = studio.call("GET", f"/sessions?filter[chat]={chat}")
    assert session["attributes"]["name"] == " ".join(map(str, range(1, 21)))


@ON_SQLITE
def test_a_dialogue(studio: Studio) -> None:
    group = studio.group()
    bob = studio.bob(group)
    (chat, name), (other, _) = named_chat(studio, group), named_chat(studio, group)
    hostile = f"name={f'Other {HOSTILE}'!r}, name_folded='other'"
    rename = f"from chats.models import Chat; Chat.objects.filter(pk={other}).update({hostile})"
    manage(studio.variables, "shell", "-v", "0", "-c", rename)  # as a name was that an earlier version took
    call = partial(studio.call, key=bob.key)
    who = ("--as", email_of(studio, bob))

    with Terminal(studio.variables, *who) as terminal:
        terminal.wait(rf"{other}  Other {re.escape(HARMLESS)}\n +{chat}  {name}\nChat \(name or number\): \Z")
        terminal.say("No such", until=r"There is no chat 'No such'[\s\S]*: \Z")
        terminal.say(name)
        terminal.say("/count 1000", until=r"\b40\b")
        terminal.kill()
    (session,) = sessions(studio, chat, bob.key)
    assert studio.answer(session, key=bob.key)["status"] == "streaming"
    with closing(sqlite3.connect(studio.folder / "live.sqlite3")) as database:
        database.execute("UPDATE chats_activeanswer SET lease_until = '2020-01-01 00:00:00'")
        database.commit()
    hostile = call("POST", "/sessions", {"chat_id": other})["id"]
    call("POST", f"/sessions/{hostile}/messages", {"text": f"/echo {HOSTILE}"})

    with Terminal(studio.variables, name, *who) as terminal:
        seen = terminal.wait(r"again\.\n\n> \Z")
        assert "“/count 1000” goes on" in seen
        assert "> /count 1000\n\n1 2 3" in seen
        assert "Interrupted: The server that was answering ended." in seen.replace("\n", " ")

        assert re.search(r" Title\n\n • bold\n", terminal.say("/echo # Title\\\n\\\n- **bold**"))
        terminal.say("/count 1000", until=r"\b20\b")
        busy = studio.send("POST", f"/sessions/{session}/messages", question("Me, too"), key=bob.key)
        assert busy.status_code == 409
        terminal.type("\x03")
        terminal.wait(r"Stopped\.\n\n> \Z")
        answer = studio.answer(session, key=bob.key)
        assert answer["status"] == "stopped"
        assert answer["text"].startswith("1 2 3")
        assert answer["text"].split()[-1] in terminal.screen.text

        top = terminal.screen.row
        terminal.say("/retry", until=r"\b20\b")
        call("POST", f"/sessions/{session}/stop", server=1)  # as the page does
        terminal.wait(r"Stopped\.\n\n> \Z", top)
        assert len(call("GET", f"/sessions/{session}/messages?branch=all")) == 7

        answering = ask(studio.urls[0], bob.key, session, "/count 1000")  # and now it is the page that asks
        next(answering)
        assert "still being answered" in terminal.say("Me, too")
        assert "It is being stopped." in terminal.say("/stop")
        assert [event.data["status"] for event in answering if event.name == "done"] == ["stopped"]

        terminal.say("/count 1000", until=r"\b9\b")
        top = terminal.screen.row
        terminal.type("typed ahead\n/stop\n")
        assert "typed ahead" not in terminal.wait(r"Stopped\.\n\n> \Z", top)
        terminal.say("/count 40", until=r"\b9\b")
        terminal.type("typed ahead\nin two lines\n")
        terminal.wait(r"> typed ahead\nin two lines\n\nYou said: typed ahead\s+in two lines[\s\S]*\n> \Z")
        assert "There is no command /retri" in terminal.say("/retri")
        assert "answers with this list" in terminal.say(" /help").replace("\n", " ")  # the demo's, not the terminal's
        os.write(terminal.side, b"/chats \xff\n")
        terminal.wait(r"The name of the chat is not UTF-8\.\n+> \Z")  # the line's end may be shown twice
        terminal.say("/new")
        assert "I saw no earlier messages" in terminal.say("Hello").replace("\n", " ")
        assert len(sessions(studio, chat, bob.key)) == 2

        studio.call("PATCH", f"/chats/{chat}", {"group_ids": []})
        assert f"{name} is not open to" in terminal.say("Hello")
        assert terminal.say(f"/chats {other}").count(HARMLESS) == 3  # the chat's name, the question, the answer
        assert terminal.end("\x03") == 0


def test_an_answer_grows_as_it_is_shown_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is cut, and though only what may change is written again."""
    monkeypatch.setattr("chats.terminal.screen.INTERVAL", 0)
    monkeypatch.setattr("chats.terminal.screen.SHARE", 0)
    code = "\n".join(f"x{number} = {number}" for number in range(30))
    text = f"""Title
===

a *b* `c`
#hash
***bold***

- one

  more
- two

```python
{code}
```

|a|b|
|-|-|
|1|2|

<b>

{">" * 30} deep"""
    screens = []
    for step in (len(text), 5, 7):
        file, screen = io.StringIO(), Screen()
        growing = LiveMarkdown(Console(file=file, force_terminal=True, width=80, height=24, color_system="truecolor"))
        for place in range(0, len(text), step):
            growing.add(text[place : place + step])
            growing.refresh()
        growing.end()
        screen.feed(file.getvalue().replace("\n", "\r\n"))
        screens.append(screen)
    assert screens[0].text == screens[1].text == screens[2].text
    assert all(part in screens[0].text for part in ("Title", "a b c #hash bold", "x29 = 29", "<b>", ">>> deep"))


def shown(text: str, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, height=24)
    return "\n".join(markdown_lines(console, text, Colourer("colour_tokens")))


@pytest.mark.parametrize("columns", [2, 6, 30])
def test_a_table_has_all_of_its_text(columns: int) -> None:
    words = [f"column{number}-{'x' * 60}END" for number in range(columns)]
    row = f"|{'|'.join(words)}|\n"
    text = shown(f"> {row}> |{'-|' * columns}\n> {row}", 60)
    cells = "".join(re.sub(r"[^\w-]", "", line) for line in text.split("\n"))
    assert "…" not in text
    assert cells.count("x") == 2 * columns * 60
    assert all(len(line) < 60 for line in text.split("\n"))


def test_code_that_takes_long_to_colour_is_plain() -> None:
    begun = time.process_time()
    assert shown(f"```console\n{'a' * 45_000}\n```", 80).count("a") == 45_000
    assert shown(f"```java\n{'a ' * 900}\n{'a ' * 900}\n```", 80).count("a") == 1_800
    assert shown("```arduino\nint x;\n```", 80).strip() == "int x;"
    assert time.process_time() - begun < 10  # it was half a minute


def test_a_long_answer_costs_as_much_as_a_short_one_for_each_word() -> None:
    def seconds(lines: int) -> float:
        growing = LiveMarkdown(Console(file=io.StringIO(), force_terminal=True, width=80, height=24))
        begun = time.process_time()
        growing.add("```\n")
        for _ in range(lines // 50):
            growing.add("a line of code\n" * 50)
            growing.due = 0
            growing.refresh()
        growing.end()
        return time.process_time() - begun

    seconds(1_000)  # loads what highlights
    assert seconds(4_000) < 8 * seconds(1_000)  # it was 16 times, where all was formatted each time


def test_what_it_needs_is_loaded_by_nothing_else() -> None:
    theirs = re.compile(r"rich\.|chats\.terminal")
    users = {module for module in modules() if any(map(theirs.match, imports(module, tree_of(module))))}
    assert users == {
        "chats.management.commands.chat",
        "chats.terminal.dialogue",
        "chats.terminal.markdown",
        "chats.terminal.repl",
        "chats.terminal.screen",
        "chats.terminal.session",
    }
