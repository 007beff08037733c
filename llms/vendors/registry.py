"""The vendors an LLM can be of. What speaks to them is loaded when it is first asked for."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from llms.vendors import types
from llms.vendors.errors import VendorError

if TYPE_CHECKING:
    from llms.vendors.http import Client, Refusal

VENDORS = {
    "openai": "OpenAI and compatible",
    "anthropic": "Anthropic",
    "google_ai": "Google AI (Gemini)",
    "ollama": "Ollama",
    "demo": "Demo (no network, no cost)",
}
ADAPTERS = {vendor: f"llms.vendors.{vendor}" for vendor in VENDORS}  # modules, each with an ADAPTER


class Vendor(NamedTuple):
    """The name that the API speaks, and what people read."""

    pk: str
    description: str


@cache
def adapter(vendor: str) -> types.Vendor:
    """What speaks to this vendor; raises VendorError for one to which AI Studio cannot speak yet."""
    if vendor not in ADAPTERS:
        raise VendorError("unsupported", f"AI Studio cannot speak to {VENDORS.get(vendor, vendor)} yet.")
    return import_module(ADAPTERS[vendor]).ADAPTER


def load() -> None:
    """Import what all adapters need: a quarter of a second, which an event loop should not spend."""
    import_module("llms.vendors.http")


def client(*, refusal: "Refusal", **options: Any) -> "Client":
    """An HTTP client for the running event loop, which adapters share; to be closed with `await client.close()`.

    Its `options` are those of `Client`.
    """
    return import_module("llms.vendors.http").Client(refusal=refusal, **options)
