"""The requests that the benchmark sends."""

import json
from typing import NamedTuple

JSON_API = "application/vnd.api+json"
NEW_NAME = "Made by the benchmark"


class Place(NamedTuple):
    """A filled database: the tokens of an administrator and of bob, a member, and ids of what is there."""

    admin: str
    member: str
    chat: int
    visible: int  # a chat that bob may see
    llm: int
    settings: int
    group: int


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


def requests_of(place: Place) -> dict[str, Request]:
    """Each kind of request, by name."""
    administrator = {"Authorization": f"Bearer {place.admin}"}
    member = {"Authorization": f"Bearer {place.member}"}
    compound = {**administrator, "Accept": JSON_API}
    chats, pages = "/api/v1/chats", "page[number]=1&page[size]=50"
    return {
        "read": Request("GET", f"{chats}/{place.chat}", administrator),
        "read, bare": Request("GET", f"/bare/chats/{place.chat}", administrator),
        "read, member": Request("GET", f"{chats}/{place.visible}", member),
        "list 50": Request("GET", f"{chats}?page_size=50", administrator),
        "list 50, bare": Request("GET", "/bare/chats?page_size=50", administrator),
        "list 50, JSON:API": Request("GET", f"{chats}?{pages}", compound),
        "list 50, include": Request("GET", f"{chats}?{pages}&include=llm,llm_settings,groups", compound),
        "list 60": Request("GET", f"{chats}?page_size=60", administrator),
        "list 50, member": Request("GET", f"{chats}?page_size=50", member),
        "create": Request("POST", chats, {**administrator, "Content-Type": "application/json"}, new_chat(place)),
    }


def new_chat(place: Place) -> bytes:
    attributes = {
        "name": NEW_NAME,
        "description": "A chat that a program made.",
        "llm_id": place.llm,
        "llm_settings_id": place.settings,
        "group_ids": [place.group],
    }
    return json.dumps({"data": {"type": "chats", "attributes": attributes}}).encode()
