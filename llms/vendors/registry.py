"""The vendors an LLM can be of."""

from typing import NamedTuple

VENDORS = {
    "openai": "OpenAI, and all that speak its chat completions",
    "anthropic": "Anthropic",
    "google_ai": "Google AI (Gemini)",
    "ollama": "Ollama",
    "demo": "Demo: answers without a network, costs nothing",
}


class Vendor(NamedTuple):
    """The name that the API speaks, and what people read."""

    pk: str
    description: str
