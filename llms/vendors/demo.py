"""A vendor without network and cost: it answers from what it is told, the same each time.

To try things out, `/count 500` is answered with the numbers from 1 to 500, and `/echo TEXT` with exactly that text.
"""

import asyncio
import re
from collections.abc import AsyncGenerator

from llms.vendors.http import Client
from llms.vendors.types import Call, Finish, IgnoredSettings, StreamEvent, Text, Usage, Vendor

DELAY = 0.02  # seconds before each word
HIGHEST_COUNT = 100_000
KNOWN = {"max_tokens", "stop_words"}
WORD = re.compile(r"\S+\s*|\s+")  # with the space that follows, so that all of them are the text


class Demo:
    async def stream(self, call: Call, http: Client) -> AsyncGenerator[StreamEvent, None]:
        if ignored := tuple(setting for setting in call.options if setting not in KNOWN):
            yield IgnoredSettings(ignored)
        words = WORD.findall(before(answer(call), call.options.get("stop_words", ())))
        said = words[: call.options.get("max_tokens")]
        for word in said:
            await asyncio.sleep(DELAY)
            yield Text(word)
        yield Usage(sum(len(turn.text.split()) for turn in call.turns), len(said), None)
        yield Finish("stop" if len(said) == len(words) else "length")

    def listed_as(self, model: str) -> str:
        return model

    async def models(self, endpoint: str, api_key: str, http: Client) -> tuple[str, ...]:
        return ("demo",)


ADAPTER: Vendor = Demo()


def answer(call: Call) -> str:
    earlier = [turn for turn in call.turns if turn.role != "system"]
    question = earlier.pop().text if earlier else ""
    if counted := re.fullmatch(r"/count ([0-9]{1,6})\s*", question):
        return " ".join(map(str, range(1, min(int(counted[1]), HIGHEST_COUNT) + 1)))
    if question.startswith("/echo "):
        return question.removeprefix("/echo ")
    seen = {0: "no earlier messages", 1: "1 earlier message"}.get(len(earlier), f"{len(earlier)} earlier messages")
    prompted = len(earlier) + bool(question) < len(call.turns)
    return (
        f"You said: {question}\n\nI am the demo: no language model, I answer from what I am told. "
        f"I saw {seen}{', and follow the system prompt' if prompted else ''}."
    )


def before(text: str, stop_words: list[str]) -> str:
    """The text up to the first of the stop words."""
    return text[: min((text.find(word) for word in stop_words if word in text), default=None)]
