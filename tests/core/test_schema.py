"""The description is true to the contract it started from, and complete."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client

from core.rest.schema_view import SchemaView

CONTRACT = yaml.safe_load((Path(__file__).parents[1] / "contract" / "create-chat.yaml").read_text())


@pytest.fixture(scope="module")
def schema(django_db_setup: None, django_db_blocker: Any) -> dict[str, Any]:
    """Made once: that takes a second."""
    with django_db_blocker.unblock():
        return Client().get("/api/v1/schema", headers={"Accept": "application/json"}).json()


def resolved(node: Any, document: dict[str, Any]) -> Any:
    """The node with each reference replaced by what it refers to."""
    if isinstance(node, list):
        return [resolved(item, document) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return resolved(target, document)
    return {key: resolved(value, document) for key, value in node.items()}


def nodes(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each object in a document, with the way to it."""
    if isinstance(node, dict):
        yield path, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from nodes(value, (*path, str(key)))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((path, operation) for method, operation in methods.items() if method != "parameters")


def test_create_chat_is_described_as_the_contract_has_it(schema: dict[str, Any]) -> None:
    expected = resolved(CONTRACT["paths"]["/chats"]["post"], CONTRACT)
    ours = resolved(schema["paths"]["/chats"]["post"], schema)

    del ours["operationId"]
    ours["responses"] = {status: ours["responses"][status] for status in expected["responses"]}
    for part in (ours["requestBody"], *ours["responses"].values()):
        del part["content"]["application/vnd.api+json"]

    assert ours == expected


def test_the_security_scheme_is_the_contracts(schema: dict[str, Any]) -> None:
    assert schema["components"]["securitySchemes"] == CONTRACT["components"]["securitySchemes"]


def test_every_operation_describes_both_media_types(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            for status, response in operation["responses"].items():
                described = set(response.get("content", {})) - {"text/event-stream"}
                if status in ("202", "204", "304") or "text/event-stream" in response.get("content", {}):
                    continue
                assert described == {"application/json", "application/vnd.api+json"}, (
                    path,
                    method,
                )


def test_every_schema_has_a_type(schema: dict[str, Any]) -> None:
    """Generators have no name for a choice of schemas, and no type for an empty one."""
    for path, node in nodes(schema):
        assert not node.keys() & {"oneOf", "anyOf", "allOf"}, path
        if path[-2:-1] == ("properties",) or path[-1:] in (("schema",), ("items",)):
            assert "$ref" in node or "type" in node, path
        if node.get("type") in ("object", ["object", "null"]):
            assert "properties" in node or "additionalProperties" in node, path


def test_every_component_is_used(schema: dict[str, Any]) -> None:
    used = {node["$ref"].rpartition("/")[2] for _, node in nodes(schema) if "$ref" in node}
    assert used == set(schema["components"]["schemas"])


def test_every_tag_is_declared_and_used(schema: dict[str, Any]) -> None:
    declared = {tag["name"]: tag["description"] for tag in schema["tags"]}
    assert declared.keys() == {tag for _, operation in operations(schema) for tag in operation["tags"]}
    assert all(declared.values())


def test_every_operation_says_whether_it_needs_a_token(schema: dict[str, Any], db: Any) -> None:
    without = {path for path, operation in operations(schema) if operation["security"] == []}
    assert without == {"/auth/login", "/auth/logout"}
    assert all(operation["security"] in ([], [{"BearerAuth": []}]) for _, operation in operations(schema))
    assert Client().get("/api/v1/auth/login").status_code == 204


def test_the_license_is_the_contracts(schema: dict[str, Any]) -> None:
    assert schema["info"]["license"] == {"name": CONTRACT["info"]["license"]["name"], "identifier": "Apache-2.0"}


def test_lists_and_objects_are_described_as_such(schema: dict[str, Any]) -> None:
    settings = schema["components"]["schemas"]["LLMSettingsInput"]["properties"]["data"]["properties"]["attributes"]
    words, metadata = (settings["properties"][name] for name in ("stop_words", "metadata"))
    assert (words["type"], words["items"]["type"]) == (["array", "null"], "string")
    assert (metadata["type"], metadata["additionalProperties"]) == (["object", "null"], True)


def test_the_limits_and_the_error_codes_are_described(schema: dict[str, Any]) -> None:
    description = schema["info"]["description"]
    assert "1 MiB" in description
    assert "`unknown_attribute`" in description


def test_the_interactive_docs_load_nothing_from_elsewhere(db: Any) -> None:
    page = Client().get("/api/v1/docs").content.decode()
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page
    assert "https://" not in page


def test_it_is_written_once_for_each_media_type(monkeypatch: pytest.MonkeyPatch, db: Any) -> None:
    """Whoever asks for it in ever new ways, without signing in, neither fills the memory nor keeps the server busy."""

    def asked(accept: str, query: str) -> Any:
        response = Client().get(f"/api/v1/schema{query}", headers={"Accept": accept})
        assert response.status_code == 200
        return response

    accepts = ["application/json", "application/yaml", "*/*"]
    first = [asked(accept, "") for accept in accepts]
    monkeypatch.setattr(SchemaView, "generator_class", None)
    again = [asked(f"{accept}; q=0.{n}", f"?version={n}") for n, accept in enumerate(accepts, start=1)]
    assert [each.content for each in again] == [each.content for each in first]
    assert [each["Content-Type"] for each in again] == [each["Content-Type"] for each in first]
    assert first[0].json()["openapi"]
