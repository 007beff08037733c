"""Builds a vendor call from an LLM and settings."""

from typing import cast

from llms.errors import LLMNotUsable
from llms.models import LLM, LLMSettings
from llms.vendors.types import Call, ChatMessage, Options

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


def model_of(llm: LLM, settings: LLMSettings) -> str:
    """The model of the settings, else the LLM's default. Raises LLMNotUsable if it may not be called."""
    if not llm.active:
        raise LLMNotUsable("The LLM of this chat is not active.")
    model = settings.model_name or llm.default_model
    if not model:
        raise LLMNotUsable("Neither the settings of this chat nor its LLM name a model.")
    if llm.allowed_models and model not in llm.allowed_models:
        raise LLMNotUsable(f"The model {model} is none of those that the LLM of this chat allows.")
    return model


def build_call(llm: LLM, settings: LLMSettings, turns: tuple[ChatMessage, ...]) -> Call:
    """The call of the LLM's vendor. Raises LLMNotUsable, or UnreadableSecret if the key cannot be decrypted."""
    return Call(
        model=model_of(llm, settings),
        turns=turns,
        options=options_of(settings),
        api_key=llm.get_api_key(),
        endpoint=llm.api_endpoint,
    )


def options_of(settings: LLMSettings) -> Options:
    """The options to send: only those that are set. Null is unset, 0 is a value."""
    values = {name: getattr(settings, name) for name in OPTIONS}
    return cast("Options", {name: value for name, value in values.items() if value is not None and value != []})
