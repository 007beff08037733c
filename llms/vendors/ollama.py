"""Ollama's own chat, which streams one JSON document per line."""

import re
from collections.abc import Iterable, Iterator

from llms.vendors.adapter import PARTS_WITH_PICTURES, Adapter, ModelPage, WireRequest, map_options
from llms.vendors.api_base import api_base
from llms.vendors.json_access import JSONObject, as_list, as_object, token_count
from llms.vendors.messages import encode_image
from llms.vendors.openai import write_tools
from llms.vendors.parser import AnswerParser
from llms.vendors.sse import check_length
from llms.vendors.types import Call, ChatMessage, ImagePart, ThinkingPart, ToolCallPart, ToolResultPart, Usage, Vendor

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


ANSWER_KEYS = frozenset({"message", "done", "model", "created_at"})


class LineDecoder:
    """Yields each line as soon as it is complete; skips blank ones."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that is not complete
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that this chunk completes; raises VendorError if one is longer than LONGEST."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces.clear()
            self._size = 0
        for line in lines:
            check_length(len(line))
            if line.strip():
                yield line
        if rest:
            self._pieces.append(rest)  # joined only once, however small the pieces are
            self._size += len(rest)
            check_length(self._size)


class ChatParser(AnswerParser):
    form = "a chat as Ollama's API has it"
    decoder = LineDecoder
    whole = ()  # an answer that is not streamed is one line

    _calls = 0  # of tools, so far

    def _read(self, document: object) -> None:
        line = as_object(document)
        self._check_failure(line, ANSWER_KEYS)
        if isinstance(line.get("message"), str):
            raise self._failure(line)
        message = as_object(line.get("message") or {})
        if thought := message.get("thinking"):
            self._add_thinking(thought)
        if text := message.get("content"):
            self._add_text(text)
        for call in map(as_object, as_list(message.get("tool_calls") or [])):
            function = as_object(call["function"])
            self._add_tool_call(self._calls, call.get("id"), function.get("name"), function.get("arguments") or {})
            self._calls += 1
            self._stop = "tool_calls"
        if line.get("done"):
            taken, given = token_count(line.get("prompt_eval_count")), token_count(line.get("eval_count"))
            self._add_usage(Usage(taken, given, None))
            self._finish(line.get("done_reason") or "")
            self._end()


class Ollama(Adapter):
    vendor = "Ollama"
    parser = ChatParser
    parts = PARTS_WITH_PICTURES
    list_path = "/tags"

    def request(self, call: Call) -> WireRequest:
        known, ignored = map_options(call.options, NAMES)
        body: JSONObject = {"model": call.model, "stream": True}
        if known:
            body["options"] = known
        system, messages = self.prepare(call)
        written: list[JSONObject] = [{"role": "system", "content": system}] if system else []
        for message in messages:
            written += write_ollama_messages(message)
        body["messages"] = written
        if call.tools:
            body["tools"] = write_tools(call.tools)
        base, headers = self.resolve_endpoint(call.endpoint, call.api_key)
        return WireRequest(f"{base}/chat", headers, body, ignored)

    def canonical_name(self, model: str) -> str:
        return model if ":" in model else f"{model}:latest"

    def resolve_endpoint(self, endpoint: str, api_key: str) -> tuple[str, dict[str, str]]:
        base = re.sub(r"/(api|v1)$", "", api_base(endpoint or ENDPOINT)) + "/api"
        return base, {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def read_page(self, document: object) -> ModelPage:
        return ModelPage([as_object(model)["name"] for model in as_list(as_object(document)["models"] or [])])


def write_ollama_messages(message: ChatMessage) -> Iterable[JSONObject]:
    """The message as Ollama has it: each result of a tool is a message of its own, before the rest."""
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    for result in results:
        pictures = {"images": [encode_image(result.image)]} if result.image else {}
        yield {"role": "tool", "content": result.text, **pictures, "tool_name": result.name}
    if len(results) == len(message.parts) and results:
        return
    written: JSONObject = {"role": message.role, "content": message.text}
    if thinking := "".join(part.text for part in message.parts if isinstance(part, ThinkingPart)):
        written["thinking"] = thinking
    if images := [encode_image(part) for part in message.parts if isinstance(part, ImagePart)]:
        written["images"] = images
    if calls := [part for part in message.parts if isinstance(part, ToolCallPart)]:
        written["tool_calls"] = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
    yield written


ADAPTER: Vendor = Ollama()
