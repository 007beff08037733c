"""Which addresses an LLM may have.

An administrator's typing error, or malice, must not turn this server into a way into its own network, so
link-local and metadata addresses are always refused, loopback and private ones unless LLM_PRIVATE_NETWORKS is set.
"""

import ipaddress
import socket
import unicodedata
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# cloud metadata outside the link-local range: Alibaba's, and AWS's over IPv6
METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))


def refusal(address: Address) -> str | None:
    """Why an LLM may not be at this address, in words for an administrator; None when it may."""
    return reason(address, settings.LLM_PRIVATE_NETWORKS)


@lru_cache(1_000)
def reason(address: Address, private_allowed: bool) -> str | None:
    if isinstance(address, ipaddress.IPv6Address) and (embedded := embedded_address(address)):
        return reason(embedded, private_allowed)
    if address.is_link_local or address in METADATA:
        return f"{address} is a link-local or metadata address, where no LLM can be."
    if address.is_multicast or address.is_unspecified or (address.is_reserved and not address.is_loopback):
        return f"{address} is no address of a server."
    if not address.is_global and not private_allowed:
        return f"{address} is a private address, which this server refuses; LLM_PRIVATE_NETWORKS=1 allows them."
    return None


def embedded_address(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to, if it does."""
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def literal_address(host: str) -> Address | None:
    """The address that a URL's host spells out, also in the old forms (127.1, 0x7f000001); None for a name."""
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".")  # as it is read when it is resolved
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return ipaddress.ip_address("127.0.0.1")
    try:
        return (
            ipaddress.ip_address(socket.inet_aton(host.rstrip(".")))
            if host[-1:].isalnum() or host[-1:] == "."
            else None
        )
    except OSError:
        return None


def split_http_url(url: str) -> SplitResult:
    """The parts of an http(s) URL; raises ValidationError when it is something else."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        raise ValidationError("This is no URL; https://api.example.com/v1 would be.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid or set(url) & set(" \t\r\n\\"):
        raise ValidationError("This must be an http or https URL, such as https://api.example.com/v1.")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("A URL with a user name or password is refused: put the key into api_key.")
    return parts


def validate_http_url(url: str) -> None:
    split_http_url(url)


def validate_endpoint(url: str) -> None:
    """The base URL of a vendor. Names are checked when they are resolved, at connect."""
    parts = split_http_url(url)
    if parts.query or parts.fragment:
        raise ValidationError("A base URL has no query and no fragment: https://api.example.com/v1.")
    address = literal_address(parts.hostname or "")
    if address and (reason := refusal(address)):
        raise ValidationError(reason)
