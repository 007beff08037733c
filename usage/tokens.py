"""Estimates of how many tokens a text has, for calls whose vendor does not count them."""

from collections.abc import Iterable

from llms.vendors.types import ChatMessage, TextPart

BYTES_PER_TOKEN = 4  # of UTF-8; vendors name it for English, and it comes near for other scripts
TOKENS_PER_MESSAGE = 4  # that mark where a message begins, and its role


def token_estimate(size: int) -> int:
    """The estimate for a text of so many bytes of UTF-8."""
    return -(-size // BYTES_PER_TOKEN)


def text_tokens(text: str) -> int:
    """The estimate for a text."""
    return token_estimate(len(text.encode()))


def prompt_tokens(messages: Iterable[ChatMessage]) -> int:
    """The estimate for the messages of a call, together."""
    tokens = 0
    for message in messages:
        size = sum(len(part.text.encode()) for part in message.parts if isinstance(part, TextPart))
        tokens += token_estimate(size) + TOKENS_PER_MESSAGE
    return tokens
