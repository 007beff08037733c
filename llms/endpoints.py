"""Which addresses an LLM may have.

An administrator's typing error or malice must not give access to the network that this server is in. Link-local and
metadata addresses are always refused, loopback and private ones unless PRIVATE_NETWORKS admits them.
"""

import ipaddress
import socket
import unicodedata
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

from llms.vendors.registry import own_endpoint

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Cloud metadata services outside the link-local range: Alibaba's, and AWS's over IPv6.
METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))


def refusal(address: Address) -> str | None:
    """Why an LLM may not have this address, in words for an administrator, or None if it may."""
    return reason_against(address, settings.PRIVATE_NETWORKS)


@lru_cache(1_000)
def reason_against(address: Address, private_networks: bool | tuple[str, ...]) -> str | None:
    """Why no LLM may be at this address; empty if one may."""
    if isinstance(address, ipaddress.IPv6Address):
        teredo_client = address.teredo[1] if address.teredo else None
        if (
            embedded := address.ipv4_mapped or address.sixtofour or teredo_client
        ):  # the IPv4 address inside the IPv6 address
            return reason_against(embedded, private_networks)
    if address.is_link_local or address in METADATA:
        return f"{address} is a link-local or metadata address, where no LLM can be."
    if address.is_multicast or address.is_unspecified or (address.is_reserved and not address.is_loopback):
        return f"{address} is no address of a server."
    if address.is_global or private_networks is True:
        return None
    if private_networks and any(address in ipaddress.ip_network(network) for network in private_networks):
        return None
    return f"{address} is a private address, which this server refuses; PRIVATE_NETWORKS=1 allows them."


def parse_host(host: str) -> Address | None:
    """The IP address that a URL's host stands for, also in old notation (127.1, 0x7f000001). None for a name."""
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".")  # as resolvers read it
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return ipaddress.ip_address("127.0.0.1")
    if not host.endswith(".") and not host[-1:].isalnum():
        return None
    try:
        return ipaddress.ip_address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def split_http_url(url: str) -> SplitResult:
    """The parts of an http(s) URL. Raises ValidationError for anything else."""
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


def server_of(vendor: str, url: str) -> tuple[str, str, str, int | None]:
    """Vendor, scheme, host and port of a base URL, which may be empty: what a key is given for. Raises ValueError."""
    parts = urlsplit(url or own_endpoint(vendor))
    return vendor, parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def validate_http_url(url: str) -> None:
    """Raise ValidationError unless this is an http or https URL with a host."""
    split_http_url(url)


def validate_endpoint(url: str) -> None:
    """Validate the base URL of a vendor. Addresses of host names are checked on connecting, when they are resolved."""
    parts = split_http_url(url)
    if parts.query or parts.fragment:
        raise ValidationError("A base URL has no query and no fragment: https://api.example.com/v1.")
    address = parse_host(parts.hostname or "")
    if address and (reason := refusal(address)):
        raise ValidationError(reason)
