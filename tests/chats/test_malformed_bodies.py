"""Whatever is sent, the answer is a clear 4xx, and nothing is stored."""

import json
from typing import Any

import pytest

from chats.models import Chat
from llms.models import LLM, LLMSettings
from tests.people import JSON, JSON_API, Person

DEEP = "[" * 50_000 + "]" * 50_000
ATTRIBUTES = '"llm_id": LLM, "llm_settings_id": SETTINGS'
RELATIONSHIPS = """
    "llm": {"data": {"type": "llms", "id": "LLM"}},
    "llm_settings": {"data": {"type": "llm-settings", "id": "SETTINGS"}}
"""


def flat(attributes: str) -> str:
    return '{"data": {"type": "chats", "attributes": {%s}}}' % attributes  # noqa: UP031


def document(attributes: str = '"name": "x"', relationships: str = RELATIONSHIPS) -> str:
    return '{"data": {"type": "chats", "attributes": {%s}, "relationships": {%s}}}' % (attributes, relationships)  # noqa: UP031


ANY_DIALECT = [
    b"",
    b" ",
    b"null",
    b"5",
    b"[]",
    b'"data"',
    b"{",
    b"{}",
    b"not json",
    b'{"data": null}',
    b'{"data": []}',
    b'{"data": "x"}',
    b'{"data": {"type": "chats", "attributes": []}}',
    b'{"data": {"type": "chats", "attributes": "x"}}',
    b'{"data": {"type": "chats", "attributes": null}}',
    b'\xef\xbb\xbf{"data": {}}',
    b'\xff\xfe{"data": {}}',
    b'{"data": {"type": "chats", "attributes": {"name": "\xe9"}}}',
    DEEP.encode(),
    b'{"data": ' + DEEP.encode() + b"}",
    b'{"data": {"attributes": {"name": NaN}}}',
    b'{"data": {"attributes": {"name": Infinity}}}',
    b'{"data": {"attributes": {"name": 1e999}}}',
    b'{"data": {"attributes": {"name": ' + b"9" * 5000 + b"}}}",
    b'{"data": {}, "data": {}}',
    b'{"data": {"type": "chats", "type": "chats", "attributes": {}}}',
]

FLAT = [
    (flat(f'"name": "x", "name": "y", {ATTRIBUTES}'), "malformed"),
    (flat(f'"name": "a\\u0000b", {ATTRIBUTES}'), "malformed"),
    (flat(f'"name": "\\ud800", {ATTRIBUTES}'), "malformed"),
    (flat(f'"name": "x", "\\ud800": 1, {ATTRIBUTES}'), "malformed"),
    (flat(f'"name": 5, {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": true, {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": ["x"], {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": {{}}, {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": null, {ATTRIBUTES}'), "null"),
    (flat(f'"name": "", {ATTRIBUTES}'), "blank"),
    (flat(f'"name": "   ", {ATTRIBUTES}'), "blank"),
    (flat(f'"name": "{"x" * 201}", {ATTRIBUTES}'), "max_length"),
    (flat(ATTRIBUTES), "required"),
    (flat('"name": "x", "llm_settings_id": SETTINGS'), "required"),
    (flat('"name": "x", "llm_id": null, "llm_settings_id": SETTINGS'), "null"),
    (flat('"name": "x", "llm_id": "LLM", "llm_settings_id": SETTINGS'), "invalid"),
    (flat('"name": "x", "llm_id": 1.5, "llm_settings_id": SETTINGS'), "invalid"),
    (flat('"name": "x", "llm_id": 1.0, "llm_settings_id": SETTINGS'), "invalid"),
    (flat('"name": "x", "llm_id": true, "llm_settings_id": SETTINGS'), "invalid"),
    (flat('"name": "x", "llm_id": [LLM], "llm_settings_id": SETTINGS'), "invalid"),
    (flat('"name": "x", "llm_id": {"type": "llms", "id": "LLM"}, "llm_settings_id": SETTINGS'), "invalid"),
    (flat('"name": "x", "llm_id": 0, "llm_settings_id": SETTINGS'), "does_not_exist"),
    (flat('"name": "x", "llm_id": -1, "llm_settings_id": SETTINGS'), "does_not_exist"),
    (flat('"name": "x", "llm_id": 987, "llm_settings_id": SETTINGS'), "does_not_exist"),
    (flat('"name": "x", "llm_id": 9223372036854775807, "llm_settings_id": SETTINGS'), "does_not_exist"),
    (flat('"name": "x", "llm_id": 9223372036854775808, "llm_settings_id": SETTINGS'), "malformed"),
    (flat(f'"name": "x", "group_ids": 1, {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": "x", "group_ids": null, {ATTRIBUTES}'), "null"),
    (flat(f'"name": "x", "group_ids": {{}}, {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": "x", "group_ids": ["1"], {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": "x", "group_ids": [null], {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": "x", "group_ids": [[]], {ATTRIBUTES}'), "invalid"),
    (flat(f'"name": "x", "group_ids": [987], {ATTRIBUTES}'), "does_not_exist"),
    (flat(f'"name": "x", "group_ids": {list(range(1, 1500))}, {ATTRIBUTES}'), "max_length"),
    (flat(f'"name": "x", "colour": "red", {ATTRIBUTES}'), "unknown_attribute"),
    (flat(f'"name": "x", "llm": 1, {ATTRIBUTES}'), "unknown_attribute"),
    (flat(f'"name": "x", "groups": [], {ATTRIBUTES}'), "unknown_attribute"),
    (flat(f'"name": "x", "id": 5, {ATTRIBUTES}'), "unknown_attribute"),
    (flat(f'"name": "x", "created_at": "2020-01-01T00:00:00Z", {ATTRIBUTES}'), "read_only"),
    (flat(f'"name": "x", {ATTRIBUTES}').replace('"chats"', '"users"'), "invalid"),
    (flat(f'"name": "x", {ATTRIBUTES}').replace('"chats"', "5"), "invalid"),
    (flat(f'"name": "x", {ATTRIBUTES}').replace('"chats"', '"chats", "id": "5"'), "read_only"),
    (flat(f'"name": "x", {ATTRIBUTES}').replace('"chats"', '"chats", "colour": "red"'), "unknown_attribute"),
    (flat(f'"name": "x", {ATTRIBUTES}')[:-1] + ', "meta": {}}', "unknown_attribute"),
    (document(), "unknown_attribute"),
]

ONE = '{"data": {"type": "llms", "id": "LLM"}}'
DOCUMENTS = [
    (flat(f'"name": "x", {ATTRIBUTES}'), 400, "unknown_attribute"),
    (document('"name": "x", "llm": 1'), 400, "unknown_attribute"),
    (document().replace('"chats"', '"users"'), 409, "conflict"),
    (document().replace('"chats"', "5"), 409, "conflict"),
    (document().replace('"type": "chats", ', ""), 400, "required"),
    (document().replace('"chats"', '"chats", "id": "5"'), 403, "permission_denied"),
    (document(relationships=""), 400, "required"),
    (document().replace(f'"relationships": {{{RELATIONSHIPS}}}', '"relationships": []'), 400, "invalid"),
    (document(relationships=RELATIONSHIPS + ', "owner": {"data": null}'), 400, "unknown_attribute"),
    (document().replace(ONE, "null"), 400, "invalid"),
    (document().replace(ONE, '"x"'), 400, "invalid"),
    (document().replace(ONE, "[]"), 400, "invalid"),
    (document().replace(ONE, "{}"), 400, "invalid"),
    (document().replace(ONE, '{"data": 5}'), 400, "invalid"),
    (document().replace(ONE, '{"data": null}'), 400, "null"),
    (document().replace(ONE, '{"data": {"type": "llms"}}'), 400, "invalid"),
    (document().replace(ONE, '{"data": {"id": "LLM"}}'), 400, "invalid"),
    (document().replace(ONE, '{"data": [{"type": "llms", "id": "LLM"}]}'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": LLM'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": "x"'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": "1.5"'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": "\\u0661"'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": null'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": {}'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": 1e999'), 400, "malformed"),
    (document().replace('"id": "LLM"', '"id": "99999999999999999999"'), 400, "invalid"),
    (document().replace('"id": "LLM"', '"id": "987"'), 400, "does_not_exist"),
    (document().replace('"type": "llms"', '"type": "groups"'), 409, "conflict"),
    (document().replace('"type": "llms"', '"type": []'), 409, "conflict"),
    (document(relationships=RELATIONSHIPS + ', "groups": {"data": null}'), 400, "null"),
    (document(relationships=RELATIONSHIPS + ', "groups": {"data": {"type": "groups", "id": "1"}}'), 400, "invalid"),
    (document(relationships=RELATIONSHIPS + ', "groups": {"data": [5]}'), 400, "invalid"),
]


def check(response: Any, status: int, code: str | None = None) -> None:
    assert response.status_code == status, response.content
    errors = response.json()["errors"]
    assert all(error["title"] and error["detail"] and error["status"] == str(status) for error in errors)
    if code:
        assert code in {error["code"] for error in errors}, errors
    assert not Chat.objects.exists()


@pytest.mark.parametrize("media_type", [JSON, JSON_API])
@pytest.mark.parametrize("body", ANY_DIALECT, ids=range(len(ANY_DIALECT)))
def test_what_is_no_resource(alice: Person, body: bytes, media_type: str) -> None:
    check(alice.post("/chats", body, media_type), 400)


@pytest.mark.parametrize(("body", "code"), FLAT, ids=range(len(FLAT)))
def test_a_flat_body(alice: Person, llm: LLM, call_settings: LLMSettings, body: str, code: str) -> None:
    body = body.replace("LLM", str(llm.pk)).replace("SETTINGS", str(call_settings.pk))
    check(alice.post("/chats", body), 400, code)


@pytest.mark.parametrize(("body", "status", "code"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_document(alice: Person, llm: LLM, call_settings: LLMSettings, body: str, status: int, code: str) -> None:
    body = body.replace("LLM", str(llm.pk)).replace("SETTINGS", str(call_settings.pk))
    check(alice.post("/chats", body, JSON_API), status, code)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "",
        "multipart/form-data; boundary=x",
        f'{JSON_API}; ext="https://x.example"',
        f"{JSON_API}; charset=utf-8",
    ],
)
def test_another_media_type(alice: Person, content_type: str) -> None:
    check(alice.post("/chats", b"{}", content_type), 415, "unsupported_media_type")


def test_a_content_encoding(alice: Person) -> None:
    check(alice.post("/chats", b"{}", JSON, Content_Encoding="gzip"), 415, "unsupported_media_type")
    check(alice.post("/chats", b"{}", JSON, Content_Encoding="identity"), 400, "required")


@pytest.mark.parametrize("accept", ["text/html", "image/*", f'{JSON_API}; ext="https://x.example"', f"{JSON};q=0"])
def test_an_answer_in_another_media_type(alice: Person, accept: str) -> None:
    check(alice.get("/chats", Accept=accept), 406, "not_acceptable")


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "zlib", "undefined", "utf-16"])
def test_a_charset_changes_nothing(alice: Person, charset: str) -> None:
    """JSON is UTF-8 (RFC 8259)."""
    check(alice.post("/chats", '{"data": {"attributes": {"näme": 1}}}'.encode(), f"{JSON}; charset={charset}"), 400)


def test_a_body_of_many_members_is_refused_at_once(alice: Person) -> None:
    many = {f"k{number}": 1 for number in range(50_000)}
    response = alice.post("/chats", {"data": {"attributes": many}})
    check(response, 400, "malformed")
    few = {f"k{number}": 1 for number in range(900)}
    response = alice.post("/chats", {"data": {"attributes": few}})
    check(response, 400, "unknown_attribute")
    assert len(response.content) < 10_000


def test_all_ids_that_are_wrong_are_named(alice: Person, llm: LLM, call_settings: LLMSettings) -> None:
    attributes = {"name": "x", "llm_id": llm.pk, "llm_settings_id": call_settings.pk, "group_ids": ["2", None, 99]}
    response = alice.post("/chats", {"data": {"attributes": attributes}})
    codes = sorted(error["code"] for error in response.json()["errors"])
    assert codes == ["does_not_exist", "invalid", "invalid"]


def test_a_large_body(alice: Person) -> None:
    check(alice.post("/chats", json.dumps({"data": "x" * 2**20})), 413, "payload_too_large")


def test_names_at_their_longest(alice: Person, llm: LLM, call_settings: LLMSettings) -> None:
    name = "ΐ" * 200  # three characters each when folded
    attributes = {"name": name, "llm_id": llm.pk, "llm_settings_id": call_settings.pk}
    created = alice.post("/chats", {"data": {"attributes": attributes}})
    assert created.json()["attributes"]["name"] == name
