"""How a vendor fails: the reasons that programs know, the same for every vendor."""

CODES = {  # why a vendor gave no complete answer, and whether asking again can help
    "unsupported": False,  # there is no adapter
    "refused_address": False,  # the endpoint is where no LLM may be
    "unreachable": True,  # no connection, or it closed before any answer
    "untrusted": False,  # no certificate that is valid for the endpoint
    "timeout": True,  # no connection in time, or the vendor says that it took too long
    "unauthorized": False,  # 401, 403
    "rate_limited": True,  # 429
    "bad_request": False,  # any other 4xx
    "vendor_error": True,  # 5xx, or an error in the stream
    "redirected": False,  # 3xx: redirects are not followed
    "invalid_response": True,  # what came is not the vendor's format
    "incomplete": True,  # the connection closed before the end of the answer
}

WEB_PAGE = "a web page, as a web server has it and no API"  # instead of a vendor's own words


class VendorError(Exception):
    """Why there is no complete answer. What was given before it stays valid.

    `code` is one of CODES, `detail` is for people and has neither the key nor any header; `retryable` is as in CODES
    unless the case knows better. `retry_after` is how many seconds the vendor asks to be left alone, if it does;
    `status` is that of its HTTP answer, where it was the answer that failed. `taken` is whether the vendor may have
    read the question: not where it was not reached, or refused it.
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
