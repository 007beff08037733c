"""What is sent to an LLM: the system prompt, the newest history that fits, the question."""

from collections.abc import Iterable, Sequence

from llms.vendors.types import ChatMessage, text_message

BYTES_PER_TOKEN = 4  # of UTF-8; what vendors say of English, and near enough to it for other scripts
TOKENS_PER_TURN = 4  # that mark where it begins and whose it is


def estimate(text: str) -> int:
    """About how many tokens a text has, where no vendor has counted them."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def tokens_of(turns: Iterable[ChatMessage]) -> int:
    """About how many tokens turns have together."""
    return sum(estimate(turn.text) + TOKENS_PER_TURN for turn in turns)


def build(*, system: str, history: Sequence[ChatMessage], question: str, window: int | None) -> tuple[ChatMessage, ...]:
    """The turns to send, of at most `window` tokens (None: no limit), as we estimate them.

    The newest exchanges of the history are kept, each whole: a question goes with its answers or not at all. The
    system prompt and the new question are always there, even where they alone are too much: then the vendor decides.
    """
    first = [text_message("system", system)] if system else []
    last = text_message("user", question)
    if window is None:
        return (*first, *history, last)
    left = window - tokens_of([*first, last])
    kept: list[ChatMessage] = []
    for exchange in reversed(exchanges(history)):
        left -= tokens_of(exchange)
        if left < 0:
            break
        kept[:0] = exchange
    return (*first, *kept, last)


def exchanges(history: Sequence[ChatMessage]) -> list[list[ChatMessage]]:
    """The history, divided before each question."""
    divided: list[list[ChatMessage]] = []
    for turn in history:
        if turn.role == "user" or not divided:
            divided.append([])
        divided[-1].append(turn)
    return divided
