"""What is sent to an LLM: which system prompt, how much of the history, which settings."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from chats import conversation
from chats.answering import prompts
from chats.answering.prompts import build
from chats.errors import ChatError
from chats.models import ActiveAnswer, Chat, Message, Session
from core.database.encryption import EncryptedStr
from llms.call_builder import OPTIONS, options_of
from llms.context_windows import input_budget
from llms.models import LLM, LLMSettings
from llms.vendors.types import Call, ChatMessage, text_message
from tests.chats.test_sessions import said
from tests.people import Person
from usage.tokens import TOKENS_PER_MESSAGE, prompt_tokens, text_tokens


def turns(text: str) -> list[ChatMessage]:
    """Of "u1 a1 u2" two questions and an answer; each has 1 token, and those that mark it."""
    roles: dict[str, Any] = {"u": "user", "a": "assistant", "s": "system"}
    return [text_message(roles[word[0]], word) for word in text.split()]


def built(history: str, window: int | None, system: str = "", question: str = "u9") -> str:
    sent = build(system=system, history=turns(history), question=question, window=window)
    return " ".join(turn.text for turn in sent)


ONE = TOKENS_PER_MESSAGE + 1  # token of a turn of `turns`


@pytest.mark.parametrize(
    ("history", "window", "expected"),
    [
        ("", None, "u9"),
        ("u1 a1 u2 a2", None, "u1 a1 u2 a2 u9"),
        ("u1 a1 u2 a2", 5 * ONE, "u1 a1 u2 a2 u9"),
        ("u1 a1 u2 a2", 5 * ONE - 1, "u2 a2 u9"),
        ("u1 a1 u2 a2", 4 * ONE, "u2 a2 u9"),  # never an answer without its question
        ("u1 a1 u2 a2", 3 * ONE, "u2 a2 u9"),
        ("u1 a1 u2 a2", 3 * ONE - 1, "u9"),
        ("u1 a1 u2 a2", ONE, "u9"),
        ("u1 a1 u2 a2", 1, "u9"),
        ("u1 a1 u2 a2", 0, "u9"),
        ("u1 u2 a2", 3 * ONE, "u2 a2 u9"),  # u1 was not answered
        ("u1 u2 a2", 4 * ONE, "u1 u2 a2 u9"),
        ("u1 a1 u2", 2 * ONE, "u2 u9"),
        ("u1 a1 u2", 3 * ONE, "u2 u9"),
        ("a1 u2 a2", 4 * ONE, "a1 u2 a2 u9"),
    ],
)
def test_the_newest_exchanges_that_fit(history: str, window: int | None, expected: str) -> None:
    assert built(history, window) == expected


def test_an_old_exchange_that_fits_does_not_come_without_a_newer_one() -> None:
    history = [*turns("u1 a1"), text_message("user", "long " * 100), *turns("a2 u3 a3")]
    sent = build(system="", history=history, question="u9", window=6 * ONE)
    assert [turn.text for turn in sent] == ["u3", "a3", "u9"]


def test_the_system_prompt_counts_and_stays() -> None:
    assert built("u1 a1", 4 * ONE, system="s0") == "s0 u1 a1 u9"
    assert built("u1 a1", 3 * ONE, system="s0") == "s0 u9"
    assert built("u1 a1", 0, system="s0 is long") == "s0 is long u9"
    assert build(system="s0", history=[], question="u9", window=0) == (
        text_message("system", "s0"),
        text_message("user", "u9"),
    )


def test_tokens_are_estimated_by_bytes() -> None:
    assert [text_tokens(text) for text in ("", "a", "abcd", "abcde", "ж" * 4)] == [0, 1, 1, 2, 2]
    assert prompt_tokens(turns("u1 a1")) == 2 * ONE


@pytest.mark.parametrize(
    ("model", "max_tokens", "expected"),
    [
        ("gpt-4", None, 8_192 // 2),
        ("gpt-4", 1_000, 8_192 - 1_000),
        ("gpt-4", 8_000, 8_192 // 2),
        ("gpt-4o-mini-2024-07-18", None, 128_000 - 16_000),  # the longest prefix, not gpt-4
        ("openai/gpt-4", 1_000, 8_192 - 1_000),
        ("claude-opus-4-5", 2_000, 198_000),
        ("claude-opus-4-6", 2_000, 998_000),
        ("gpt-5.4-mini", 1_000, 399_000),
        ("gpt-5.4", 50_000, 1_000_000),
        ("gpt-4-0613", 1_000, 8_192 - 1_000),
        ("gpt-4-32k-0613", 1_000, 32_768 - 1_000),
        ("gpt-4-1106-preview", 1_000, 127_000),
        ("gpt-4-turbo-preview", 1_000, 127_000),
        ("gpt-4.5-preview-2025-02-27", 1_000, 127_000),
        ("gpt-3.5-turbo-0613", 1_000, 3_096),
        ("gpt-5.2-chat-latest", 1_000, 127_000),
        ("o1-mini-2024-09-12", 1_000, 127_000),
        ("o1-pro", 1_000, 199_000),
        ("claude-2.0", 1_000, 99_000),
        ("claude-mythos-5-2", 1_000, 999_000),
        ("gemini-2.5-flash", 48_576, 1_000_000),
        ("gemma-3-27b-it", 1_072, 130_000),
        ("mistral-large-2402", 768, 32_000),
        ("ministral-8b-latest", 1_000, 127_000),
        ("deepseek-reasoner", 1_000, 127_000),
        ("grok-4-fast-reasoning", 1_000, 1_999_000),
        ("anthropic/claude-opus-4.6", 1_000, 999_000),  # as gateways call it
        ("openrouter/google/Gemma-3-27B-it:free", 1_072, 130_000),
        ("ft:gpt-3.5-turbo-0125:ours::7", 1_000, 15_385),
        ("gpt-4-tomorrow", None, None),  # not that of gpt-4
        ("deepseek-v9", None, None),
        ("demo", None, None),
        ("my-gpt-4", None, None),
        ("", None, None),
    ],
)
def test_the_window_of_a_model(model: str, max_tokens: int | None, expected: int | None) -> None:
    assert input_budget(model, max_tokens=max_tokens) == expected


def test_zero_is_sent_and_null_is_not() -> None:
    assert options_of(LLMSettings()) == {}
    zeros: dict[str, Any] = dict.fromkeys(set(OPTIONS) - {"max_tokens", "stop_words"}, 0)
    assert options_of(LLMSettings(**zeros)) == zeros
    assert options_of(LLMSettings(max_tokens=1, stop_words=["END"])) == {"max_tokens": 1, "stop_words": ["END"]}
    unsent = {"max_length": 5, "metadata": {"a": 1}, "system_prompt": "Hi", "model_name": "demo"}
    assert options_of(LLMSettings(**unsent)) == {}


# what a question makes of what is stored


@pytest.fixture
def session(bob: Person, chat: Chat) -> Session:
    session = Session.objects.create(user=bob.user, chat=chat)
    said(session, "u1", "a1")
    said(session, "u2", "a2")
    return session


def asked(session: Session, text: str = "u9") -> Call:
    """The call that a question in the session leads to."""
    exchange = conversation.ask(user=session.user, session=session.uuid, text=text, runner_id=uuid4())
    assert exchange.call
    return exchange.call


def said_to(call: Call) -> str:
    return " ".join(turn.text for turn in call.turns)


@pytest.mark.parametrize(
    ("of_chat", "of_settings", "expected"),
    [("s1", "s2", ["s1"]), ("", "s2", ["s2"]), ("s1", "", ["s1"]), ("", "", [])],
)
def test_the_system_prompt_of_the_chat_else_that_of_the_settings(
    session: Session, of_chat: str, of_settings: str, expected: list[str]
) -> None:
    Chat.objects.update(system_prompt=of_chat)
    LLMSettings.objects.update(system_prompt=of_settings)
    call = asked(session)
    assert [turn.text for turn in call.turns if turn.role == "system"] == expected
    assert [turn.text for turn in call.turns[len(expected) :]] == ["u1", "a1", "u2", "a2", "u9"]


@pytest.mark.parametrize(
    ("max_length", "expected"),
    [(None, "u1 a1 u2 a2 u9"), (0, "u9"), (3 * ONE, "u2 a2 u9"), (1_000, "u1 a1 u2 a2 u9")],
)
def test_max_length_is_the_window(session: Session, max_length: int | None, expected: str) -> None:
    LLMSettings.objects.update(max_length=max_length)
    assert said_to(asked(session)) == expected


@pytest.mark.parametrize(("model", "kept"), [("gpt-4", False), ("gpt-4o", True), ("anything", True)])
def test_else_it_is_that_of_the_model(session: Session, model: str, kept: bool) -> None:
    LLMSettings.objects.update(model_name=model)
    said(session, "long " * 4_000, "a3")  # 5,000 tokens
    sent = said_to(asked(session))
    assert sent.endswith("a3 u9") == kept
    assert sent.endswith("u9")


def test_of_the_history_only_the_branch_and_what_was_said(session: Session) -> None:
    first = Message.objects.get(text="a1")
    said(session, "u3", "", after=first)  # an answer that failed before its first word
    said(session, "u4", "a4")
    call = asked(session)
    assert said_to(call) == "u1 a1 u3 u4 a4 u9"
    assert [turn.role for turn in call.turns] == ["user", "assistant", "user", "user", "assistant", "user"]


def test_edit_and_regenerate_see_what_came_before_the_question(session: Session) -> None:
    second = Message.objects.get(text="a2")
    about: dict[str, Any] = {"user": session.user, "session": session.uuid, "runner_id": uuid4()}
    again = conversation.regenerate(message=second.pk, **about).call
    assert again and said_to(again) == "u1 a1 u2"
    ActiveAnswer.objects.all().delete()
    edited = conversation.edit(message=second.parent_id or 0, text="u5", **about).call
    assert edited and said_to(edited) == "u1 a1 u5"


def test_a_call_has_the_settings_exactly(session: Session, llm: LLM) -> None:
    LLM.objects.update(api_endpoint="https://llm.example.com/v1")
    LLMSettings.objects.update(temperature=0, top_p=None, seed=0, stop_words=[], max_tokens=7)
    call = asked(session)
    assert call.options == {"temperature": 0, "seed": 0, "max_tokens": 7}
    assert (call.model, call.endpoint) == ("demo", "https://llm.example.com/v1")
    assert call.api_key == llm.api_key.reveal()
    assert call.api_key not in repr(call)


@pytest.mark.parametrize(
    ("of_settings", "default", "allowed", "expected"),
    [
        ("large", "small", [], "large"),
        ("", "small", [], "small"),
        ("large", "small", ["large"], "large"),
        ("large", "small", ["small"], None),
        ("", "small", ["large"], None),
        ("", "", [], None),
    ],
)
def test_the_model_of_the_settings_else_that_of_the_llm(
    session: Session, of_settings: str, default: str, allowed: list[str], expected: str | None
) -> None:
    LLM.objects.update(default_model=default, allowed_models=allowed)
    LLMSettings.objects.update(model_name=of_settings)
    if expected:
        assert asked(session).model == expected
    else:
        with pytest.raises(ChatError):
            asked(session)
        assert Message.objects.count() == 4


def test_a_key_that_cannot_be_read_is_a_conflict(session: Session) -> None:
    LLM.objects.update(api_key=EncryptedStr("not what was encrypted"))
    with pytest.raises(ChatError, match="cannot be read"):
        asked(session)
    assert not ActiveAnswer.objects.exists()


def test_all_is_prepared_before_the_transaction(
    transactional_db: None, bob: Person, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building the prompt and decrypting the key take time, in which nobody else could write."""
    in_transaction = []
    reveal, build_prompt = EncryptedStr.reveal, prompts.build

    def decrypt(secret: EncryptedStr) -> str:
        in_transaction.append(connection.in_atomic_block)
        return reveal(secret)

    def build(**about: Any) -> tuple[ChatMessage, ...]:
        in_transaction.append(connection.in_atomic_block)
        return build_prompt(**about)

    monkeypatch.setattr(EncryptedStr, "reveal", decrypt)
    monkeypatch.setattr(prompts, "build", build)
    asked(Session.objects.create(user=bob.user, chat=chat))
    assert in_transaction == [False, False]


def test_a_question_follows_what_was_answered_while_it_was_prepared(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_call, prepared = conversation.prepare_call, []

    def prepare(context: conversation.AskContext, question: Message) -> tuple[Call, int]:
        prepared.append(question.parent_id)
        call = prepare_call(context, question)
        if len(prepared) == 1:
            said(session, "u3", "a3")
        return call

    monkeypatch.setattr(conversation, "prepare_call", prepare)
    call = asked(session)
    session.refresh_from_db()
    assert [turn.text for turn in call.turns] == ["u1", "a1", "u2", "a2", "u3", "a3", "u9"]
    assert len(prepared) == 2
    assert session.messages.get(text="u9").parent_id == session.messages.get(text="a3").pk
