"""Errors of vendors: a code for programs, the same for every vendor, and a text for people."""

import re

CODES = {  # why a vendor gave no complete answer, and whether a retry can help
    "unsupported": False,  # there is no adapter
    "unsupported_part": False,  # the vendor's format cannot express a part of a message
    "refused_address": False,  # no LLM may have the endpoint's address
    "unreachable": True,  # no connection, or it closed before any answer
    "untrusted": False,  # no certificate that is valid for the endpoint
    "timeout": True,  # no connection in time, or the vendor says that it took too long
    "unauthorized": False,  # 401, 403
    "rate_limited": True,  # 429
    "bad_request": False,  # any other 4xx
    "vendor_error": True,  # 5xx, or an error in the stream
    "redirected": False,  # 3xx: redirects are not followed
    "invalid_response": True,  # the answer does not have the vendor's format
    "incomplete": True,  # the connection closed before the end of the answer, or the answer has not one word
}
CODES_OF_STATUS = {401: "unauthorized", 403: "unauthorized", 408: "timeout", 429: "rate_limited"}
STATUS_OF_NAME = {  # the names of errors in documents without a status, in lower case
    **dict.fromkeys(("invalid_request_error", "invalid_argument", "bad_request", "failed_precondition"), 400),
    **dict.fromkeys(
        ("context_length_exceeded", "exceed_context_size_error", "invalid_request", "badrequesterror"), 400
    ),
    **dict.fromkeys(("authentication_error", "unauthenticated", "unauthorized", "invalid_api_key"), 401),
    **dict.fromkeys(("billing_error", "payment_required", "insufficient_balance", "insufficient_credits"), 402),
    **dict.fromkeys(("permission_error", "permission_denied", "forbidden", "access_denied"), 403),
    **dict.fromkeys(("not_found_error", "not_found", "model_not_found"), 404),
    **dict.fromkeys(("request_too_large", "payload_too_large"), 413),
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded", "resource_exhausted", "insufficient_quota"), 429),
    **dict.fromkeys(("too_many_requests", "throttlingexception", "rate_limited"), 429),
    **dict.fromkeys(("api_error", "server_error", "internal", "internal_error", "internal_server_error"), 500),
    **dict.fromkeys(("unavailable", "service_unavailable"), 503),
    **dict.fromkeys(("timeout_error", "deadline_exceeded", "gateway_timeout"), 504),
    "overloaded_error": 529,
}
MESSAGE_KEYS = ("message", "detail", "msg", "status_msg", "error_msg", "error_message", "errmsg")
SUCCESS = (0, 200, "0", "200", "ok", "success", None)
OWN_WORDS = {  # shown instead of the vendor's words, which may contain a part of the key
    401: "The vendor refuses the API key.",
    403: "The vendor does not allow this API key to do that.",
}
WEB_PAGE = "a web page, as a web server has it and no API"  # shown instead of the vendor's words
PAGE = re.compile(  # a web page, alone or behind the words of a gateway
    r"(\A\s*<(html|head|body)\b|<!doctype\s{1,9}html\b|<html[^>]{0,99}>\s{0,9}<(head|body|title)\b).*",
    re.IGNORECASE | re.DOTALL,
)
LONGEST_DETAIL = 300  # characters of a vendor's words
LONGEST_MESSAGE = 10_000  # characters of a message in which a web page is looked for
MASK = re.compile(r"[*…•]|\.{3}")  # what vendors put for the middle of a key that they quote


class VendorError(Exception):
    """Why there is no complete answer. What was yielded before it stays valid.

    `code` is one of CODES, `detail` is for people and contains neither the key nor any header. `retryable` is as in
    CODES unless the case knows better. `retry_after` is how many seconds the vendor asks to wait, if it does. `status`
    is the vendor's HTTP status where that was the failure. `taken` is False if the vendor cannot have read the
    question: it was not reached, or refused it.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        taken: bool = True,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retryable = CODES[code] if retryable is None else retryable
        self.retry_after = retry_after
        self.status = status
        self.taken = taken


def status_error(status: int, words: str, *, secret: str, retry_after: float | None = None) -> VendorError:
    """The error for an HTTP status that is not 2xx. The vendor's `words` are shown without the secret."""
    if 300 <= status < 400:
        return VendorError("redirected", "The vendor has moved; the endpoint must name where to.", status=status)
    code = CODES_OF_STATUS.get(status) or ("vendor_error" if status >= 500 else "bad_request")
    said = redact(words, secret)
    detail = f"The vendor answered {status}" + (f": {said}" if said else ".")
    if words != WEB_PAGE:  # that comes from a proxy or another server, which knows nothing of the key
        detail = OWN_WORDS.get(status, detail)
    if retry_after is not None and retry_after >= 1:
        wait = f"{retry_after:.0f} seconds" if retry_after < 120 else f"{retry_after / 60:,.0f} minutes"
        detail = f"{detail.removesuffix('.')}. It asks to wait {wait}."
    return VendorError(code, detail, retry_after=retry_after, status=status)


def redact(words: str, secret: str) -> str:
    """A vendor's text on one line, shortened, and without the secret, its beginning, or a masked form of it."""
    words = "".join(character if character.isprintable() else " " for character in words)
    if not secret:
        return " ".join(words.split())[:LONGEST_DETAIL]
    return " ".join(
        "***" if secret[:8] in word or (MASK.search(word) and (secret[:4] in word or secret[-4:] in word)) else word
        for word in words.replace(secret, "***").split()
    )[:LONGEST_DETAIL]


def error_message(document: object) -> str:
    """The message in an error document, in any of the usual forms, with WEB_PAGE for a page; empty if there is none."""
    for _ in range(6):  # as deep as they go
        if isinstance(document, str):
            return PAGE.sub(WEB_PAGE, document[:LONGEST_MESSAGE]).strip()
        if isinstance(document, list):
            document = document[0] if document else None
        elif isinstance(document, dict):
            values = [document.get(key) for key in ("error", "errors", "base_resp", *MESSAGE_KEYS)]
            document = next((value for value in values if value and isinstance(value, str | list | dict)), None)
    return ""


def error_status(document: object) -> int | None:
    """The HTTP status that an error document names, as a number or by a name, at any level; None if it names none."""
    for _ in range(6):
        if isinstance(document, list):
            document = document[0] if document else None
        if not isinstance(document, dict):
            break
        for key in ("code", "status", "status_code", "http_status", "type"):
            value = document.get(key)
            if isinstance(value, str):
                value = int(value) if value.isascii() and value.isdigit() else STATUS_OF_NAME.get(value.lower())
            if type(value) is int and 400 <= value < 600:
                return value
        document = document.get("error") or document.get("errors")
    return None
