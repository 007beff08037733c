"""What proxies do to answers: they refuse, compress, and put web pages in the place of answers."""

import gzip
import json
import zlib
from typing import Any

import pytest

from llms.vendors.content_encoding import LARGEST_PIECE, Inflater
from llms.vendors.errors import WEB_PAGE, error_message
from tests.llms.vendors.asking import KEY, Asked, ask, call
from tests.llms.vendors.test_client import PROXIES
from tests.vendor_server import VendorServer, unused_port

PAGE = b"<!DOCTYPE html>\n<html><title>502 Bad Gateway</title></html>"
ANSWER = "The tide is low. " * 20
CHUNK = {"choices": [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": "stop"}]}
STREAM = f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n".encode()
REFUSAL = b'{"error": {"message": "No such tide."}}'


def bare_deflate(body: bytes) -> bytes:
    """Without the header that the format demands, as some servers send it."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


COMPRESSIONS = [
    ("gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
    ("identity", bytes),
    ("utf-8", bytes),  # no encoding, and sent by some
]


def asked_for(vendor: VendorServer, status: int, body: bytes, *headers: str, endpoint: str = "") -> Asked:
    lines = "\n".join(headers)
    return ask(call(endpoint or vendor.url, f"reply:{status}|{lines}|{body.hex()}"))


def detail_of(asked: Asked) -> str:
    assert asked.error
    assert KEY not in asked.error.detail
    return asked.error.detail


# compressed bodies


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSIONS)
def test_a_body_that_is_compressed_unasked_is_read(vendor: VendorServer, encoding: str, compress: Any) -> None:
    header = f"Content-Encoding: {encoding}"
    assert asked_for(vendor, 200, compress(STREAM), header, "Content-Type: text/event-stream").text == ANSWER
    refused = asked_for(vendor, 400, compress(REFUSAL), header, "Content-Type: application/json")
    assert (refused.code, detail_of(refused)) == ("bad_request", "The vendor answered 400: No such tide.")


@pytest.mark.parametrize(("encoding", "name"), [("br", "Brotli"), ("zstd", "Zstandard"), ("identity, BR", "Brotli")])
@pytest.mark.parametrize(
    ("status", "code", "requests"), [(200, "invalid_response", 1), (400, "bad_request", 1), (503, "vendor_error", 3)]
)
def test_one_that_cannot_be_read_is_named(
    vendor: VendorServer, encoding: str, name: str, status: int, code: str, requests: int
) -> None:
    asked = asked_for(vendor, status, b"\x0b\x0a\x80{}\x03", f"Content-Encoding: {encoding}")
    assert (asked.code, len(vendor.requests)) == (code, requests)
    assert f"a body compressed with {name}" in detail_of(asked)


def test_one_that_is_not_what_it_says(vendor: VendorServer) -> None:
    asked = asked_for(vendor, 200, STREAM, "Content-Encoding: gzip")
    assert (asked.code, detail_of(asked)) == (
        "invalid_response",
        "The vendor's answer is not compressed with gzip, as it says.",
    )
    assert "No such tide." in detail_of(asked_for(vendor, 400, REFUSAL, "Content-Encoding: gzip"))


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSIONS[2:5])
def test_bytes_can_be_cut_anywhere(encoding: str, compress: Any) -> None:
    inflater = Inflater(encoding)
    body = compress(STREAM)
    pieces = [piece for place in range(len(body)) for piece in inflater.feed(body[place : place + 1])]
    assert b"".join(pieces) == STREAM


def test_several_members_and_padding() -> None:
    body = gzip.compress(b"One ") + gzip.compress(b"two") + b"\0" * 10
    assert b"".join(Inflater("gzip").feed(body)) == b"One two"


def test_a_small_body_does_not_fill_the_memory() -> None:
    size = 20 * LARGEST_PIECE
    pieces = [len(piece) for piece in Inflater("gzip").feed(gzip.compress(bytes(size)))]
    assert (max(pieces), sum(pieces)) == (LARGEST_PIECE, size)


# refusals


@pytest.mark.parametrize(
    ("status", "header", "words"),
    [
        (407, "Proxy-Authenticate: Basic", "wants a user name and a password"),
        (403, "X-Squid-Error: ERR_ACCESS_DENIED 0", "refused the request with 403"),
        (403, "Server: tinyproxy/1.11.1", "refused the request with 403"),
        (502, "Proxy-Status: ours; error=dns_error", "refused the request with 502"),
    ],
)
def test_a_refusal_of_the_proxy_says_so(vendor: VendorServer, status: int, header: str, words: str) -> None:
    asked = asked_for(vendor, status, PAGE, header)
    assert asked.code == "unreachable"
    assert asked.error and asked.error.retryable == (status == 502)
    assert len(vendor.requests) == (3 if status == 502 else 1)
    assert detail_of(asked).startswith("The proxy ")
    assert words in detail_of(asked)


def test_a_proxy_that_only_says_who_it_is_refuses_nothing(vendor: VendorServer) -> None:
    asked = asked_for(vendor, 400, REFUSAL, "Proxy-Status: ours; received-status=400", "Via: 1.1 ours")
    assert detail_of(asked) == "The vendor answered 400: No such tide."


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the proxy for http and https, by its port."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def use(port: int, host: str = "127.0.0.1") -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://{host}:{port}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}:{port}")

    return use


def test_a_proxy_that_does_not_connect_us_says_so(vendor: VendorServer, proxy: Any) -> None:
    proxy(vendor.port)
    asked = ask(call("https://llm.invalid/v1", "ok"))  # to CONNECT the server answers 404
    assert (asked.code, len(vendor.requests)) == ("unreachable", 1)
    assert detail_of(asked).startswith("The proxy refused the request with 404")
    assert asked.error and not asked.error.retryable


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(proxy: Any, scheme: str) -> None:
    proxy(unused_port())
    assert detail_of(ask(call(f"{scheme}://llm.invalid/v1", "ok"))) == (
        "The proxy cannot be reached: Connection refused."
    )
    proxy(80, "proxy.invalid")
    assert detail_of(ask(call(f"{scheme}://llm.invalid/v1", "ok"))) == "The name of the proxy's host has no address."


# web pages


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PAGE, "text/html; charset=utf-8"),
        (PAGE, "application/xhtml+xml"),
        (PAGE, "text/plain"),
        (b"\n\n" + PAGE, "text/plain"),
        (b"\xef\xbb\xbf \r\n<HTML lang=en><p>Attention required</p>", "application/json"),
        (json.dumps({"error": {"message": PAGE.decode()}}).encode(), "application/json"),
        (json.dumps({"detail": "<html>\n<head>"}).encode(), "application/json"),
    ],
)
@pytest.mark.parametrize(("status", "code"), [(403, "unauthorized"), (404, "bad_request"), (502, "vendor_error")])
def test_a_web_page_as_an_error_is_called_one(
    vendor: VendorServer, body: bytes, kind: str, status: int, code: str
) -> None:
    asked = asked_for(vendor, status, body, f"Content-Type: {kind}")
    assert (asked.code, detail_of(asked)) == (code, f"The vendor answered {status}: {WEB_PAGE}")


def test_a_web_page_in_a_stream_is_called_one(vendor: VendorServer) -> None:
    event = b"data: " + json.dumps({"error": {"message": PAGE.decode(), "code": 502}}).encode() + b"\n\n"
    asked = asked_for(vendor, 200, event, "Content-Type: text/event-stream")
    assert (asked.code, detail_of(asked)) == ("vendor_error", f"The vendor answered 502: {WEB_PAGE}")


def test_a_web_page_behind_the_words_of_a_gateway(vendor: VendorServer) -> None:
    words = "Upstream failed:\n<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>"
    assert error_message({"error": {"message": words}}) == f"Upstream failed:\n{WEB_PAGE}"
    body = json.dumps({"error": {"message": words}}).encode()
    asked = asked_for(vendor, 400, body, "Content-Type: application/json")
    assert detail_of(asked) == f"The vendor answered 400: Upstream failed: {WEB_PAGE}"


@pytest.mark.parametrize("words", ["<think> is no tag", "Use <html> elsewhere", "<Error><Code>Denied</Code></Error>"])
def test_other_words_are_no_web_page(words: str) -> None:
    assert error_message({"error": words}) == words


def test_the_words_for_a_key_stay_where_there_is_no_page(vendor: VendorServer) -> None:
    assert "API key" in detail_of(asked_for(vendor, 403, REFUSAL, "Content-Type: application/json"))
