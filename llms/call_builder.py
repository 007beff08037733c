"""From an LLM and its settings, as they are stored, to a call of its vendor."""

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
    """The model that the settings name, else the LLM's own; raises LLMNotUsable if it must not be called."""
    if not llm.active:
        raise LLMNotUsable("The LLM of this chat is not active.")
    model = settings.model_name or llm.default_model
    if not model:
        raise LLMNotUsable("Neither the settings of this chat nor its LLM name a model.")
    if llm.allowed_models and model not in llm.allowed_models:
        raise LLMNotUsable(f"The model {model} is none of those that the LLM of this chat allows.")
    return model


def build_call(llm: LLM, settings: LLMSettings, turns: tuple[ChatMessage, ...]) -> Call:
    """The call, with what is set and nothing else: null is unset, 0 is a value."""
    return Call(
        model=model_of(llm, settings),
        turns=turns,
        options=options_of(settings),
        api_key=llm.get_api_key(),
        endpoint=llm.api_endpoint,
    )


def options_of(settings: LLMSettings) -> Options:
    values = {name: getattr(settings, name) for name in OPTIONS}
    return cast("Options", {name: value for name, value in values.items() if value is not None and value != []})
