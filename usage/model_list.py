"""The models that vendors offer: asked, and remembered for a minute."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.core.cache import cache

from core.database.encryption import UnreadableSecret
from llms.models import LLM
from llms.vendors.errors import VendorError
from llms.vendors.registry import adapter
from usage.sync_client import run_with_client

if TYPE_CHECKING:
    from llms.vendors.http import Client

TIMEOUT = 10  # seconds for a whole list
REMEMBERED = 60  # seconds
MOST_ASKED = 20  # LLMs at once
UNREADABLE_KEY = "Its key cannot be read: it was encrypted with a key that FIELD_KEYS no longer has."

Offer = tuple[str, ...] | VendorError


def models_of(llm: LLM) -> tuple[str, ...]:
    """The names of the models that the LLM's vendor lists; raises VendorError, and Unavailable where too many ask."""
    offer = models_of_each([llm])[llm.pk]
    if isinstance(offer, VendorError):
        raise offer
    return offer


def models_of_each(llms: Iterable[LLM]) -> dict[int, Offer]:
    """The same of several, asked at once: by the LLM's id the models, or why there are none."""
    asked = list(llms)[:MOST_ASKED]
    known: dict[str, tuple[str, ...]] = cache.get_many([key_of(llm) for llm in asked])
    unknown = [llm for llm in asked if key_of(llm) not in known]
    offers: dict[int, Offer] = {llm.pk: known[key_of(llm)] for llm in asked if llm not in unknown}
    if unknown:
        found = dict(zip(unknown, run_with_client(lambda http: ask_each(unknown, http)), strict=True))
        fresh = {key_of(llm): offer for llm, offer in found.items() if not isinstance(offer, VendorError)}
        cache.set_many(fresh, REMEMBERED)
        offers |= {llm.pk: offer for llm, offer in found.items()}
    return offers


def key_of(llm: LLM) -> str:
    """Another one for each version of the row, and nothing secret in it."""
    return f"usage.model_list:{llm.pk}:{llm.updated_at.timestamp()}"


async def ask_each(llms: Sequence[LLM], http: "Client") -> list[Offer]:
    return await asyncio.gather(*(ask(llm, http) for llm in llms))


async def ask(llm: LLM, http: "Client") -> Offer:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await adapter(llm.vendor).models(llm.api_endpoint, llm.get_api_key(), http)
    except TimeoutError:
        return VendorError("timeout", f"The vendor sent no list of models within {TIMEOUT} s.")
    except UnreadableSecret:
        return VendorError("unauthorized", UNREADABLE_KEY)
    except VendorError as error:
        return error
