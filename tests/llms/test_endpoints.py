"""Where an LLM may be."""

import ipaddress
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from llms.endpoints import refusal, validate_endpoint
from tests.llms.vendors.asking import ask, call
from tests.vendor_server import ANSWER, VendorServer

ALWAYS_REFUSED = [
    "http://169.254.169.254/latest",
    "http://[fe80::1]/v1",
    "http://[::ffff:169.254.169.254]/v1",
    "http://2852039166/v1",  # 169.254.169.254 as one number
    "http://0xa9fea9fe/v1",
    "http://１６９.254.169.254/v1",
    "http://169。254。169。254/v1",
    "http://[fd00:ec2::254]/v1",
    "http://[fd00:ec2::23]/v1",
    "http://[fd00:ec2::254%25lo]/v1",
    "http://[fd20:ce::254]/v1",
    "http://[fd00:c1::a9fe:a9fe]/v1",
    "http://[fd00:42::42]/v1",
    "http://[fd00:a9fe:a9fe::1]/v1",
    "http://[fd00:100::100:200]/v1",
    "http://100.100.100.200/v1",
    "http://100.96.0.96/v1",
    "http://168.63.129.16/v1",
    "http://0xa83f8110/v1",  # the same as one number
    "http://[::ffff:168.63.129.16]/v1",
    "http://[2002:a83f:8110::1]/v1",  # inside 6to4
    "http://[64:ff9b::a83f:8110]/v1",  # behind NAT64
    "http://192.0.0.192/v1",
    "http://[64:ff9b::c000:c0]/v1",
    "http://[64:ff9b:1::8.8.8.8]/v1",
    "http://[::ffff:0:8.8.8.8]/v1",
    "http://[::8.8.8.8]/v1",
    "http://[2001:0:808:808::1]/v1",  # Teredo
    "http://[fec0::1]/v1",
    "http://[feff:ffff::1]/v1",
    "http://[ff02::1]/v1",
    "http://[::]/v1",
    "http://[100::1]/v1",
    "http://[4000::1]/v1",
    "http://0.0.0.0/v1",
    "http://0.0.0.7/v1",
    "http://192.0.0.9/v1",
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
    "http://[64:ff9b::10.0.0.7]/v1",
    "http://100.64.0.1/v1",
    "http://172.31.255.255/v1",
    "http://198.18.0.1/v1",
]
PUBLIC = [
    "https://api.openai.com/v1",
    "http://8.8.8.8/v1",
    "https://[2606:4700::1111]/v1",
    "https://[64:ff9b::8.8.8.8]/v1",
    "https://[::ffff:8.8.8.8]/v1",
    "http://172.32.0.1/v1",
    "https://llm.corp:8443/v1",
]


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
    settings.PRIVATE_NETWORKS = ("10.1.0.0/16", "127.0.0.1", "169.254.0.0/16", "168.63.129.16", "fec0::/10")
    for url in ("http://10.1.2.3/v1", "http://localhost:11434/v1", "http://[::ffff:10.1.0.7]/v1", "http://8.8.8.8/v1"):
        validate_endpoint(url)
    never = ("http://169.254.169.254/v1", "http://168.63.129.16/v1", "http://[fec0::1]/v1")
    for url in ("http://10.2.0.1/v1", "http://127.0.0.2/v1", "http://[::1]/v1", *never):
        with pytest.raises(ValidationError):
            validate_endpoint(url)


@pytest.mark.parametrize(
    ("entry", "admitted", "refused"),
    [
        (
            "127.0.0.1:11434",
            "http://127.0.0.1:11434 http://127.1:11434 http://localhost:11434",
            "http://127.0.0.1:8080",
        ),
        ("127.0.0.1:80", "http://127.0.0.1", "https://127.0.0.1"),
        ("127.0.0.1:443", "https://127.0.0.1", "http://127.0.0.1"),
        ("[fd12::1]:80", "http://[fd12::1] http://[fd12:0::1]:80", "http://[fd12::2] http://[fd12::1]:81"),
        ("[fd12::1]", "http://[fd12::1]:81", "http://[fd12::2]"),
        ("localhost", "http://localhost http://LOCALHOST.:99", "http://127.0.0.1 http://ollama.localhost"),
        ("LocalHost.:11434", "http://localhost:11434", "http://localhost http://127.0.0.1:11434"),
        ("müller.localhost", "http://xn--mller-kva.localhost", "http://muller.localhost"),
    ],
)
def test_a_host_in_the_list_may_have_a_port(entry: str, admitted: str, refused: str, settings: Any) -> None:
    settings.PRIVATE_NETWORKS = ("10.1.0.0/16", entry)
    for url in admitted.split():
        validate_endpoint(f"{url}/v1")
    for url in refused.split():
        with pytest.raises(ValidationError, match="private address"):
            validate_endpoint(f"{url}/v1")


@pytest.mark.parametrize("url", PUBLIC)
def test_public_addresses_and_names(url: str) -> None:
    validate_endpoint(url)


def test_the_same_rule_serves_at_connect() -> None:
    assert refusal(ipaddress.ip_address("8.8.8.8"), "llm.corp", 443) is None
    for address in ("169.254.169.254", "fd00:ec2::254%eth0"):
        assert "metadata" in str(refusal(ipaddress.ip_address(address), "llm.corp", 443))


def test_a_name_in_the_list_is_reached_at_its_port_only(vendor: VendorServer, settings: Any) -> None:
    name, number = (call(f"http://{host}:{vendor.port}/v1", "ok") for host in ("localhost", "127.0.0.1"))
    settings.PRIVATE_NETWORKS = (f"localhost:{vendor.port}",)
    assert ask(name, refusal=refusal).text == ANSWER
    assert ask(number, refusal=refusal).code == "refused_address"
    settings.PRIVATE_NETWORKS = ("localhost:1", f"127.0.0.1:{vendor.port}")
    assert ask(number, refusal=refusal).text == ask(name, refusal=refusal).text == ANSWER
    settings.PRIVATE_NETWORKS = ("localhost:1", "127.0.0.1:1")
    accepted = vendor.accepted
    assert {ask(name, refusal=refusal).code, ask(number, refusal=refusal).code} == {"refused_address"}
    assert vendor.accepted == accepted


def test_a_name_in_the_list_does_not_admit_metadata(settings: Any) -> None:
    settings.PRIVATE_NETWORKS = ("llm.corp",)
    assert refusal(ipaddress.ip_address("10.0.0.7"), "llm.corp", 443) is None
    assert "metadata" in str(refusal(ipaddress.ip_address("fd20:ce::254"), "llm.corp", 443))
