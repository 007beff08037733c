from collections.abc import Callable
from typing import Any

import pytest

from llms.models import LLM
from tests.vendor_server import VendorServer

KEY = "sk-canary-0123456789-7777"
WRONG_KEY = "sk-canary-wrong-0123456789"
VENDORS = ("openai", "anthropic", "google_ai", "ollama")

Make = Callable[..., LLM]


@pytest.fixture
def make(db: Any, settings: Any, vendor: VendorServer) -> Make:
    settings.PRIVATE_NETWORKS = True

    def made(model: str = "ok", *, kind: str = "openai", key: str = KEY, **fields: Any) -> LLM:
        endpoint = fields.pop("api_endpoint", vendor.url if kind == "openai" else vendor.root)
        llm = LLM(name="House model", vendor=kind, default_model=model, api_endpoint=endpoint, **fields)
        llm.set_api_key(key)
        llm.save()
        return llm

    return made
