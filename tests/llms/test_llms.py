"""LLMs: kept by administrators, with a key that never leaves."""

from typing import Any

import pytest

from chats.models import Chat
from llms.models import LLM, LLMSettings
from llms.serializers import KEY_PLACEHOLDER
from tests.people import JSON_API, Person

KEY = "sk-canary-0123456789-abcd"


def body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "llms", "attributes": attributes}}


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [item["attributes"]["name"] for item in response.json()]


@pytest.fixture
def shelf(db: Any) -> None:
    for name, score in (("Local", 90), ("Cloud", 10), ("lab", 50)):
        LLM.objects.create(name=name, vendor="openai", privacy_score=score)


def test_only_name_and_vendor_are_required(alice: Person) -> None:
    created = alice.post("/llms", body(name="GPT", vendor="openai"))
    assert created.status_code == 201
    attributes = created.json()["attributes"]
    assert (attributes["active"], attributes["api_key"], attributes["has_api_key"]) == (True, "", False)
    assert (attributes["allowed_models"], attributes["privacy_score"]) == ([], 0)
    assert alice.get(f"/llms/{created.json()['id']}").json() == created.json()


def test_a_key_is_written_kept_and_cleared_but_never_read(alice: Person) -> None:
    created = alice.post("/llms", body(name="GPT", vendor="openai", api_key=KEY))
    assert created.json()["attributes"]["api_key"] == KEY_PLACEHOLDER
    path = f"/llms/{created.json()['id']}"

    def stored() -> str:
        return LLM.objects.get().api_key.reveal()

    assert stored() == KEY
    alice.patch(path, body(name="GPT 2"))
    assert stored() == KEY
    alice.patch(path, body(api_key=KEY_PLACEHOLDER))
    assert stored() == KEY
    for clearing in ("", None):
        alice.patch(path, body(api_key=KEY))
        cleared = alice.patch(path, body(api_key=clearing))
        assert stored() == "" and cleared.json()["attributes"]["has_api_key"] is False
    for response in (created, alice.get(path), alice.get("/llms", Accept=JSON_API)):
        assert b"canary" not in response.content


@pytest.mark.parametrize(
    ("attributes", "pointer", "code"),
    [
        ({"vendor": "nonsense"}, "vendor", "invalid_choice"),
        ({"vendor": 5}, "vendor", "invalid_choice"),
        ({"vendor": None}, "vendor", "null"),
        ({"name": "HOUSE MODEL"}, "name", "unique"),
        ({"privacy_score": 101}, "privacy_score", "max_value"),
        ({"privacy_score": -1}, "privacy_score", "min_value"),
        ({"privacy_score": "5"}, "privacy_score", "invalid"),
        ({"privacy_score": 5.0}, "privacy_score", "invalid"),
        ({"active": "yes"}, "active", "invalid"),
        ({"active": None}, "active", "null"),
        ({"api_endpoint": "ftp://x"}, "api_endpoint", "invalid"),
        ({"api_endpoint": "http://169.254.169.254/"}, "api_endpoint", "invalid"),
        ({"api_endpoint": "http://127.0.0.1:11434"}, "api_endpoint", "invalid"),
        ({"logo_url": "javascript:alert(1)"}, "logo_url", "invalid"),
        ({"allowed_models": "gpt"}, "allowed_models", "invalid"),
        ({"allowed_models": ["gpt", 5]}, "allowed_models", "invalid"),
        ({"allowed_models": {}}, "allowed_models", "invalid"),
        ({"allowed_models": ["x"] * 101}, "allowed_models", "invalid"),
        ({"api_key": 5}, "api_key", "invalid"),
        ({"api_key": "k\r\nX-Evil: y"}, "api_key", "invalid"),
        ({"api_key": "kéy"}, "api_key", "invalid"),
        ({"has_api_key": True}, "has_api_key", "read_only"),
        ({"api_key_end": "x"}, "api_key_end", "unknown_attribute"),
    ],
)
def test_bad_input(alice: Person, llm: LLM, attributes: dict[str, Any], pointer: str, code: str) -> None:
    response = alice.post("/llms", body(**{"name": "New", "vendor": "openai", **attributes}))
    assert response.status_code == 400, response.content
    errors = {(error["source"]["pointer"], error["code"]) for error in response.json()["errors"]}
    assert errors == {(f"/data/attributes/{pointer}", code)}
    assert LLM.objects.count() == 1


def test_null_clears(alice: Person) -> None:
    full = {
        "default_model": "a",
        "allowed_models": ["a"],
        "short_description": "b",
        "api_endpoint": "https://x.example/v1",
    }
    created = alice.post("/llms", body(name="GPT", vendor="openai", **full)).json()
    assert {name: created["attributes"][name] for name in full} == full
    cleared = alice.patch(f"/llms/{created['id']}", body(**dict.fromkeys(full))).json()["attributes"]
    assert [cleared[name] for name in full] == ["", [], "", ""]


def test_one_in_use_stays_and_says_where(alice: Person, chat: Chat) -> None:
    for path in (f"/llms/{chat.llm_id}", f"/llm-settings/{chat.llm_settings_id}"):
        response = alice.delete(path)
        assert response.status_code == 409
        assert "Help desk" in response.json()["errors"][0]["detail"]
    chat.delete()
    assert alice.delete(f"/llms/{chat.llm_id}").status_code == 204


def test_search_and_privacy_scores(alice: Person, shelf: None) -> None:
    assert names(alice.get("/llms")) == ["Cloud", "lab", "Local"]
    assert names(alice.get("/llms/search?name=L")) == ["lab", "Local"]
    assert names(alice.get("/llms/max-privacy-score?max_score=50")) == ["Cloud", "lab"]
    assert names(alice.get("/llms/min-privacy-score?min_score=50&sort=-privacy_score")) == ["Local", "lab"]
    assert names(alice.get("/llms/privacy-score-range?min_score=20&max_score=60")) == ["lab"]
    assert names(alice.get("/llms/privacy-score-range?min_score=50&max_score=50&page_size=1")) == ["lab"]
    assert names(alice.get("/llms/min-privacy-score?min_score=1000")) == []


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("max-privacy-score", "max_score"),
        ("max-privacy-score?max_score=x", "max_score"),
        ("max-privacy-score?max_score=1.5", "max_score"),
        ("max-privacy-score?max_score=", "max_score"),
        ("min-privacy-score?min_score=99999999999999999999", "min_score"),
        ("privacy-score-range?min_score=1", "max_score"),
        ("privacy-score-range?min_score=60&max_score=20", "min_score"),
        ("search", "name"),
        ("search?name=x&colour=red", "colour"),
    ],
)
def test_a_bad_look_up(alice: Person, path: str, parameter: str) -> None:
    response = alice.get(f"/llms/{path}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"] == {"parameter": parameter}


def test_vendors(alice: Person) -> None:
    vendors = alice.get("/vendors/llm-drivers").json()["data"]
    assert {"openai", "anthropic", "google_ai", "ollama", "demo"} == set(vendors)
    document = alice.get("/vendors/llm-drivers", Accept=JSON_API).json()
    assert [item["id"] for item in document["data"]] == vendors


def settings_body(**attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "llm-settings", "attributes": attributes}}


def test_zero_is_a_value_and_null_is_unset(alice: Person) -> None:
    zeros = {
        "temperature": 0,
        "top_p": 0,
        "top_k": 0,
        "repetition_penalty": 0,
        "min_length": 0,
        "max_length": 0,
        "seed": 0,
    }
    created = alice.post("/llm-settings", settings_body(**zeros)).json()
    assert {name: created["attributes"][name] for name in zeros} == zeros
    assert created["attributes"]["max_tokens"] is None
    changed = alice.patch(f"/llm-settings/{created['id']}", settings_body(temperature=None)).json()["attributes"]
    assert (changed["temperature"], changed["top_p"]) == (None, 0)


@pytest.mark.parametrize("seed", [2**63 - 1, -(2**63)])
def test_an_integer_has_64_bits(alice: Person, seed: int) -> None:
    created = alice.post("/llm-settings", settings_body(seed=seed))
    assert (created.status_code, created.json()["attributes"]["seed"]) == (201, seed)
    too_far = seed + (1 if seed > 0 else -1)
    assert alice.post("/llm-settings", settings_body(seed=too_far)).status_code == 400


def test_what_people_wrote_is_kept_byte_for_byte(alice: Person) -> None:
    attributes = {"stop_words": ["\n\n", " END "], "metadata": {"team": {"name": "R&D", "size": 3}}}
    created = alice.post("/llm-settings", settings_body(**attributes)).json()["attributes"]
    assert {name: created[name] for name in attributes} == attributes


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"temperature": 2.1}, "max_value"),
        ({"temperature": -0.1}, "min_value"),
        ({"temperature": "1"}, "invalid"),
        ({"temperature": True}, "invalid"),
        ({"top_p": 1.01}, "max_value"),
        ({"repetition_penalty": -1}, "min_value"),
        ({"max_tokens": 0}, "min_value"),
        ({"max_tokens": 2**31}, "max_value"),
        ({"top_k": -1}, "min_value"),
        ({"top_k": 1.5}, "invalid"),
        ({"min_length": -1}, "min_value"),
        ({"stop_words": "END"}, "invalid"),
        ({"stop_words": [""]}, "invalid"),
        ({"stop_words": [5]}, "invalid"),
        ({"metadata": []}, "invalid"),
        ({"metadata": "x"}, "invalid"),
        ({"system_prompt": 5}, "invalid"),
        ({"system_prompt": "x" * 100_001}, "max_length"),
    ],
)
def test_bad_settings(alice: Person, attributes: dict[str, Any], code: str) -> None:
    response = alice.post("/llm-settings", settings_body(**attributes))
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert (error["source"]["pointer"], error["code"]) == (f"/data/attributes/{next(iter(attributes))}", code)


def test_settings_are_found_by_their_model(alice: Person) -> None:
    for name in ("gpt-large", "GPT-small", "claude"):
        alice.post("/llm-settings", settings_body(model_name=name))
    found = alice.get("/llm-settings/search?model_name=gpt").json()
    assert [item["attributes"]["model_name"] for item in found] == ["gpt-large", "GPT-small"]


@pytest.mark.parametrize(
    "metadata", [{"bb": 1, "a": [2.5, -0.0, 1e16, {"y": 1, "x": None}]}, {"a": 2**63 - 1, "b": 9e18}]
)
def test_metadata_is_shown_as_it_is_kept(alice: Person, metadata: dict[str, Any]) -> None:
    """PostgreSQL keeps neither the order of members nor the form of numbers: the first answer has what there is."""
    made = alice.post("/llm-settings", settings_body(metadata=metadata))
    path = f"/llm-settings/{made.json()['id']}"
    read = alice.get(path)
    assert (made.content, made["ETag"]) == (read.content, read["ETag"])
    assert made.json()["attributes"]["metadata"] == metadata
    changed = alice.patch(path, settings_body(metadata={"z": metadata, "b": 0}), If_Match=made["ETag"])
    assert (changed.status_code, changed.content) == (200, alice.get(path).content)
    assert alice.get("/audit-events").status_code == 200


@pytest.mark.parametrize("number", ["1e20", "-1e300", "1e999", str(2**64)])
def test_a_number_that_no_database_keeps_is_refused(alice: Person, number: str) -> None:
    body = f'{{"data": {{"attributes": {{"metadata": {{"b": {number}}}}}}}}}'
    assert alice.post("/llm-settings", body.encode()).status_code == 400
    assert not LLMSettings.objects.exists()


# where the key goes

SERVER = {"vendor": "openai", "api_endpoint": "https://llm.example.com/v1"}


@pytest.fixture
def keyed(alice: Person) -> str:
    """The path of an LLM with a stored key."""
    return f"/llms/{alice.post('/llms', body(name='GPT', api_key=KEY, **SERVER)).json()['id']}"


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"api_endpoint": "http://llm.example.com/v1"},
        {"api_endpoint": "https://evil.example/v1"},
        {"api_endpoint": "https://llm.example.com.evil.example/v1"},
        {"api_endpoint": "https://llm.example.com:8443/v1"},
        {"api_endpoint": ""},
        {"api_endpoint": None},
        {"vendor": "anthropic"},
        {"vendor": "anthropic", "api_endpoint": "https://evil.example/v1", "name": "Another"},
    ],
)
def test_a_stored_key_goes_to_no_other_server(alice: Person, keyed: str, elsewhere: dict[str, Any]) -> None:
    before = alice.get(keyed).json()
    for kept in ({}, {"api_key": KEY_PLACEHOLDER}):
        refused = alice.patch(keyed, body(**elsewhere, **kept))
        assert refused.status_code == 400
        (error,) = refused.json()["errors"]
        assert (error["source"]["pointer"], error["code"]) == ("/data/attributes/api_key", "required")
    assert alice.get(keyed).json() == before

    assert alice.patch(keyed, body(**elsewhere, api_key=f"{KEY}-new")).status_code == 200
    assert LLM.objects.get().api_key.reveal() == f"{KEY}-new"


def test_without_its_key_an_llm_may_move(alice: Person, keyed: str) -> None:
    moved = alice.patch(keyed, body(api_endpoint="https://other.example/v1", api_key=None))
    assert moved.status_code == 200
    assert moved.json()["attributes"]["has_api_key"] is False
    assert alice.patch(keyed, body(api_endpoint="https://third.example/v1")).status_code == 200


@pytest.mark.parametrize(
    "same",
    ["https://llm.example.com/v2", "https://LLM.example.com:443/v1/", "https://llm.example.com"],
)
def test_on_the_same_server_the_key_stays(alice: Person, keyed: str, same: str) -> None:
    assert alice.patch(keyed, body(api_endpoint=same)).status_code == 200
    assert LLM.objects.get().api_key.reveal() == KEY


def test_the_vendors_own_server_is_the_same_with_and_without_its_address(alice: Person) -> None:
    created = alice.post("/llms", body(name="GPT", vendor="openai", api_key=KEY)).json()
    path = f"/llms/{created['id']}"
    assert alice.patch(path, body(api_endpoint="https://api.openai.com/v1")).status_code == 200
    assert alice.patch(path, body(api_endpoint="")).status_code == 200
    assert LLM.objects.get().api_key.reveal() == KEY
