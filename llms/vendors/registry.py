"""The vendors that an LLM can have. Adapters are imported when they are first needed."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from llms.vendors.errors import VendorError
from llms.vendors.types import Vendor

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
# All adapters need it. To import it takes a quarter of a second, too long for a running event loop.
HTTP_MODULE = "llms.vendors.http"


class VendorInfo(NamedTuple):
    """The name of a vendor in the API, and the one that people read."""

    pk: str
    description: str


@cache
def adapter(vendor: str) -> Vendor:
    """The adapter of this vendor; raises VendorError if there is none."""
    if vendor not in ADAPTERS:
        raise VendorError("unsupported", f"AI Studio cannot speak to {VENDORS.get(vendor, vendor)} yet.")
    return import_module(ADAPTERS[vendor]).ADAPTER


@cache
def own_endpoint(vendor: str) -> str:
    """The base URL of the vendor itself; empty if it needs no network."""
    return getattr(import_module(ADAPTERS[vendor]), "ENDPOINT", "")


def client(
    *,
    refusal: "Refusal",
    connect_timeout: float = 10.0,
    retries: bool = True,
    pause: Callable[[], float] = lambda: 0.0,
) -> "Client":
    """An HTTP client for the running event loop, shared by all adapters. Close it with `await client.close()`.

    The parameters are those of `Client`.
    """
    module = import_module(HTTP_MODULE)
    return module.Client(refusal=refusal, connect_timeout=connect_timeout, retries=retries, pause=pause)
