"""A complete answer without text, or one that ends early, says why: in the API, on the page and in the terminal."""

from collections.abc import Iterator
from typing import Any

import pytest

from chats.models import Chat, Message, Session
from tests.chats.terminal.test_terminal import piped
from tests.chats.test_sessions import said
from tests.llms.vendors.test_completeness import DONE, piece
from tests.people import Person, client_of
from tests.talking import Studio, ask, opened, text_of
from tests.vendor_server import VendorServer

THOUGHT = piece(reasoning_content="Hm. ") + piece(reasoning_content="So.")
USED_UP = "used up its tokens thinking"


@pytest.fixture
def session(bob: Person, chat: Chat) -> Session:
    return Session.objects.create(user=bob.user, chat=chat, name="Weather")


@pytest.mark.parametrize(
    ("text", "reason", "notice"),
    [
        ("", "length", USED_UP),
        (" \n", "length", USED_UP),
        ("", "stop", "without a word"),
        ("", None, "without a word"),
        ("", "content_filter", "filter"),
        ("", "refusal", "refused"),
        ("", "tool_calls", "tool"),
        ("", "went_fishing", "went_fishing"),
        ("Rain", "length", "number of tokens that this chat allows"),
        ("Rain", "content_filter", "filter"),
        ("Rain", "refusal", "refused"),
        ("Rain", "tool_calls", "tool"),
        ("Rain", "<b>went_fishing", "<b>went_fishing"),
        ("Rain", "stop", None),
        ("Rain", None, None),
    ],
)
def test_api_page_and_export_say_why(
    bob: Person, session: Session, text: str, reason: str | None, notice: str | None
) -> None:
    answer = said(session, "Rain?", text)
    Message.objects.filter(pk=answer.pk).update(finish_reason=reason)
    question, shown = (each["attributes"] for each in bob.get(f"/sessions/{session.uuid}/messages").json())
    page = client_of(bob).get(f"/sessions/{session.uuid}").content.decode()
    export = client_of(bob).get(f"/sessions/{session.uuid}/export.md").content.decode()
    assert question["notice"] is None
    if notice is None:
        assert shown["notice"] is None
        assert "outcome" not in page
    else:
        assert notice in shown["notice"]
        assert f"<span>{shown['notice'].replace('<', '&lt;').replace('>', '&gt;')}</span>" in page
        assert f"*({shown['notice']})*" in export


@pytest.mark.parametrize("status", ["streaming", "stopped", "failed", "interrupted"])
def test_an_answer_that_is_not_complete_has_none(bob: Person, session: Session, status: str) -> None:
    answer = said(session, "Rain?", "")
    Message.objects.filter(pk=answer.pk).update(status=status)
    assert bob.get(f"/sessions/{session.uuid}/messages/{answer.pk}").json()["attributes"]["notice"] is None


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(tmp_path_factory.mktemp("notices"), servers=1) as studio:
        yield studio


def asked(studio: Studio, vendor: VendorServer, *steps: bytes) -> tuple[Any, str, int]:
    """The answer of a vendor that sends this, the text in its events, and the chat."""
    vendor.scripts["it"] = [*steps]
    chat = studio.chat(llm={"vendor": "openai", "api_endpoint": vendor.url, "default_model": "scripted:it"})
    session = studio.session(chat)
    events = list(ask(studio.urls[0], studio.key, session, "Rain?"))
    return studio.answer(session), text_of(events), chat


def test_tokens_used_up_for_thinking(studio: Studio, vendor: VendorServer) -> None:
    answer, text, chat = asked(studio, vendor, THOUGHT, piece("length"), DONE)
    assert (answer["status"], answer["finish_reason"], answer["text"], text) == ("complete", "length", "", "")
    assert [(part["type"], part["text"]) for part in answer["parts"]] == [("thinking", "Hm. So.")]
    assert USED_UP in answer["notice"]
    with piped(studio, str(chat)) as process:
        output, errors = process.communicate(b"Rain?")
    assert (output, process.returncode) == (b"", 0)
    assert errors.decode() == answer["notice"] + "\n"


def test_an_answer_that_came_as_thinking(studio: Studio, vendor: VendorServer) -> None:
    answer, text, _ = asked(studio, vendor, THOUGHT, piece("stop"), DONE)
    assert (answer["status"], answer["text"], text, answer["notice"]) == ("complete", "Hm. So.", "Hm. So.", None)
    assert [part["type"] for part in answer["parts"]] == ["thinking", "text"]


def test_nothing_at_all_can_be_asked_again(studio: Studio, vendor: VendorServer) -> None:
    answer, _, _ = asked(studio, vendor, piece("stop"), DONE)
    assert (answer["status"], answer["finish_reason"], answer["text"]) == ("failed", None, "")
    assert answer["error"]["retryable"]
    assert answer["error"]["detail"] == "The vendor ended the answer before its first word: stop."
