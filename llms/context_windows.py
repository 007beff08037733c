"""The context windows of models in tokens, as their vendors publish them."""

from functools import lru_cache

# By prefix of a model's name; the longest prefix that matches counts.
WINDOWS = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-5": 400_000,
    "gpt-5.4": 1_050_000,
    "gpt-5.4-mini": 400_000,
    "gpt-5.4-nano": 400_000,
    "gpt-5.5": 1_050_000,
    "gpt-5.6": 1_050_000,
    "gpt-6": 1_050_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "claude-": 200_000,
    "claude-opus-4-6": 1_000_000,
    "claude-opus-4-7": 1_000_000,
    "claude-opus-4-8": 1_000_000,
    "claude-sonnet-4-6": 1_000_000,
    "claude-opus-5": 1_000_000,
    "claude-sonnet-5": 1_000_000,
    "claude-haiku-5": 1_000_000,
    "claude-fable-": 1_000_000,
    "gemini-1.5-pro": 2_097_152,
    "gemini-": 1_048_576,
    "mistral-large": 128_000,
    "mistral-large-25": 256_000,
    "mistral-large-latest": 256_000,
    "mistral-medium": 128_000,
    "mistral-medium-3-5": 256_000,
    "mistral-medium-latest": 256_000,
    "mistral-small": 128_000,
    "mistral-small-26": 256_000,
    "mistral-small-latest": 256_000,
    "deepseek-": 64_000,
    "deepseek-flash": 1_000_000,
    "deepseek-v4": 1_000_000,
    "llama-3.1": 131_072,
    "llama-3.3": 131_072,
}
DEFAULT_MAX_TOKENS = 16_000  # reserved for the answer if the settings set no maximum, as in vendors/anthropic.py


@lru_cache(1_000)
def input_budget(model: str, *, max_tokens: int | None) -> int | None:
    """The tokens that history and question may have, or None if the model's window is not known."""
    known = [prefix for prefix in WINDOWS if model.removeprefix("openai/").startswith(prefix)]
    if not known:
        return None
    window = WINDOWS[max(known, key=len)]
    return max(window // 2, window - (max_tokens or DEFAULT_MAX_TOKENS))
