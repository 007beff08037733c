"""How many tokens models take in: what their vendors publish."""

# the longest prefix of a model's name decides
WINDOWS = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-5": 400_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "claude-": 200_000,
    "gemini-1.5-pro": 2_097_152,
    "gemini-": 1_048_576,
    "mistral-large": 128_000,
    "mistral-small": 128_000,
    "deepseek-": 64_000,
    "llama-3.1": 131_072,
    "llama-3.3": 131_072,
}
FOR_THE_ANSWER = 4_096  # tokens, where the settings set no most


def window_of(model: str, *, max_tokens: int | None) -> int | None:
    """The tokens of a model's window that are left for the question; None when its window is not known."""
    known = [prefix for prefix in WINDOWS if model.removeprefix("openai/").startswith(prefix)]
    if not known:
        return None
    window = WINDOWS[max(known, key=len)]
    return max(window // 2, window - (max_tokens or FOR_THE_ANSWER))
