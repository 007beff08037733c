"""The check of an LLM: through the API, the command and the admin, it says what is wrong and what to do."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from core.database.encryption import EncryptedStr
from llms.models import LLM, LLMSettings
from tests.people import JSON_API, Person
from tests.registered_llms import KEY, VENDORS, WRONG_KEY, Make
from tests.vendor_server import VendorServer, unused_port
from usage import checks, sync_client

STEPS = ("settings", "endpoint", "key", "model", "answer")


def checked(alice: Person, llm: LLM, query: str = "") -> dict[str, Any]:
    answer = alice.post(f"/llms/{llm.pk}/check{query}")
    assert answer.status_code == 200, answer.content
    resource = answer.json()
    assert (resource["type"], resource["id"]) == ("llm-checks", str(llm.pk))
    found: dict[str, Any] = resource["attributes"]
    assert [step["name"] for step in found["steps"]] == list(STEPS)
    assert found["ok"] == (found["code"] == "ok") == (not found["advice"])
    return found


def failing(found: dict[str, Any]) -> list[str]:
    return [step["name"] for step in found["steps"] if step["passed"] is False]


# it answers


@pytest.mark.parametrize("kind", VENDORS)
def test_an_llm_that_answers(alice: Person, make: Make, vendor: VendorServer, kind: str) -> None:
    found = checked(alice, make(kind=kind))
    assert found["ok"] and not failing(found)
    assert all(step["passed"] and step["detail"] for step in found["steps"])
    assert (found["model"], found["input_tokens"], found["output_tokens"]) == ("ok", 2, 9)
    assert 0 <= found["first_token_ms"] <= found["duration_ms"]
    assert f"after {found['first_token_ms']} ms" in found["detail"]
    assert len(vendor.requests) == 1
    assert "32" in str(vendor.requests[0].body)


def test_the_demo_answers_and_jsonapi_is_spoken(alice: Person, llm: LLM) -> None:
    data = alice.post(f"/llms/{llm.pk}/check", Accept=JSON_API).json()["data"]
    assert (data["type"], data["id"], data["attributes"]["ok"]) == ("llm-checks", str(llm.pk), True)


def test_a_vendor_that_does_not_keep_to_the_limit_is_left(alice: Person, make: Make, vendor: VendorServer) -> None:
    assert checked(alice, make("count:100000"))["ok"]
    vendor.wait_until(lambda: bool(vendor.cut_at))


def test_it_is_asked_with_the_settings_and_the_model_that_are_given(
    alice: Person, make: Make, vendor: VendorServer
) -> None:
    own = LLMSettings.objects.create(model_name="small", max_tokens=7, temperature=0, min_length=50)
    found = checked(alice, make(), f"?llm_settings={own.pk}&model=count")
    assert found["model"] == vendor.requests[0].model == "count"
    body = vendor.requests[0].body
    assert (body["max_tokens"], body["temperature"], "min_tokens" in body) == (7, 0, False)


@pytest.mark.parametrize(("query", "parameter"), [("model=%00", "model"), ("llm_settings=7", "llm_settings")])
def test_what_cannot_be_asked_with(alice: Person, llm: LLM, query: str, parameter: str) -> None:
    answer = alice.post(f"/llms/{llm.pk}/check?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["source"]) == (400, {"parameter": parameter})


# what is wrong, and what to do


@pytest.mark.parametrize("kind", VENDORS)
def test_a_model_that_is_not_known(alice: Person, make: Make, kind: str) -> None:
    found = checked(alice, make("smal", kind=kind))
    assert (found["code"], failing(found), found["models"]) == ("model_not_found", ["model"], ["small", "large", "ok"])
    assert "small, large, ok" in found["advice"]


@pytest.mark.parametrize("kind", VENDORS)
def test_a_key_that_is_refused(alice: Person, make: Make, kind: str) -> None:
    found = checked(alice, make(kind=kind, key=WRONG_KEY))
    assert (found["code"], failing(found)) == ("unauthorized", ["key"])
    assert "Enter the key anew" in found["advice"]


@pytest.mark.parametrize("pasted", ["", "/v1/v1", "/chat/completions", "/api"])
def test_a_wrong_path_is_put_right(alice: Person, make: Make, vendor: VendorServer, pasted: str) -> None:
    vendor.paths = {"/nowhere"} if pasted == "/api" else {"/v1/chat/completions", "/v1/models"}
    found = checked(alice, make(api_endpoint=vendor.root + pasted))
    assert (found["code"], failing(found)) == ("wrong_path", ["endpoint"])
    if pasted != "/api":
        assert f"answers at {vendor.url}:" in found["advice"]
    else:  # there is nowhere that it answers
        assert "https://host/v1" in found["advice"]


@pytest.mark.parametrize(
    ("kind", "pasted"),
    [
        ("openai", "/v1/chat/completions"),
        ("openai", "/v1/models/"),
        ("anthropic", "/v1/messages"),
        ("google_ai", "/v1beta/models/ok:generateContent"),
        ("ollama", "/api/chat"),
    ],
)
def test_an_endpoint_with_the_path_of_a_request_is_understood(
    alice: Person, make: Make, vendor: VendorServer, kind: str, pasted: str
) -> None:
    llm = make(kind=kind, api_endpoint=vendor.root + pasted)
    assert checked(alice, llm)["ok"]
    assert alice.get(f"/llms/{llm.pk}/models").status_code == 200


@pytest.mark.parametrize(
    ("model", "code", "step", "advice"),
    [
        ("web-page", "invalid_response", "endpoint", "See that the vendor"),
        ("redirect", "redirected", "endpoint", "has moved to"),
        ("not-http", "invalid_response", "endpoint", "See that the vendor"),
        ("hang-up", "unreachable", "endpoint", "HTTPS_PROXY"),
        ("429:60", "rate_limited", "answer", "credit"),
        ("503", "vendor_error", "answer", "Try again"),
        ("400", "bad_request", "answer", "own words"),
        ("error-in-stream", "vendor_error", "answer", "Try again"),
        ("close", "incomplete", "answer", "Try again"),
        ("filtered", "incomplete", "answer", "filter of the vendor"),
        ("answers:400", "bad_request", "answer", "needs https"),
        ("answers:403", "unauthorized", "key", "another server may have answered"),
        ("answers:400:Unsupported parameter: 'temperature' with this model", "bad_request", "answer", "own words"),
        ("answers:400:Invalid model: it", "model_not_found", "model", "large, ok, small"),
        ("answers:400:The model `it` does not exist", "model_not_found", "model", "large, ok, small"),
    ],
)
def test_other_failures(
    alice: Person, make: Make, vendor: VendorServer, model: str, code: str, step: str, advice: str
) -> None:
    found = checked(alice, make(model))
    assert (found["code"], failing(found)) == (code, [step])
    assert advice in found["advice"]
    assert vendor.models.count(model) == 1  # it is asked once


def test_an_address_that_is_refused(alice: Person, make: Make, settings: Any) -> None:
    llm = make()
    settings.PRIVATE_NETWORKS = False
    found = checked(alice, llm)
    assert (found["code"], failing(found)) == ("refused_address", ["endpoint"])
    assert "PRIVATE_NETWORKS=1" in found["advice"]
    llm.api_endpoint = "http://169.254.169.254/v1"
    llm.save()
    assert checked(alice, llm)["advice"] == "Correct the endpoint."


def test_nobody_is_there(alice: Person, make: Make) -> None:
    found = checked(alice, make(api_endpoint=f"http://127.0.0.1:{unused_port()}/v1"))
    assert (found["code"], failing(found)) == ("unreachable", ["endpoint"])
    assert "Connection refused" in found["detail"]


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[int]:
    """The port of a server whose certificate nobody has signed but itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form) + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=shake_hands, args=(listening, context), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(5)


def shake_hands(listening: Any, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    with connection:
        try:
            context.wrap_socket(connection, server_side=True)
        except OSError:
            return


def test_a_certificate_that_is_not_valid(alice: Person, make: Make, untrusted: int) -> None:
    found = checked(alice, make(api_endpoint=f"https://127.0.0.1:{untrusted}/v1"))
    assert (found["code"], failing(found)) == ("untrusted", ["endpoint"])
    assert "SSL_CERT_FILE" in found["advice"]


@pytest.mark.parametrize(
    ("kind", "listed", "model"),
    [("google_ai", "answers:404:no", "models/answers:404:no"), ("ollama", "404:latest", "404")],
)
def test_a_model_that_is_listed_by_another_name(
    alice: Person, make: Make, vendor: VendorServer, kind: str, listed: str, model: str
) -> None:
    vendor.offers.append(listed)
    found = checked(alice, make(model, kind=kind))
    assert (found["code"], "The vendor lists the model" in found["advice"]) == ("bad_request", True)


@pytest.mark.parametrize("model", ["hang", "stall"])
def test_a_vendor_that_never_answers(alice: Person, make: Make, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setattr(checks, "SECONDS", 0.3)
    found = checked(alice, make(model))
    assert (found["code"], failing(found)) == ("slow", ["answer"])
    assert "LLM_FIRST_TOKEN_TIMEOUT" in found["advice"]
    assert 300 <= found["duration_ms"] < 30_000


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"active": False}, "inactive", "Make it active"),
        ({"allowed_models": ["small", "large"]}, "model_not_allowed", "allow ok"),
        ({"model": ""}, "no_model", "the vendor lists large, ok, small"),
        ({"key": ""}, "ok", ""),
    ],
)
def test_what_is_wrong_with_us(alice: Person, make: Make, fields: dict[str, Any], code: str, words: str) -> None:
    found = checked(alice, make(**fields))
    assert (found["code"], failing(found)) == (code, [] if code == "ok" else ["settings"])
    assert words in found["advice"]


def test_a_key_that_cannot_be_read(alice: Person, make: Make, vendor: VendorServer) -> None:
    llm = make()
    LLM.objects.update(api_key=EncryptedStr(Fernet(Fernet.generate_key()).encrypt(KEY.encode()).decode()))
    found = checked(alice, llm)
    assert (found["code"], failing(found)) == ("unreadable_key", ["settings"])
    assert "FIELD_KEYS" in found["detail"]
    assert not vendor.requests
    models = alice.get(f"/llms/{llm.pk}/models")
    assert (models.status_code, models.json()["errors"][0]["code"]) == (424, "vendor_failed")


def test_not_too_many_at_once(alice: Person, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds one of the few threads that answer everyone."""
    monkeypatch.setattr(sync_client, "AT_ONCE", threading.BoundedSemaphore(1))
    with sync_client.AT_ONCE:
        answer = alice.post(f"/llms/{llm.pk}/check")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


# the command


def test_the_command_says_the_same(make: Make, vendor: VendorServer) -> None:
    llm, said = make(), StringIO()
    call_command("check_llm", "HOUSE model", stdout=said)
    assert [line.split()[:2] for line in said.getvalue().splitlines()[1:6]] == [[step, "ok"] for step in STEPS]
    with pytest.raises(CommandError, match="small, large, ok"):
        call_command("check_llm", str(llm.pk), "--model", "smal", stdout=said)
    assert "model     FAILED" in said.getvalue()
    assert "canary" not in said.getvalue()
    with pytest.raises(CommandError, match="There are: House model"):
        call_command("check_llm", "Hose model", stdout=said)
    with pytest.raises(CommandError, match="no LLM settings"):
        call_command("check_llm", "House model", "--settings-id", "7", stdout=said)


# the admin


def test_the_button_says_the_same(alice: Person, make: Make) -> None:
    browser = Client()
    browser.force_login(alice.user)
    llm = make()
    page = reverse("admin:llms_llm_change", args=[llm.pk])
    button = reverse("admin:llms_llm_check_answers", args=[llm.pk])
    assert f'hx-get="{button}"' in browser.get(page).content.decode()
    assert "Check this LLM?" in browser.get(button).content.decode()
    for model, word in (("", "ok answers."), ("smal", "small, large, ok")):
        answer = browser.post(button, {"_form_submitted": "on", "model": model})
        assert answer["HX-Redirect"] == page
        shown = browser.get(page).content.decode()
        assert word in shown
        assert "✓ endpoint: 127.0.0.1 answers." in shown
