"""Checks whether an LLM answers, by asking it one short question. If not, says what is wrong and what to do."""

import asyncio
import re
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

from core.database.encryption import UnreadableSecret
from llms.call_builder import options_of
from llms.models import LLM, LLMSettings
from llms.vendors.errors import VendorError
from llms.vendors.registry import adapter
from llms.vendors.types import Call, ChatMessage, Finish, Reasoning, Text, Usage
from usage.check_result import Check
from usage.diagnosis import diagnose, join_names, suggest_model
from usage.model_list import UNREADABLE_KEY
from usage.sync_client import run_with_client

if TYPE_CHECKING:
    from llms.vendors.http import Client

SECONDS = 20  # for the whole check
MOST_TOKENS = 32
QUESTION = "Say hello."
COMPLETE = ("stop", "length")  # the finish reasons of an answer as it should be
OUT_OF_TOKENS = re.compile(r"max_tokens or model output limit was reached")  # OpenAI's error while a model still thinks


@dataclass(slots=True)
class ProbeResult:
    """What the vendor has sent so far in answer to the question."""

    started_at: float = field(default_factory=monotonic)
    first_token_ms: int | None = None
    usage: Usage = field(default_factory=lambda: Usage(None, None, None))
    has_text: bool = False
    finish_reason: str = ""  # set at the end of the answer


def check(*, llm: LLM, settings: LLMSettings | None = None, model: str = "") -> Check:
    """Ask the LLM, for at most SECONDS and MOST_TOKENS, with these settings if any.

    The model is the given one, else that of the settings, else the LLM's default, else the first that the LLM allows.
    Raises Unavailable if too many vendors are being asked at this moment.
    """
    settings = settings or LLMSettings()
    model = model or settings.model_name or llm.default_model or next(iter(llm.allowed_models), "")
    result = Check(llm, model)
    if not llm.active:
        return result.failure("inactive", "It is not active, so its chats take no questions.")
    if llm.allowed_models and model not in llm.allowed_models:
        detail = f"The LLM does not allow the model {model}, only: {join_names(llm.allowed_models)}."
        return result.failure("model_not_allowed", detail, f"Choose one of those, or allow {model}.")
    try:
        key = llm.get_api_key()
    except UnreadableSecret:
        return result.failure("unreadable_key", UNREADABLE_KEY)
    options = {name: value for name, value in options_of(settings).items() if name != "min_length"}
    options["max_tokens"] = min(MOST_TOKENS, settings.max_tokens or MOST_TOKENS)
    call = Call(model, (ChatMessage("user", QUESTION),), options, key, llm.api_endpoint)
    started_at = monotonic()
    result = run_with_client(lambda http: run_probe(result, call, http))
    return replace(result, duration_ms=round((monotonic() - started_at) * 1000))


async def run_probe(check: Check, call: Call, http: "Client") -> Check:
    """Ask the question; returns the check with what came of it."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    probe = ProbeResult()
    try:
        async with asyncio.timeout_at(deadline):
            if not call.model:
                return await suggest_model(check, call, http)
            await listen(check.llm.vendor, call, http, probe)
    except VendorError as error:
        if not OUT_OF_TOKENS.search(error.detail):
            return await diagnose(replace(check, first_token_ms=probe.first_token_ms), call, http, error, deadline)
        probe.finish_reason = "length"
    except TimeoutError:
        if not probe.finish_reason:  # after the finish only usage can be missing, which is no failure
            sent = "sent nothing" if probe.first_token_ms is None else "began to answer, but did not finish"
            late = replace(check, first_token_ms=probe.first_token_ms)
            return late.failure("slow", f"The vendor took the question and {sent} within {SECONDS} s.")
    if probe.finish_reason not in COMPLETE:
        partial = replace(check, first_token_ms=probe.first_token_ms)
        return partial.failure("incomplete", f"The vendor ended the answer early: {probe.finish_reason}.")
    return success(check, probe)


async def listen(vendor: str, call: Call, http: "Client", probe: ProbeResult) -> None:
    pieces = 0
    async with aclosing(adapter(vendor).stream(call, http)) as events:
        async for event in events:
            if isinstance(event, Text | Reasoning):
                if probe.first_token_ms is None:
                    probe.first_token_ms = round((monotonic() - probe.started_at) * 1000)
                probe.has_text = probe.has_text or isinstance(event, Text)
                pieces += 1
            elif isinstance(event, Usage):
                probe.usage = event
            elif isinstance(event, Finish):
                probe.finish_reason = event.reason
            if pieces > MOST_TOKENS:  # the vendor ignores max_tokens
                probe.finish_reason = "length"
                return


def success(check: Check, probe: ProbeResult) -> Check:
    """The check of an LLM that answered."""
    detail = f"The first words came after {probe.first_token_ms:,} ms" if probe.first_token_ms is not None else ""
    if not probe.has_text:
        detail = f"It answers; the model may be thinking first, for no words came within {MOST_TOKENS} tokens"
    if probe.usage.output_tokens is not None:
        detail += f" ({probe.usage.input_tokens or 0:,} tokens in, {probe.usage.output_tokens:,} out)"
    return replace(
        check,
        detail=f"{detail}.",
        first_token_ms=probe.first_token_ms,
        input_tokens=probe.usage.input_tokens,
        output_tokens=probe.usage.output_tokens,
    )
