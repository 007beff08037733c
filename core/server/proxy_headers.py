"""The caller's address, scheme and host as the proxies in front state them; only TRUSTED_PROXIES are believed."""

import ipaddress
from collections.abc import Sequence
from typing import cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from core.server.responses import ASGIApplication, Receive, Scope, Send

FORWARDED_FOR, FORWARDED_HOST = b"x-forwarded-for", b"x-forwarded-host"


class TrustedProxyMiddleware:
    """uvicorn's, which reads `X-Forwarded-For` and `-Proto`, and with them `X-Forwarded-Host`.

    The caller is the right-most address of `X-Forwarded-For` that is no trusted proxy: anyone may have written what
    stands left of it. The host is the right-most of `X-Forwarded-Host`: the name under which the last proxy was called.
    """

    def __init__(self, application: ASGIApplication, trusted_proxies: Sequence[str]) -> None:
        middleware = ProxyHeadersMiddleware(application, list(trusted_proxies))  # type: ignore[arg-type]
        self.trusted_hosts = middleware.trusted_hosts
        self.forward = cast(ASGIApplication, middleware)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["client"] and scope["client"][0] in self.trusted_hosts:
            hosts = [value for name, value in scope["headers"] if name == FORWARDED_HOST]
            if hosts and (host := hosts[-1].rpartition(b",")[2].strip()):  # Django compares it with ALLOWED_HOSTS
                others = [(name, value) for name, value in scope["headers"] if name != b"host"]
                scope["headers"] = [*others, (b"host", host)]
            callers = b", ".join(value for name, value in scope["headers"] if name == FORWARDED_FOR).decode("latin1")
            try:  # a zone id (`fe80::1%eth0`) is no address that a caller can have
                client = callers and ipaddress.ip_address(self.trusted_hosts.get_trusted_client_address(callers)[0])
                is_usable = not getattr(client, "scope_id", None)
            except ValueError:
                is_usable = False
            if not is_usable:
                scope["headers"] = [(name, value) for name, value in scope["headers"] if name != FORWARDED_FOR]
        await self.forward(scope, receive, send)
