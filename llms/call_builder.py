"""Builds a vendor call from an LLM and settings."""

from typing import cast

from llms.errors import LLMNotUsable
from llms.models import LLM, LLMSettings
from llms.vendors.types import Call, Options

OPTIONS = (
    "temperature",
    "max_tokens",
    "top_p",
    "top_k",
    "min_length",
    "repetition_penalty",
    "seed",
    "stop_words",
)


def build_call(llm: LLM, settings: LLMSettings) -> Call:
    """The call of the LLM's vendor, without messages; its model is that of the settings, else the LLM's default.

    Raises LLMNotUsable if the LLM may not be called, and UnreadableSecret if its key cannot be decrypted.
    """
    if not llm.active:
        raise LLMNotUsable("The LLM of this chat is not active.")
    model = settings.model_name or llm.default_model
    if not model:
        raise LLMNotUsable("Neither the settings of this chat nor its LLM name a model.")
    if llm.allowed_models and model not in llm.allowed_models:
        raise LLMNotUsable(f"The model {model} is none of those that the LLM of this chat allows.")
    options, key = options_of(settings), llm.api_key.reveal()
    return Call(model=model, turns=(), options=options, api_key=key, endpoint=llm.api_endpoint)


def options_of(settings: LLMSettings) -> Options:
    """The options to send: only those that are set. Null is unset, 0 is a value."""
    values = {name: getattr(settings, name) for name in OPTIONS}
    return cast("Options", {name: value for name, value in values.items() if value is not None and value != []})
