"""Whether an LLM answers; if not, what is wrong, and what to do.

It is asked one short question. Each step that has to succeed for an answer is reported: `settings` (of ours),
`endpoint`, `key`, `model`, `answer`.
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.database.encryption import UnreadableSecret
from llms.call_builder import options_of
from llms.models import LLM, LLMSettings
from llms.vendors.errors import WEB_PAGE, VendorError
from llms.vendors.registry import adapter
from llms.vendors.types import Call, ChatMessage, Finish, Reasoning, Text, Usage
from usage.model_list import UNREADABLE_KEY
from usage.sync_client import run_with_client

if TYPE_CHECKING:
    from llms.vendors.http import Client

SECONDS = 20  # for all of it
MOST_TOKENS = 32
QUESTION = "Say hello."
MOST_NAMED = 20  # models
STEPS = ("settings", "endpoint", "key", "model", "answer")
STEP_OF = {  # where an answer failed, by the code
    "inactive": "settings",
    "no_model": "settings",
    "model_not_allowed": "settings",
    "unreadable_key": "settings",
    "unsupported": "settings",
    "refused_address": "endpoint",
    "unreachable": "endpoint",
    "untrusted": "endpoint",
    "timeout": "endpoint",
    "redirected": "endpoint",
    "wrong_path": "endpoint",
    "invalid_response": "endpoint",
    "unauthorized": "key",
    "model_not_found": "model",
}  # and `answer` for the others
UNREACHABLE = (
    "See that the endpoint is written right, that the vendor's server runs, and that this server may connect to it: a "
    "firewall, or HTTPS_PROXY, may be in the way."
)
ADVICE = {
    "inactive": "Make it active.",
    "unreadable_key": "Enter the key anew, or put the key that FIELD_KEYS had back into it and restart the server.",
    "unsupported": "Choose another vendor.",
    "refused_address": "Correct the endpoint.",
    "unreachable": UNREACHABLE,
    "timeout": UNREACHABLE,
    "untrusted": "Use the host name that the certificate is for. Where your own authority signed it, SSL_CERT_FILE "
    "must name a file that has that authority's certificate.",
    "redirected": "Enter the endpoint that the vendor has moved to, or https instead of http.",
    "wrong_path": "Correct the endpoint: it is the base URL as the vendor's own clients take it, mostly "
    "https://host/v1, once and without what comes after it.",
    "invalid_response": "See that the vendor of this LLM is the one that is at the endpoint.",
    "unauthorized": "Enter the key anew: all of it, one of this vendor, not expired, and allowed to use the model.",
    "rate_limited": "Wait a minute and try again. Where it stays so, the account may have no credit left.",
    "incomplete": "Try again. Where it stays so, a filter of the vendor or a proxy may be in the way, or the model is "
    "none for chats.",
    "bad_request": "The vendor's own words say what it does not accept; it may be one of the settings.",
    "slow": "Try again: a model that is being loaded takes long once. Chats wait for LLM_FIRST_TOKEN_TIMEOUT, "
    "and between words for LLM_TOKEN_TIMEOUT.",
}
WITHOUT_WORDS = (
    "The vendor's own words are missing, so it may be another server that answered: see whether the endpoint needs "
    "https and whether its path is right."
)
TRY_AGAIN = "Try again in a moment. Where it stays so, the vendor's status page may say more."
PRIVATE = "Where the LLM is meant to be there, set PRIVATE_NETWORKS=1 and restart the server."
PASTED = re.compile(r"/(chat/completions|completions|messages|responses|models|api/chat|api/tags)/*$")
WHOLE = ("stop", "length")  # how an answer ends that is as it should be
UNKNOWN_MODEL = re.compile(  # in the words of those vendors that say so with a 400
    r"\bmodels?\b\W+(\S+\s+)?((is|was|does|do|could|can)\s+)?(not\s+(be\s+)?(found|exist)|unknown|invalid)\b"
    r"|\b(unknown|invalid|no such|not a valid|unrecogni[sz]ed) model\b(?! (param|option|setting))",
    re.IGNORECASE,
)
WORDLESS = re.compile(r"answered \d+\.$")
OUT_OF_TOKENS = re.compile(r"max_tokens or model output limit was reached")  # OpenAI's, of a model that still thinks


@dataclass(frozen=True, slots=True)
class Step:
    """One of STEPS: passed, or not, or None where it did not come to that."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """How it went: `code` is `ok` or says what failed, `detail` and `advice` are for people and have no secret.

    `models` are those that the vendor lists, the most similar first, where the model was not found.
    """

    llm: LLM
    model: str
    code: str = "ok"
    detail: str = ""
    advice: str = ""
    first_token_ms: int | None = None
    duration_ms: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    models: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(steps_of(self)))

    @property
    def pk(self) -> int:
        return self.llm.pk

    @property
    def ok(self) -> bool:
        return self.code == "ok"


@dataclass(slots=True)
class Heard:
    """What came of the answer."""

    begun: float = field(default_factory=monotonic)
    first_token_ms: int | None = None
    usage: Usage = field(default_factory=lambda: Usage(None, None, None))
    text: bool = False
    finish: str = ""  # the reason, at the end of an answer


def check(*, llm: LLM, settings: LLMSettings | None = None, model: str = "") -> Check:
    """Ask the LLM, for at most SECONDS and MOST_TOKENS, with these settings where there are some.

    The model is the one that is given, else the settings', the LLM's default, the first that it allows. Raises
    Unavailable where too many vendors are being asked.
    """
    settings = settings or LLMSettings()
    model = model or settings.model_name or llm.default_model or next(iter(llm.allowed_models), "")
    checked = Check(llm, model)
    if not llm.active:
        return failed(checked, "inactive", "It is not active, so its chats take no questions.")
    if llm.allowed_models and model not in llm.allowed_models:
        detail = f"The model {model} is none of those that this LLM allows: {named(llm.allowed_models)}."
        return failed(checked, "model_not_allowed", detail, f"Choose one of those, or allow {model}.")
    try:
        key = llm.get_api_key()
    except UnreadableSecret:
        return failed(checked, "unreadable_key", UNREADABLE_KEY)
    call = Call(model, (ChatMessage("user", QUESTION),), bounded(settings), key, llm.api_endpoint)
    begun = monotonic()
    checked = run_with_client(lambda http: examined(checked, call, http))
    return replace(checked, duration_ms=round((monotonic() - begun) * 1000))


def bounded(settings: LLMSettings) -> dict[str, Any]:
    options = {name: value for name, value in options_of(settings).items() if name != "min_length"}
    return {**options, "max_tokens": min(MOST_TOKENS, options.get("max_tokens", MOST_TOKENS))}


async def examined(checked: Check, call: Call, http: "Client") -> Check:
    deadline = asyncio.get_running_loop().time() + SECONDS
    heard = Heard()
    try:
        async with asyncio.timeout_at(deadline):
            if not call.model:
                return await without_model(checked, call, http)
            await listen(checked.llm.vendor, call, http, heard)
    except VendorError as error:
        if not OUT_OF_TOKENS.search(error.detail):
            return await explained(replace(checked, first_token_ms=heard.first_token_ms), call, http, error, deadline)
        heard.finish = "length"
    except TimeoutError:
        if not heard.finish:  # else it was only the rest that did not come, as the counts
            sent = "sent nothing" if heard.first_token_ms is None else "began to answer, and did not end"
            late = replace(checked, first_token_ms=heard.first_token_ms)
            return failed(late, "slow", f"The vendor took the question and {sent} within {SECONDS} s.")
    if heard.finish not in WHOLE:
        broken_off = replace(checked, first_token_ms=heard.first_token_ms)
        return failed(broken_off, "incomplete", f"The vendor ended the answer before it was whole: {heard.finish}.")
    return passed(checked, heard)


async def listen(vendor: str, call: Call, http: "Client", heard: Heard) -> None:
    pieces = 0
    async with aclosing(adapter(vendor).stream(call, http)) as values:
        async for value in values:
            if isinstance(value, Text | Reasoning):
                if heard.first_token_ms is None:
                    heard.first_token_ms = round((monotonic() - heard.begun) * 1000)
                heard.text = heard.text or isinstance(value, Text)
                pieces += 1
            elif isinstance(value, Usage):
                heard.usage = value
            elif isinstance(value, Finish):
                heard.finish = value.reason
            if pieces > MOST_TOKENS:  # the vendor does not keep to the limit
                heard.finish = "length"
                return


def passed(checked: Check, heard: Heard) -> Check:
    first = f"The first words came after {heard.first_token_ms:,} ms" if heard.first_token_ms is not None else ""
    if not heard.text:
        first = f"It answers; within {MOST_TOKENS} tokens came no words, as of a model that thinks first"
    counted = ""
    if heard.usage.output_tokens is not None:
        counted = f" ({heard.usage.input_tokens or 0:,} tokens in, {heard.usage.output_tokens:,} out)"
    return replace(
        checked,
        detail=f"{first}{counted}.",
        first_token_ms=heard.first_token_ms,
        input_tokens=heard.usage.input_tokens,
        output_tokens=heard.usage.output_tokens,
    )


def failed(checked: Check, code: str, detail: str, advice: str = "", models: Iterable[str] = ()) -> Check:
    advice = advice or ADVICE.get(code, TRY_AGAIN)
    if code == "refused_address" and "PRIVATE_NETWORKS" in detail:
        advice = f"{PRIVATE} Else correct the endpoint."
    elif code == "bad_request" and (WEB_PAGE in detail or WORDLESS.search(detail)):
        advice = WITHOUT_WORDS
    return replace(checked, code=code, detail=detail, advice=advice, models=tuple(models))


# what a failure means


async def explained(checked: Check, call: Call, http: "Client", error: VendorError, deadline: float) -> Check:
    """The failure, by what else the vendor says: a wrong path and an unknown model are the same 404."""
    if error.code == "unauthorized" and not call.api_key:
        return failed(checked, error.code, f"{error.detail} There is none.", "Enter the vendor's API key.")
    lost = (
        error.status in (404, 405) or error.code == "invalid_response" or "unexpected endpoint" in error.detail.lower()
    )
    of_the_model = error.code == "bad_request" and bool(error.status == 404 or UNKNOWN_MODEL.search(error.detail))
    if checked.first_token_ms is not None or not (lost or of_the_model):
        return failed(checked, error.code, error.detail)
    try:
        async with asyncio.timeout_at(deadline):
            try:
                models = await adapter(checked.llm.vendor).models(call.endpoint, call.api_key, http)
            except VendorError:
                return (
                    await wrong_path(checked, call, http, error) if lost else failed(checked, error.code, error.detail)
                )
    except TimeoutError:  # of the further questions
        return failed(checked, error.code, error.detail)
    if not of_the_model:
        return failed(checked, error.code, error.detail)
    if {call.model, adapter(checked.llm.vendor).listed_as(call.model)} & {*models}:
        advice = (
            "The vendor lists the model; it may be none for chats, or refuse one of the settings: its words say more."
        )
        return failed(checked, error.code, error.detail, advice)
    return not_found(checked, call, error.detail, models)


def not_found(checked: Check, call: Call, words: str, models: tuple[str, ...]) -> Check:
    detail = f"The vendor does not know the model {call.model}. {words}"
    if not models and checked.llm.vendor == "ollama":
        return failed(checked, "model_not_found", detail, f"Fetch it where Ollama runs: ollama pull {call.model}")
    if not models:
        advice = "Correct the model's name. At Azure it is the name of your deployment."
        return failed(checked, "model_not_found", detail, advice)
    listed = similar(call.model, models)
    return failed(checked, "model_not_found", detail, f"Choose one that it lists: {named(listed)}.", listed)


async def wrong_path(checked: Check, call: Call, http: "Client", error: VendorError) -> Check:
    """Look for the vendor where its endpoint may be meant to be; only ever at the same host."""
    for endpoint in near(call.endpoint):
        try:
            await adapter(checked.llm.vendor).models(endpoint, call.api_key, http)
        except VendorError as other:
            if other.code != "unauthorized":
                continue
        detail = f"{error.detail} The path of the endpoint is wrong."
        return failed(checked, "wrong_path", detail, f"The vendor answers at {endpoint}: make that the endpoint.")
    if error.status is None:
        return failed(checked, error.code, error.detail, ADVICE["wrong_path"])
    detail = f"{error.detail} Either the path of the endpoint is wrong, or the vendor does not know {call.model}."
    return failed(checked, "wrong_path", detail, f"{ADVICE['wrong_path']} Then correct the model's name.")


def near(endpoint: str) -> list[str]:
    """Other endpoints that may be meant: without what was pasted along, with /v1 once, with it, without it."""
    if not endpoint:
        return []
    start = PASTED.sub("", endpoint.rstrip("/"))
    once = re.sub(r"(/v1)+$", "/v1", start)
    bare = once.removesuffix("/v1")
    candidates = dict.fromkeys((once, f"{bare}/v1", bare))
    return [candidate for candidate in candidates if candidate != endpoint.rstrip("/") and urlsplit(candidate).hostname]


async def without_model(checked: Check, call: Call, http: "Client") -> Check:
    try:
        models = await adapter(checked.llm.vendor).models(call.endpoint, call.api_key, http)
    except VendorError:
        models = ()
    listed = similar("", models)
    choose = f": the vendor lists {named(listed)}" if listed else ""
    return failed(checked, "no_model", "No model is named.", f"Give the LLM a default model{choose}.", listed)


def similar(model: str, models: Iterable[str]) -> list[str]:
    """Of the models at most MOST_NAMED, the most similar to this one first."""
    names = list(models)
    closest = get_close_matches(model, names, n=MOST_NAMED, cutoff=0.5)
    return (closest + [name for name in names if name not in closest])[:MOST_NAMED]


def named(models: Iterable[str]) -> str:
    names = list(models)
    return ", ".join(names[:MOST_NAMED]) + (" ..." if len(names) >= MOST_NAMED else "")


# step by step


def steps_of(checked: Check) -> Iterable[Step]:
    begun = checked.first_token_ms is not None
    failing = "" if checked.ok else "answer" if begun else STEP_OF.get(checked.code, "answer")
    done = True
    for name in STEPS:
        if name == failing:
            done = False
            yield Step(name, False, checked.detail)
        elif not done:
            yield Step(name, None, "It did not come to that.")
        elif failing == "answer" and not begun and name in ("key", "model"):
            yield Step(name, None, "Not known: no answer came.")
        else:
            yield Step(name, True, words_for(name, checked))


def words_for(step: str, checked: Check) -> str:
    """What a step that was passed has shown."""
    host = urlsplit(checked.llm.api_endpoint).hostname
    return {
        "settings": "The LLM is active, and its key can be read." if checked.llm.has_api_key else "The LLM is active.",
        "endpoint": f"{host or 'The vendor'} answers.",
        "key": "The key is accepted." if checked.llm.has_api_key else "No key is stored, and none is asked for.",
        "model": f"The vendor knows the model {checked.model}.",
        "answer": checked.detail,
    }[step]
