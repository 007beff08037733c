"""The models that vendors list. A list is cached for a minute."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.core.cache import cache

from core.database.encryption import UnreadableSecret
from llms.models import LLM
from llms.vendors.errors import VendorError
from usage.metering import list_models
from usage.sync_client import run_with_client

if TYPE_CHECKING:
    from llms.vendors.http import Client

CACHE_SECONDS = 60
MOST_LLMS = 20  # whose vendors are asked at once
UNREADABLE_KEY = "Its key cannot be read: it was encrypted with a key that FIELD_KEYS no longer has."

ModelList = tuple[str, ...] | VendorError


def models_of(llm: LLM) -> tuple[str, ...]:
    """The names of the models that the LLM's vendor lists.

    Raises VendorError, or VendorsBusy if too many vendors are being asked at this moment.
    """
    models = models_of_each([llm])[llm.pk]
    if isinstance(models, VendorError):
        raise models
    return models


def models_of_each(llms: Iterable[LLM]) -> dict[int, ModelList]:
    """By the id of each LLM its vendor's models, or the error that the vendor gave. Vendors are asked at once."""
    chosen = list(llms)[:MOST_LLMS]
    # An LLM that was changed may have another vendor or key, so the time of its last change is part of the key.
    keys = {llm.pk: f"usage.model_list:{llm.pk}:{llm.updated_at.timestamp()}" for llm in chosen}
    cached: dict[str, tuple[str, ...]] = cache.get_many(keys.values())
    lists: dict[int, ModelList] = {pk: cached[key] for pk, key in keys.items() if key in cached}
    missing = [llm for llm in chosen if llm.pk not in lists]
    if missing:
        fetched = dict(
            zip((llm.pk for llm in missing), run_with_client(lambda http: fetch_each(missing, http)), strict=True)
        )
        fresh = {keys[pk]: models for pk, models in fetched.items() if not isinstance(models, VendorError)}
        cache.set_many(fresh, CACHE_SECONDS)
        lists |= fetched
    return lists


async def fetch_each(llms: Sequence[LLM], http: "Client") -> list[ModelList]:
    """The lists of several LLMs, fetched at once, in the same order."""
    return await asyncio.gather(*(fetch_models(llm, http) for llm in llms))


async def fetch_models(llm: LLM, http: "Client") -> ModelList:
    """The models of one LLM's vendor, or why there are none."""
    try:
        key = llm.api_key.reveal()
    except UnreadableSecret:
        return VendorError("unauthorized", UNREADABLE_KEY)
    return await list_models(llm.vendor, llm.api_endpoint, key, http)
