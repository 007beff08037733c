"""The vendors an LLM can be of."""

from typing import NamedTuple

VENDORS = {
    "openai": "OpenAI and compatible",
    "anthropic": "Anthropic",
    "google_ai": "Google AI (Gemini)",
    "ollama": "Ollama",
    "demo": "Demo (no network, no cost)",
}


class Vendor(NamedTuple):
    """The name that the API speaks, and what people read."""

    pk: str
    description: str
