"""Checks whether an LLM answers, by asking it one short question. If not, says what is wrong and what to do."""

import re
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

from core.database.encryption import UnreadableSecret
from llms.call_builder import options_of
from llms.models import LLM, LLMSettings
from llms.vendors.types import Call, Finish, StreamEvent, Text, Thinking, Usage, text_message
from usage.check_result import Check
from usage.diagnosis import diagnose, list_names, suggest_model
from usage.metering import TIMEOUTS, MeteredCall, StopListening
from usage.model_list import UNREADABLE_KEY
from usage.sync_client import run_with_client

if TYPE_CHECKING:
    from llms.vendors.http import Client

SECONDS = TIMEOUTS["check"]  # for the whole check
MOST_TOKENS = 32
QUESTION = "Say hello."
COMPLETE = ("stop", "length")  # the finish reasons of a complete answer
OUT_OF_TOKENS = re.compile(r"max_tokens or model output limit was reached")  # OpenAI's error while a model still thinks


@dataclass(slots=True)
class ProbeResult:
    """What the vendor has sent so far in answer to the question."""

    started_at: float = field(default_factory=monotonic)
    first_token_ms: int | None = None
    usage: Usage = field(default_factory=lambda: Usage(None, None, None))
    has_text: bool = False
    pieces: int = 0
    finish_reason: str = ""  # set at the end of the answer

    async def listen(self, event: StreamEvent) -> None:
        if isinstance(event, Text | Thinking):
            if self.first_token_ms is None:
                self.first_token_ms = round((monotonic() - self.started_at) * 1000)
            self.has_text = self.has_text or isinstance(event, Text)
            self.pieces += 1
        elif isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, Finish):
            self.finish_reason = event.reason
        if self.pieces > MOST_TOKENS:  # the vendor ignores max_tokens
            self.finish_reason = "length"
            raise StopListening


def check(*, llm: LLM, settings: LLMSettings | None = None, model: str = "") -> Check:
    """Ask the LLM, for at most SECONDS and MOST_TOKENS, with these settings if any.

    The model is the given one, else that of the settings, else the LLM's default, else the first that the LLM allows.
    Raises VendorsBusy if too many vendors are being asked at this moment.
    """
    settings = settings or LLMSettings()
    model = model or settings.model_name or llm.default_model or next(iter(llm.allowed_models), "")
    result = Check(llm, model)
    if not llm.active:
        return result.failure("inactive", "It is not active, so its chats take no questions.")
    if llm.allowed_models and model not in llm.allowed_models:
        detail = f"The LLM does not allow the model {model}, only: {list_names(llm.allowed_models)}."
        return result.failure("model_not_allowed", detail, f"Choose one of those, or allow {model}.")
    try:
        key = llm.api_key.reveal()
    except UnreadableSecret:
        return result.failure("unreadable_key", UNREADABLE_KEY)
    options = options_of(settings)
    options.pop("min_length", None)
    options["max_tokens"] = min(MOST_TOKENS, settings.max_tokens or MOST_TOKENS)
    call = Call(model, (text_message("user", QUESTION),), options, key, llm.api_endpoint)
    started_at = monotonic()
    result = run_with_client(lambda http: run_probe(result, call, http))
    return replace(result, duration_ms=round((monotonic() - started_at) * 1000))


async def run_probe(check: Check, call: Call, http: "Client") -> Check:
    """Ask the question; returns the check with what came of it."""
    deadline = monotonic() + SECONDS
    if not call.model:
        return await suggest_model(check, call, http, deadline)
    probe = ProbeResult()
    result = await MeteredCall("check", check.llm.vendor, call, deadline=deadline).run(http, probe.listen)
    answered = replace(check, first_token_ms=probe.first_token_ms)
    if result.error and result.is_late:
        sent = "sent nothing" if probe.first_token_ms is None else "began to answer, but did not finish"
        return answered.failure("slow", f"The vendor took the question and {sent} within {SECONDS} s.")
    if result.error and OUT_OF_TOKENS.search(result.error.detail):
        probe.finish_reason = "length"
    elif result.error:
        return await diagnose(answered, call, http, result.error, deadline)
    if probe.finish_reason not in COMPLETE:
        return answered.failure("incomplete", f"The vendor ended the answer early: {probe.finish_reason}.")
    return success(check, probe)


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
