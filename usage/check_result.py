"""The result of checking an LLM, with one step for each thing that an answer needs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from llms.models import LLM
from llms.vendors.errors import WEB_PAGE

STEPS = ("settings", "endpoint", "key", "model", "answer")
STEP_OF = {  # error code → the step that failed; "answer" for all other codes
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
}
UNREACHABLE = (
    "Check that the endpoint has no typing error, that the vendor's server runs, and that this server may connect to "
    "it: a firewall or HTTPS_PROXY may block the connection."
)
ADVICE = {
    "inactive": "Make it active.",
    "unreadable_key": "Enter the key anew, or put the lost key back into FIELD_KEYS and restart the server.",
    "unsupported": "Choose another vendor.",
    "refused_address": "Correct the endpoint.",
    "unreachable": UNREACHABLE,
    "timeout": UNREACHABLE,
    "untrusted": "Use the host name that the certificate was issued for. If your own authority signed it, "
    "SSL_CERT_FILE must name a file that contains that authority's certificate.",
    "redirected": "Enter the endpoint that the vendor has moved to, or https instead of http.",
    "wrong_path": "Correct the endpoint. It is the base URL that the vendor's own clients take, usually "
    "https://host/v1, without the path of a single request.",
    "invalid_response": "See that the vendor of this LLM is the one that is at the endpoint.",
    "unauthorized": "Enter the key anew: the whole key of this vendor, not expired, and allowed to use the model.",
    "rate_limited": "Wait a minute and try again. If this stays so, the account may have no credit left.",
    "incomplete": "Try again. If this stays so, a filter of the vendor or a proxy may end the answer, or the model "
    "may not support chats.",
    "bad_request": "The vendor's own words say what it does not accept. It may be one of the settings.",
    "slow": "Try again: the vendor may have been loading the model. Chats wait longer: see LLM_FIRST_TOKEN_TIMEOUT, "
    "LLM_SILENCE_TIMEOUT and LLM_TOKEN_TIMEOUT.",
}
WITHOUT_WORDS = (
    "The vendor's own words are missing, so another server may have answered. Check whether the endpoint needs https "
    "and whether its path is right."
)
TRY_AGAIN = "Try again in a moment. If this stays so, the vendor's status page may say more."
PRIVATE = "If the LLM is meant to be there, set PRIVATE_NETWORKS=1 and restart the server."
WORDLESS = re.compile(r"answered \d+\.$")  # a VendorError's detail without a message from the vendor


@dataclass(frozen=True, slots=True)
class Step:
    """One of STEPS. `passed` is None if the check did not get that far."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check.

    `code` is "ok" or an error code. `detail` and `advice` are texts for people and contain no secret. If the model was
    not found, `models` lists the vendor's models, the most similar first.
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

    def failure(self, code: str, detail: str, advice: str = "", models: Iterable[str] = ()) -> "Check":
        """This check as a failed one, with the advice that fits the code unless another is given."""
        advice = advice or ADVICE.get(code, TRY_AGAIN)
        if code == "refused_address" and "PRIVATE_NETWORKS" in detail:
            advice = f"{PRIVATE} Else correct the endpoint."
        elif code in ("bad_request", "unauthorized") and (WEB_PAGE in detail or WORDLESS.search(detail)):
            advice = WITHOUT_WORDS
        return replace(self, code=code, detail=detail, advice=advice, models=tuple(models))


def steps_of(check: Check) -> Iterator[Step]:
    """The steps of a check: those before the failing one passed, those after it were not reached."""
    has_begun = check.first_token_ms is not None
    failing = "" if check.ok else "answer" if has_begun else STEP_OF.get(check.code, "answer")
    host = urlsplit(check.llm.api_endpoint).hostname
    details = {
        "settings": "The LLM is active, and its key can be read." if check.llm.has_api_key else "The LLM is active.",
        "endpoint": f"{host or 'The vendor'} answers.",
        "key": "The key is accepted." if check.llm.has_api_key else "No key is stored, and the vendor needs none.",
        "model": f"The vendor knows the model {check.model}.",
        "answer": check.detail,
    }
    passed: bool | None = True
    for name in STEPS:
        if name == failing:
            yield Step(name, False, check.detail)
            passed = None
        elif passed is None:
            yield Step(name, None, "The check did not get this far.")
        elif failing == "answer" and not has_begun and name in ("key", "model"):
            yield Step(name, None, "Unknown, because no answer came.")
        else:
            yield Step(name, True, details[name])
