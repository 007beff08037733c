"""Finds out why a vendor refused the question of a check, by asking the vendor for its list of models."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llms.vendors.api_base import api_base
from llms.vendors.errors import VendorError
from llms.vendors.registry import adapter
from llms.vendors.types import Call
from usage.check_result import ADVICE, Check
from usage.metering import list_models

if TYPE_CHECKING:
    from llms.vendors.http import Client

MOST_NAMED = 20  # models in a text or a list
UNKNOWN_MODEL = re.compile(  # some vendors answer 400, not 404, for an unknown model
    r"\bmodels?\b\W+(\S+\s+)?((is|was|does|do|could|can)\s+)?(not\s+(be\s+)?(found|exist)|unknown|invalid)\b"
    r"|\b(unknown|invalid|no such|not a valid|unrecogni[sz]ed) model\b(?! (param|option|setting))",
    re.IGNORECASE,
)


async def diagnose(check: Check, call: Call, http: "Client", error: VendorError, deadline: float) -> Check:
    """The failed check with the most exact reason. A wrong path and an unknown model can both be a 404.

    `deadline` is in `monotonic()` time; questions to the vendor end then.
    """
    unexplained = check.failure(error.code, error.detail)
    if error.code == "unauthorized" and not call.api_key:
        return check.failure(error.code, f"{error.detail} There is none.", "Enter the vendor's API key.")
    is_wrong_path = (
        error.status in (404, 405) or error.code == "invalid_response" or "unexpected endpoint" in error.detail.lower()
    )
    is_model = error.code == "bad_request" and bool(error.status == 404 or UNKNOWN_MODEL.search(error.detail))
    if check.first_token_ms is not None or not (is_wrong_path or is_model):
        return unexplained
    models = await list_models(check.llm.vendor, call.endpoint, call.api_key, http, deadline=deadline)
    if isinstance(models, VendorError) and models.code != "timeout" and is_wrong_path:
        return await find_endpoint(check, call, http, error, deadline)
    if isinstance(models, VendorError) or not is_model:
        return unexplained
    if {call.model, adapter(check.llm.vendor).canonical_name(call.model)} & {*models}:
        advice = (
            "The vendor lists the model. It may not support chats, or may refuse one of the settings: see the "
            "vendor's own words."
        )
        return check.failure(error.code, error.detail, advice)
    similar = similar_models(call.model, models)
    if similar:
        advice = f"Choose one that it lists: {list_names(similar)}."
    elif check.llm.vendor == "ollama":
        advice = f"Fetch it where Ollama runs: ollama pull {call.model}"
    else:
        advice = "Correct the model's name. At Azure it is the name of your deployment."
    detail = f"The vendor does not know the model {call.model}. {error.detail}"
    return check.failure("model_not_found", detail, advice, similar)


async def find_endpoint(check: Check, call: Call, http: "Client", error: VendorError, deadline: float) -> Check:
    """The failed check, with the endpoint at which the vendor does answer, if one of the usual paths leads to it."""
    for endpoint in similar_endpoints(call.endpoint):
        models = await list_models(check.llm.vendor, endpoint, call.api_key, http, deadline=deadline)
        if isinstance(models, VendorError):
            if models.code == "timeout":
                return check.failure(error.code, error.detail)
            if models.code != "unauthorized":
                continue
        detail = f"{error.detail} The path of the endpoint is wrong."
        return check.failure("wrong_path", detail, f"The vendor answers at {endpoint}: make that the endpoint.")
    if error.status is None:
        return check.failure(error.code, error.detail, ADVICE["wrong_path"])
    detail = f"{error.detail} Either the path of the endpoint is wrong, or the vendor does not know {call.model}."
    return check.failure("wrong_path", detail, f"{ADVICE['wrong_path']} Then correct the model's name.")


def similar_endpoints(endpoint: str) -> list[str]:
    """Other endpoints at the same host: with /v1 once, added or removed."""
    if not endpoint:
        return []
    base = api_base(endpoint)
    bare = re.sub(r"(/v1)+$", "", base)
    return [other for other in (f"{bare}/v1", bare) if other != base and urlsplit(other).hostname]


async def suggest_model(check: Check, call: Call, http: "Client", deadline: float) -> Check:
    """The failed check of an LLM for which no model is set, with the models that the vendor lists."""
    models = await list_models(check.llm.vendor, call.endpoint, call.api_key, http, deadline=deadline)
    similar = [] if isinstance(models, VendorError) else similar_models("", models)
    choice = f": the vendor lists {list_names(similar)}" if similar else ""
    return check.failure("no_model", "No model is named.", f"Give the LLM a default model{choice}.", similar)


def similar_models(model: str, models: Iterable[str]) -> list[str]:
    """At most MOST_NAMED of the models, the most similar names first."""
    names = list(models)
    closest = get_close_matches(model, names, n=MOST_NAMED, cutoff=0.5)
    return (closest + [name for name in names if name not in closest])[:MOST_NAMED]


def list_names(models: Iterable[str]) -> str:
    """The names, divided by commas, and cut after the first few."""
    names = list(models)
    return ", ".join(names[:MOST_NAMED]) + (" ..." if len(names) >= MOST_NAMED else "")
