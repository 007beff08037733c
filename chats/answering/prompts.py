"""Builds the prompt for an LLM: system prompt, the newest history that fits, question."""

from collections.abc import Sequence

from llms.vendors.types import ChatMessage, text_message
from usage.tokens import prompt_tokens


def build(*, system: str, history: Sequence[ChatMessage], question: str, window: int | None) -> tuple[ChatMessage, ...]:
    """The messages to send, of at most `window` estimated tokens (None: no limit).

    The newest exchanges of the history are kept, each whole: a question goes with its answers or not at all. The system
    prompt and the new question are always sent, even if they alone exceed the window: then the vendor decides.
    """
    first = [text_message("system", system)] if system else []
    last = text_message("user", question)
    if window is None:
        return (*first, *history, last)
    left = window - prompt_tokens([*first, last])
    exchanges: list[list[ChatMessage]] = []  # the history, divided before each question
    for turn in history:
        if turn.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(turn)
    kept: list[ChatMessage] = []
    for exchange in reversed(exchanges):
        left -= prompt_tokens(exchange)
        if left < 0:
            break
        kept[:0] = exchange
    return (*first, *kept, last)
