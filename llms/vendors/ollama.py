"""Ollama's own chat, which streams a JSON document a line."""

import re
from collections.abc import Iterator
from typing import Any

from llms.vendors.adapter import Adapter, Page, Parser, Request, map_options, token_count
from llms.vendors.sse import LONGEST, too_long
from llms.vendors.types import Call, Usage, Vendor

ENDPOINT = "http://localhost:11434"
NAMES = {
    "temperature": "temperature",
    "max_tokens": "num_predict",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repeat_penalty",
    "seed": "seed",
    "stop_words": "stop",
}


class Lines:
    """Gives each line as soon as it is complete; blank ones are left out."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []  # the pieces of a line whose end has not come
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that this completes; VendorError where one is longer than LONGEST."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun.clear()
            self._size = 0
        for line in lines:
            if len(line) > LONGEST:
                raise too_long()
            if line.strip():
                yield line
        if rest:
            self._begun.append(rest)  # joined once, however small the pieces come
            self._size += len(rest)
            if self._size > LONGEST:
                raise too_long()

    def close(self) -> Iterator[bytes]:
        """The line that the end cut off from its newline."""
        return self.feed(b"\n")


class ChatParser(Parser):
    form = "a chat as Ollama's API has it"
    reasons = {"stop": "stop", "length": "length"}
    documents = Lines
    whole = ()  # what is not streamed is one line

    def __init__(self, secret: str = "") -> None:
        super().__init__(secret)
        self._calls = 0

    def _read(self, line: Any) -> None:
        if error := line.get("error"):
            raise self._failure(error)
        message = line.get("message") or {}
        if thought := message.get("thinking"):
            self._thought(thought)
        if text := message.get("content"):
            self._text(text)
        for call in message.get("tool_calls") or ():
            self._call(
                self._calls, call.get("id"), call["function"].get("name"), call["function"].get("arguments") or {}
            )
            self._calls += 1
            self._stop = "tool_calls"
        if line.get("done"):
            usage = Usage(token_count(line.get("prompt_eval_count")), token_count(line.get("eval_count")), None)
            self._count(None if usage == Usage(None, None, None) else usage)
            self._finish(line.get("done_reason") or "stop")
            self.done = True


class Ollama(Adapter):
    parser = ChatParser

    def request(self, call: Call) -> Request:
        known, ignored = map_options(call.options, NAMES)
        body: dict[str, Any] = {
            "model": call.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in call.turns],
            "stream": True,
        }
        if known:
            body["options"] = known
        return Request(f"{base(call.endpoint)}/chat", headers_with(call.api_key), body, ignored)

    def listed_as(self, model: str) -> str:
        return model if ":" in model else f"{model}:latest"

    def list_request(self, endpoint: str, api_key: str, page: str) -> tuple[str, dict[str, str]]:
        return f"{base(endpoint)}/tags", headers_with(api_key)

    def page_in(self, document: Any) -> Page:
        return Page([model["name"] for model in document["models"] or ()])


def base(endpoint: str) -> str:
    return re.sub(r"/(api|v1)$", "", (endpoint or ENDPOINT).rstrip("/")) + "/api"


def headers_with(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


ADAPTER: Vendor = Ollama()
