"""The vendors an LLM can be of: the name that the API speaks, and what people read."""

VENDORS = {
    "openai": "OpenAI, and all that speak its chat completions",
    "anthropic": "Anthropic",
    "google_ai": "Google AI (Gemini)",
    "ollama": "Ollama",
    "demo": "Demo: answers without a network, costs nothing",
}
