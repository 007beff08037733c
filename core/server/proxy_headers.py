"""What the proxies in front say of the caller, believed of TRUSTED_PROXIES alone."""

import ipaddress
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

FORWARDED_FOR, FORWARDED_HOST = b"x-forwarded-for", b"x-forwarded-host"


class TrustedProxyMiddleware(ProxyHeadersMiddleware):
    """uvicorn's, which reads `X-Forwarded-For` and `-Proto`, and with them `X-Forwarded-Host`.

    The caller is the right-most address of `X-Forwarded-For` that is no trusted proxy: what stands left of it, anyone
    may have written. The host is the right-most too, the one that the proxy before us has been called by.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["client"] and scope["client"][0] in self.trusted_hosts:
            believe_host(scope)
            said = b", ".join(value for name, value in scope["headers"] if name == FORWARDED_FOR).decode("latin1")
            if said and not is_address(self.trusted_hosts.get_trusted_client_address(said)[0]):
                scope["headers"] = [header for header in scope["headers"] if header[0] != FORWARDED_FOR]
        await super().__call__(scope, receive, send)


def is_address(text: str) -> bool:
    """Whether it is one that a caller can have, and no other junk that a proxy hands on."""
    try:
        return not getattr(ipaddress.ip_address(text), "scope_id", None)
    except ValueError:
        return False


def believe_host(scope: Any) -> None:
    """Take the host from `X-Forwarded-Host` where there is one; Django holds it against ALLOWED_HOSTS."""
    values = [value for name, value in scope["headers"] if name == FORWARDED_HOST]
    if values and (host := values[-1].rpartition(b",")[2].strip()):
        scope["headers"] = [*(header for header in scope["headers"] if header[0] != b"host"), (b"host", host)]
