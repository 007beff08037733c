"""Where an LLM may be."""

import ipaddress
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from llms.endpoints import refusal, validate_endpoint

ALWAYS_REFUSED = [
    "http://169.254.169.254/latest",
    "http://[fe80::1]/v1",
    "http://[::ffff:169.254.169.254]/v1",
    "http://2852039166/v1",  # 169.254.169.254 as one number
    "http://0xa9fea9fe/v1",
    "http://１６９.254.169.254/v1",
    "http://169。254。169。254/v1",
    "http://[fd00:ec2::254]/v1",
    "http://100.100.100.200/v1",
    "http://0.0.0.0/v1",
    "http://224.0.0.1/v1",
    "http://255.255.255.255/v1",
    "ftp://api.example.com/v1",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "api.example.com/v1",
    "https://",
    "https://user:secret@api.example.com/v1",
    "https://api.example.com:99999/v1",
    "https://api.example.com/v1?key=secret",
    "https://api.example.com/v1#x",
    "https://api.example.com\\@evil.example/v1",
    "https://api.exam ple.com/v1",
    "https://[::1",
]
PRIVATE = [
    "http://127.0.0.1:11434/v1",
    "http://localhost:11434/v1",
    "http://127.1/v1",
    "http://[::1]:11434/v1",
    "http://10.0.0.7/v1",
    "http://192.168.1.20/v1",
    "http://[fd12::1]/v1",
]
PUBLIC = ["https://api.openai.com/v1", "http://8.8.8.8/v1", "https://[2606:4700::1111]/v1", "https://llm.corp:8443/v1"]


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("url", ALWAYS_REFUSED)
def test_never(url: str, allowed: bool, settings: Any) -> None:
    settings.PRIVATE_NETWORKS = allowed
    with pytest.raises(ValidationError) as caught:
        validate_endpoint(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", PRIVATE)
def test_private_addresses_need_a_setting(url: str, settings: Any) -> None:
    settings.PRIVATE_NETWORKS = False
    with pytest.raises(ValidationError, match="PRIVATE_NETWORKS=1"):
        validate_endpoint(url)
    settings.PRIVATE_NETWORKS = True
    validate_endpoint(url)


def test_a_list_of_networks_admits_only_these(settings: Any) -> None:
    settings.PRIVATE_NETWORKS = ("10.1.0.0/16", "127.0.0.1", "169.254.0.0/16")
    for url in ("http://10.1.2.3/v1", "http://localhost:11434/v1", "http://[::ffff:10.1.0.7]/v1", "http://8.8.8.8/v1"):
        validate_endpoint(url)
    for url in ("http://10.2.0.1/v1", "http://127.0.0.2/v1", "http://[::1]/v1", "http://169.254.169.254/v1"):
        with pytest.raises(ValidationError):
            validate_endpoint(url)


@pytest.mark.parametrize("url", PUBLIC)
def test_public_addresses_and_names(url: str) -> None:
    validate_endpoint(url)


def test_the_same_rule_serves_at_connect() -> None:
    assert refusal(ipaddress.ip_address("8.8.8.8")) is None
    assert "metadata" in str(refusal(ipaddress.ip_address("169.254.169.254")))
