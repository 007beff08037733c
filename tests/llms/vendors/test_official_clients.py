"""The vendors' own clients read what we recorded, over a socket, as our adapters do: so what we recorded is true.

Where they read something else, it is to be so, and the recording stands in OTHERWISE with the reason.
"""

from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from typing import Any, NamedTuple

import pytest

from llms.vendors.types import Finish, Usage
from tests.llms.vendors.asking import KEY, ask, call
from tests.vendor_server import RECORDED, VendorServer

TALK = [{"role": "user", "content": "Hello there"}]
FINISHES = {  # ours for what the clients give, which is in lower case here
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "language": "LANGUAGE",
}

Counted = tuple[int | None, int | None, int | None]  # input, output, cached
NOTHING: Counted = (None, None, None)


class Said(NamedTuple):
    text: str
    finish: str | None
    counted: Counted


class Reading:
    """What a client has read so far."""

    def __init__(self) -> None:
        self.text = ""
        self.finish: str | None = None
        self.counted = NOTHING


def client_of(name: str, vendor: VendorServer) -> Any:
    """The vendor's client. Imported when its turn comes, because each takes a second or more."""
    match name:
        case "openai":
            return import_module("openai").OpenAI(api_key=KEY, base_url=vendor.url, max_retries=0)
        case "anthropic":
            return import_module("anthropic").Anthropic(api_key=KEY, base_url=vendor.root, max_retries=0)
        case "google_ai":
            return import_module("google.genai").Client(api_key=KEY, http_options={"base_url": vendor.root})
    return import_module("ollama").Client(host=vendor.root)


def openai(client: Any, model: str, streamed: bool, reading: Reading) -> None:
    chats = client.chat
    if streamed:
        chunks = chats.completions.create(
            model=model, messages=TALK, stream=True, stream_options={"include_usage": True}
        )
    else:
        chunks = [chats.completions.create(model=model, messages=TALK)]
    refused = False
    for chunk in chunks:
        for choice in chunk.choices:
            if choice.index == 0:
                said = choice.delta if streamed else choice.message
                reading.text += (said.content or "") + (said.refusal or "")
                refused = refused or bool(said.refusal)
                reading.finish = choice.finish_reason or reading.finish
        if usage := chunk.usage:
            cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
            reading.counted = (usage.prompt_tokens, usage.completion_tokens, cached)
    if refused and reading.finish == "stop":
        reading.finish = "refusal"


def anthropic(client: Any, model: str, streamed: bool, reading: Reading) -> None:
    asked = {"model": model, "max_tokens": 100, "messages": TALK}
    if streamed:
        with client.messages.stream(**asked) as stream:
            for text in stream.text_stream:
                reading.text += text
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)
        reading.text = "".join(block.text for block in message.content if block.type == "text")
    usage, reading.finish = message.usage, message.stop_reason
    written, cached = usage.cache_creation_input_tokens, usage.cache_read_input_tokens
    reading.counted = (usage.input_tokens + (written or 0) + (cached or 0), usage.output_tokens, cached)


def google_ai(client: Any, model: str, streamed: bool, reading: Reading) -> None:
    called = False
    for answer in client.models.generate_content_stream(model=model, contents="Hello there"):
        for candidate in answer.candidates or ():
            for part in (candidate.content and candidate.content.parts) or ():
                reading.text += "" if part.thought else part.text or ""
                called = called or bool(part.function_call)
            reading.finish = candidate.finish_reason.value if candidate.finish_reason else reading.finish
        if not answer.candidates and answer.prompt_feedback:
            reading.finish = answer.prompt_feedback.block_reason.value
        if usage := answer.usage_metadata:
            given = [usage.candidates_token_count, usage.thoughts_token_count]
            output = None if given == [None, None] else sum(filter(None, given))
            reading.counted = (usage.prompt_token_count, output, usage.cached_content_token_count)
    if called and reading.finish == "STOP":
        reading.finish = "tool_calls"


def ollama(client: Any, model: str, streamed: bool, reading: Reading) -> None:
    called = False
    for part in client.chat(model=model, messages=TALK, stream=True):
        reading.text += part.message.content or ""
        called = called or bool(part.message.tool_calls)
        if part.done:
            reading.finish = part.done_reason
            reading.counted = (part.prompt_eval_count, part.eval_count, None)
    if called and reading.finish == "stop":
        reading.finish = "tool_calls"


READERS: dict[str, Callable[[Any, str, bool, Reading], None]] = {
    "openai": openai,
    "anthropic": anthropic,
    "google_ai": google_ai,
    "ollama": ollama,
}
CUT_OFF = "it ends without its mark, which the client takes for an end and we do not"
HALVES = "half characters, which no database holds: we put them together or replace them"
WORDLESS = "an answer without a word, which we take for a failure"
NUL = "NUL, which no database holds: we replace it"
OTHERWISE = {  # the recordings that a client reads otherwise, or refuses, and why they are to be so
    "openai": {
        "choices_null": "of gateways, which send null for an empty list",
        "deepseek": "DeepSeek counts what was cached under a name of its own",
        "end_too_early": CUT_OFF,
        "every_line_end": "all that event streams may have, such as events without data that is JSON",
        "finish_error": "OpenRouter's reason for an end; we take it for the failure that it is",
        "half_characters": HALVES,
        "mistral": "Mistral's own reason for an end, model_length",
        "mistral_thinking": "Mistral's content in parts, where a model thinks",
        "no_finish_reason": "of servers that say nothing but [DONE]; OpenAI gives a reason",
        "nul": NUL,
        "own_finish_reason": "a reason of a vendor's own, which we cut",
    },
    "anthropic": {
        "counted_in_part": "of proxies, which do not count all; Anthropic does",
        "end_too_early": CUT_OFF,
        "half_characters": HALVES,
        "no_stop_reason": "of proxies, with neither message_start nor a reason",
        "no_usage": "of proxies, which do not count",
        "nul": NUL,
    },
    "google_ai": {
        "end_too_early": CUT_OFF,
        "half_characters": HALVES,
        "language": WORDLESS,
        "malformed_function_call": "a reason for an end; we take it for the failure that it is",
        "nul": NUL,
        "prompt_blocked": WORDLESS,
        "unknown_parts": "of times to come: another candidate, and an event with a name, which its client cannot read",
        "whole_list": "what comes without alt=sse, which the client always asks for",
    },
    "ollama": {
        "after_the_end": "lines after the one that is done, which Ollama does not send; we do not read them",
        "end_too_early": CUT_OFF,
        "half_characters": HALVES,
        "load": WORDLESS,
        "no_done_reason": "of servers that give no reason; Ollama does",
        "nul": NUL,
        "unknown_keys": "of times to come: a line without a message",
    },
}


def read_by_client(client: Any, name: str, model: str) -> Said | str:
    """What it read; the text before it, where it raises."""
    reading = Reading()
    try:
        READERS[name](client, model, not model.startswith("recorded:whole"), reading)
    except Exception:  # whatever it is, it is not an answer
        return reading.text
    finish = (reading.finish or "").lower()
    return Said(reading.text, FINISHES.get(finish, finish), reading.counted)


def read_by_us(vendor: VendorServer, name: str, model: str) -> Said | str:
    asked = ask(call(vendor.url if name == "openai" else vendor.root, model), vendor=name)
    if asked.error:
        return asked.text
    [finish] = (value.reason for value in asked.values if type(value) is Finish)
    counted = [(it.input_tokens, it.output_tokens, it.cached_tokens) for it in asked.values if type(it) is Usage]
    return Said(asked.text, finish, counted[-1] if counted else NOTHING)


@pytest.mark.parametrize("name", READERS)
def test_a_vendors_own_client_reads_what_we_recorded(vendor: VendorServer, name: str) -> None:
    recorded = sorted(path.stem for path in (RECORDED / name).glob("*.json"))
    ours = {one: read_by_us(vendor, name, f"recorded:{one}") for one in recorded}
    with closing(client_of(name, vendor)) as client:
        theirs = {one: read_by_client(client, name, f"recorded:{one}") for one in recorded}
    assert {one: theirs[one] for one in recorded if theirs[one] != ours[one]}.keys() == OTHERWISE[name].keys()
