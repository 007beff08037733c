"""Which addresses an LLM may have.

An administrator's typing error or malice must not give access to the network that this server is in. Link-local and
metadata addresses are always refused, loopback and private ones unless PRIVATE_NETWORKS admits them. The tables are
ours, because what Python's `is_private` and `is_global` say changes with its patch versions.
"""

import ipaddress
import socket
import unicodedata
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

from core.env import Network, private_place
from llms.vendors.registry import own_endpoint

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def networks(text: str) -> tuple[Network, ...]:
    """The networks and single addresses in this text, which spaces divide."""
    return tuple(map(ipaddress.ip_network, text.split()))


# Where clouds tell their machines secrets: link-local, and outside of it Alibaba's, Azure's, Oracle's and Volcengine's
# addresses, all that AWS has in IPv6, and Google's, Oracle's, Scaleway's, Akamai's and Alibaba's in IPv6.
METADATA = networks(
    "169.254.0.0/16 fe80::/10 100.100.100.200 168.63.129.16 192.0.0.192 100.96.0.96 fd00:ec2::/32 fd20:ce::/48 "
    "fd00:c1::a9fe:a9fe fd00:42::42 fd00:a9fe:a9fe::/48 fd00:100::100:200"
)
# IANA's registries of special-purpose addresses: those of no server, then those of machines in private networks
NO_SERVER = networks("0.0.0.0/8 192.0.0.0/24 192.88.99.0/24 224.0.0.0/3 2001::/23")
PRIVATE = networks(
    "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 "
    "203.0.113.0/24 ::1 2001:db8::/32 3fff::/20 fc00::/7"
)
PUBLIC = networks("0.0.0.0/0 2000::/3")
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses, as a host without IPv4 sees them


def refusal(address: Address, host: str, port: int) -> str | None:
    """Why no LLM may be at this address of a host, in words for an administrator, or None if one may."""
    return reason_against(address, host, port, settings.PRIVATE_NETWORKS)


@lru_cache(1_000)
def reason_against(address: Address, host: str, port: int, private_networks: bool | tuple[str, ...]) -> str | None:
    """The reason that `refusal` gives under these PRIVATE_NETWORKS."""
    if isinstance(address, ipaddress.IPv6Address):  # what counts is the IPv4 address inside, where there is one
        behind_nat64 = ipaddress.IPv4Address(int(address) % 2**32) if address in NAT64 else None
        address = address.ipv4_mapped or address.sixtofour or behind_nat64 or address
    if any(address in network for network in METADATA):
        return f"{address} is a link-local or metadata address, where no LLM can be."
    is_private = any(address in network for network in PRIVATE)
    is_public = any(address in network for network in PUBLIC)
    if any(address in network for network in NO_SERVER) or not (is_private or is_public):
        return f"{address} is no address of a server."
    if not is_private or private_networks is True:
        return None
    name = host.rstrip(".").lower()
    for place, its_port in map(private_place, private_networks or ()):
        is_here = place == name if isinstance(place, str) else address in place
        if is_here and its_port in (None, port):
            return None
    return (
        f"{address} is a private address, which this server refuses; PRIVATE_NETWORKS=1 allows them, and a list of "
        "host:port some of them."
    )


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
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if address and (reason := refusal(address, parts.hostname or "", port)):
        raise ValidationError(reason)
