"""Reads settings from the environment and from files, and checks their values.

Validators raise ValidationError with a sentence that says what is wrong; `error_line` puts it into one line.
"""

import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from dotenv import load_dotenv
from environs import EnvError, EnvValidationError, ValidationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RENAMED = {"LLM_PRIVATE_NETWORKS": "PRIVATE_NETWORKS"}  # the old name stays accepted

TRUE, FALSE = {"1", "true", "t", "yes", "y", "on"}, {"0", "false", "f", "no", "n", "off", ""}  # as other settings


def read_files(*paths: Path) -> None:
    """Add the settings in these files to the environment, which wins; an earlier file wins over a later one.

    The environment, and not only our settings: OpenTelemetry and HTTP clients read variables of their own there.
    """
    for path in (None, *paths):  # first, the old names in the environment itself
        if path:
            load_dotenv(path)
        for old, new in RENAMED.items():
            if old in os.environ:
                os.environ.setdefault(new, os.environ[old])


def fernet_key(value: str) -> str:
    """Check a key of FIELD_KEYS; raises ValidationError."""
    try:
        Fernet(value)
    except ValueError:
        raise ValidationError("A key is 32 random bytes in URL-safe base64; several are divided by commas.") from None
    return value


def network(value: str) -> str:
    """Check an IP address or network; raises ValidationError."""
    try:
        ipaddress.ip_network(value.strip())
    except ValueError:
        raise ValidationError(f"{value!r} is no address or network; 10.0.0.0/8 would be.") from None
    return value.strip()


def private_networks(value: str) -> bool | tuple[str, ...]:
    """`1` for all, `0` for none, else a list of `host[:port]` and networks; raises ValidationError."""
    if value.strip().lower() in TRUE | FALSE:
        return value.strip().lower() in TRUE
    places = tuple(each.strip() for each in value.split(","))
    for place in places:
        private_place(place)
    return places


def private_place(value: str) -> tuple[Network | str, int | None]:
    """The network, or the name of a host as URLs have it, and the port that an entry of PRIVATE_NETWORKS admits.

    Without a port it admits all of them. Raises ValidationError if it is no such entry.
    """
    try:
        return ipaddress.ip_network(value), None
    except ValueError:
        pass
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname or "", parts.port
        if parts.netloc != value or "@" in value or value.endswith(":") or port == 0:
            raise ValueError
        if value.startswith("[") or host.rpartition(".")[2].isdigit():
            return ipaddress.ip_network(host), port
        name = host.removesuffix(".").encode("idna").decode().lower()
    except ValueError:
        name = ""
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
        raise ValidationError(f"{value!r} is no host, host:port or network; ollama.internal:11434 would be.")
    return name, port


def secret(value: str) -> str:
    """Check a secret that callers send in a header; raises ValidationError."""
    if value and len(value) < 16:
        raise ValidationError("It needs 16 characters or more, so that nobody guesses it.")
    if not (value.isascii() and value.isprintable()):
        raise ValidationError("It may have printable ASCII only, as headers have.")
    return value


def url_origin(value: str) -> str:
    """Check the scheme of an origin, such as https://studio.example.com; raises ValidationError."""
    if not value.strip().startswith(("http://", "https://")):
        raise ValidationError(f"{value!r} needs a scheme; https://studio.example.com would do.")
    return value.strip()


def host_name(value: str) -> str:
    """Check a host name without scheme and port; raises ValidationError."""
    if not re.fullmatch(r"\.?[\w.*-]+|\[[0-9a-fA-F:.]+\]", value.strip()):
        raise ValidationError(f"{value!r} is no host name; studio.example.com would be, without scheme and port.")
    return value.strip()


def error_line(error: EnvError) -> str:
    """The name of the setting and what is wrong with it, in one line."""
    messages = error.error_messages if isinstance(error, EnvValidationError) else "is not set."
    name = re.split(r" invalid: | not set", str(error).removeprefix("Environment variable "))[0].strip('"')
    return f"{name}: {' '.join(flatten(messages))}"


def flatten(messages: object) -> list[str]:
    """The texts in an error's messages, which may be a text, a list or a dict of such."""
    if isinstance(messages, dict):
        messages = list(messages.values())
    if isinstance(messages, Iterable) and not isinstance(messages, str):
        return [text for item in messages for text in flatten(item)]
    return [str(messages)]
