"""The caller's address, scheme and host as the proxies in front state them; only TRUSTED_PROXIES are believed."""

import ipaddress
from collections.abc import Sequence
from typing import cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from core.server.responses import ASGIApplication, Receive, Scope, Send

FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"


class TrustedProxyMiddleware:
    """uvicorn's, which reads `X-Forwarded-For` and `-Proto`, and with them `X-Forwarded-Host`. Each may be a list.

    The caller is the right-most address of `X-Forwarded-For` that is no trusted proxy: anyone may have written what
    stands left of it. The scheme stands at the same place of `X-Forwarded-Proto`, if every proxy wrote both; else it is
    the right-most, as the host is of `X-Forwarded-Host`: what the last proxy was called with.
    """

    def __init__(self, application: ASGIApplication, trusted_proxies: Sequence[str]) -> None:
        middleware = ProxyHeadersMiddleware(application, list(trusted_proxies))  # type: ignore[arg-type]
        self.trusted_hosts = middleware.trusted_hosts
        self.forward = cast(ASGIApplication, middleware)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["client"] and scope["client"][0] in self.trusted_hosts:
            lists: dict[bytes, list[bytes]] = {FORWARDED_FOR: [], FORWARDED_PROTO: [], FORWARDED_HOST: []}
            for name, value in scope["headers"]:
                if name in lists:
                    lists[name] += filter(None, map(bytes.strip, value.split(b",")))  # elements may be empty
            callers, schemes, hosts = lists.values()
            addresses = [self.trusted_hosts.get_trusted_client_address(item.decode("latin1"))[0] for item in callers]
            place = max((at for at, each in enumerate(addresses) if each not in self.trusted_hosts), default=0)
            known = {FORWARDED_HOST: hosts[-1:], b"host": hosts[-1:]}  # Django compares it with ALLOWED_HOSTS
            known[FORWARDED_PROTO] = [schemes[place if len(schemes) == len(callers) else -1].lower()] if schemes else []
            try:  # a zone id (`fe80::1%eth0`) is no address that a caller can have
                is_usable = not getattr(ipaddress.ip_address(addresses[place]), "scope_id", None)
            except (ValueError, IndexError):
                is_usable = False
            known[FORWARDED_FOR] = [callers[place]] if is_usable else []
            replaced = lists.keys() | {b"host"} if hosts else lists.keys()
            others = [(name, value) for name, value in scope["headers"] if name not in replaced]
            scope["headers"] = [*others, *((name, value) for name, values in known.items() for value in values)]
        await self.forward(scope, receive, send)
