"""The context windows of models in tokens, as their vendors publish them."""

import re
from functools import lru_cache

# By the beginning of a model's name, in which $ is its end; the longest beginning that matches counts. A family has an
# entry for its later models too, if its windows have only grown. The window of a model that matches nothing is unknown.
WINDOWS = {
    # OpenAI
    "gpt-3.5-turbo": 16_385,
    "gpt-3.5-turbo-0301": 4_096,
    "gpt-3.5-turbo-0613": 4_096,
    "gpt-4$": 8_192,
    "gpt-4-0314": 8_192,
    "gpt-4-0613": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-0125-preview": 128_000,
    "gpt-4-1106-preview": 128_000,
    "gpt-4-1106-vision-preview": 128_000,
    "gpt-4-vision-preview": 128_000,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "chatgpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.5": 128_000,
    "gpt-5": 400_000,
    "gpt-5-chat": 128_000,
    "gpt-5.1-chat": 128_000,
    "gpt-5.2-chat": 128_000,
    "gpt-5.3-chat": 128_000,
    "gpt-5.4": 1_050_000,
    "gpt-5.4-mini": 400_000,
    "gpt-5.4-nano": 400_000,
    "gpt-5.5": 1_050_000,
    "gpt-5.6": 1_050_000,
    "gpt-6": 1_050_000,
    "gpt-audio": 128_000,
    "gpt-oss": 131_072,
    "codex-mini": 200_000,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    # Anthropic
    "claude-": 200_000,
    "claude-instant": 100_000,
    "claude-2$": 100_000,
    "claude-2.0": 100_000,
    "claude-opus-4-6": 1_000_000,
    "claude-opus-4.6": 1_000_000,
    "claude-opus-4-7": 1_000_000,
    "claude-opus-4.7": 1_000_000,
    "claude-opus-4-8": 1_000_000,
    "claude-opus-4.8": 1_000_000,
    "claude-sonnet-4-6": 1_000_000,
    "claude-sonnet-4.6": 1_000_000,
    "claude-opus-5": 1_000_000,
    "claude-sonnet-5": 1_000_000,
    "claude-haiku-5": 1_000_000,
    "claude-fable-": 1_000_000,
    "claude-mythos-": 1_000_000,
    # Google
    "gemini-": 1_048_576,
    "gemini-1.0": 32_760,
    "gemini-1.5-pro": 2_097_152,
    "gemini-2.0-flash-preview-image": 32_768,
    "gemini-2.5-flash-image": 65_536,
    "gemini-3-pro-image": 65_536,
    "gemma-2-": 8_192,
    "gemma-3-": 131_072,
    "gemma-3-1b": 32_768,
    "gemma-3n-": 32_768,
    "gemma-4-": 131_072,
    "gemma-4-26b": 262_144,
    "gemma-4-31b": 262_144,
    # Mistral
    "codestral-": 256_000,
    "codestral-2405": 32_768,
    "devstral-": 128_000,
    "devstral-2512": 256_000,
    "devstral-medium-latest": 256_000,
    "magistral-": 128_000,
    "magistral-medium-2506": 40_000,
    "magistral-small-2506": 40_000,
    "ministral-": 128_000,
    "mistral-large": 128_000,
    "mistral-large-2402": 32_768,
    "mistral-large-25": 256_000,
    "mistral-large-latest": 256_000,
    "mistral-medium": 128_000,
    "mistral-medium-3-5": 256_000,
    "mistral-medium-latest": 256_000,
    "mistral-small": 128_000,
    "mistral-small-24": 32_768,
    "mistral-small-2501": 32_768,
    "mistral-small-26": 256_000,
    "mistral-small-latest": 256_000,
    "open-mistral-7b": 32_768,
    "open-mistral-nemo": 128_000,
    "open-mixtral-8x7b": 32_768,
    "open-mixtral-8x22b": 65_536,
    "pixtral-": 128_000,
    # others with OpenAI's API
    "deepseek-chat": 128_000,
    "deepseek-reasoner": 128_000,
    "deepseek-flash": 1_000_000,
    "deepseek-v4": 1_000_000,
    "grok-3": 131_072,
    "grok-4": 256_000,
    "grok-4-fast": 2_000_000,
    "grok-4-1-fast": 2_000_000,
    "grok-4.1-fast": 2_000_000,
    "grok-4.20": 2_000_000,
    "grok-4.3": 1_000_000,
    "grok-code-fast": 256_000,
    "llama-3.1": 131_072,
    "llama-3.3": 131_072,
}
PREFIX = re.compile(r"^(.*/|ft:)+")  # of gateways and fine-tuned models, before the name of the model
DEFAULT_MAX_TOKENS = 16_000  # reserved for the answer if the settings set no maximum, as in vendors/anthropic.py


@lru_cache(1_000)
def input_budget(model: str, *, max_tokens: int | None) -> int | None:
    """The tokens that history and question may have, or None if the model's window is not known."""
    name = f"{PREFIX.sub('', model.lower())}$"
    known = [beginning for beginning in WINDOWS if name.startswith(beginning)]
    if not known:
        return None
    window = WINDOWS[max(known, key=len)]
    return max(window // 2, window - (max_tokens or DEFAULT_MAX_TOKENS))
