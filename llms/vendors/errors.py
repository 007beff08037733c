"""How a vendor fails: codes that programs know, the same for every vendor, and words that people read."""

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
    "incomplete": True,  # the connection closed before the end of the answer
}
CODES_OF_STATUS = {401: "unauthorized", 403: "unauthorized", 408: "timeout", 429: "rate_limited"}
OWN_WORDS = {  # shown instead of the vendor's words, which may contain a part of the key
    401: "The vendor refuses the API key.",
    403: "The vendor does not allow this API key to do that.",
}
WEB_PAGE = "a web page, as a web server has it and no API"  # shown instead of the vendor's words
LONGEST_DETAIL = 300  # characters of a vendor's words
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
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.retryable = CODES[code] if retryable is None else retryable
        self.retry_after = retry_after
        self.status = status
        self.taken = taken

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def status_error(status: int, words: str, *, secret: str, retry_after: float | None = None) -> VendorError:
    """The error for an HTTP status that is not 2xx. The vendor's `words` are shown without the secret."""
    if 300 <= status < 400:
        return VendorError("redirected", "The vendor has moved; the endpoint must name where to.", status=status)
    code = CODES_OF_STATUS.get(status) or ("vendor_error" if status >= 500 else "bad_request")
    said = redact(words, secret)
    detail = OWN_WORDS.get(status) or (f"The vendor answered {status}" + (f": {said}" if said else "."))
    return VendorError(code, detail, retry_after=retry_after, status=status)


def redact(words: str, secret: str) -> str:
    """A vendor's words on one line, cut, and without the secret, its beginning, or a masked form of it."""
    words = "".join(character if character.isprintable() else " " for character in words)
    if not secret:
        return " ".join(words.split())[:LONGEST_DETAIL]
    return " ".join(
        "***" if secret[:8] in word or (MASK.search(word) and (secret[:4] in word or secret[-4:] in word)) else word
        for word in words.replace(secret, "***").split()
    )[:LONGEST_DETAIL]


def error_message(document: object) -> str:
    """The message in an error document, in any of the usual forms; empty if there is none."""
    for _ in range(5):  # as deep as they go
        if isinstance(document, str):
            return document
        if isinstance(document, list):
            document = document[0] if document else None
        elif isinstance(document, dict):
            document = next((document[key] for key in ("error", "message", "detail", "msg") if document.get(key)), None)
    return ""
