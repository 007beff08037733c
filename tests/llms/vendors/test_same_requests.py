"""For the same conversation we send the same bytes as the vendors' own clients.

The conversation has a system prompt, two images, thinking, a turn of parallel tool calls, and their results.
"""

import base64
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from llms.vendors.types import (
    ChatMessage,
    ImagePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    text_message,
)
from tests.llms.vendors.asking import ask, call
from tests.llms.vendors.test_official_clients import client_of
from tests.vendor_server import VendorServer

PNG, JPEG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"\xff\xd8\xff\xe0" + bytes(range(255, -1, -1))
PNG64, JPEG64 = base64.b64encode(PNG).decode(), base64.b64encode(JPEG).decode()
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"
SYSTEM, QUESTION, REMARK = "Be brief, please: ü 👋🏽", "Which of these\n\tis in Zürich?", "I look it up."
SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
TOOLS = (("get_weather", "The weather in a city", SCHEMA), ("get_map", "A map of a city", SCHEMA))
CALLS = (("c_1", "get_weather", {"city": "Zürich"}), ("c_2", "get_map", {"city": "Genève"}))
RESULTS = (("c_1", "get_weather", "20 °C"), ("c_2", "get_map", 'No "map"'))


def conversation(*, signature: str = "", call_signature: str = "") -> tuple[ChatMessage, ...]:
    """The conversation as we have it, with what only some vendors give: signatures."""
    calls = [ToolCallPart(*given) for given in CALLS]
    calls[0] = replace(calls[0], signature=call_signature)
    results = [ToolResultPart(*given) for given in RESULTS]
    results[1] = replace(results[1], is_error=True)
    return (
        text_message("system", SYSTEM),
        ChatMessage("user", (TextPart(QUESTION), ImagePart("image/png", PNG), ImagePart("image/jpeg", JPEG))),
        ChatMessage("assistant", (ThinkingPart("I need both.", signature), TextPart(REMARK), *calls)),
        ChatMessage("user", tuple(results)),
    )


def send_ours(vendor: VendorServer, name: str, endpoint: str, turns: Any, **options: Any) -> bytes:
    tools = tuple(ToolDefinition(*tool) for tool in TOOLS)
    asked = ask(call(endpoint, "ok", turns=turns, tools=tools, options=options), vendor=name)
    assert asked.error is None
    return vendor.requests[-1].raw


def drain(stream: Any) -> None:
    for _ in stream:
        pass


def test_openai(vendor: VendorServer) -> None:
    """Thinking has no place in this format: neither sends it."""
    functions = [{"name": name, "description": text, "parameters": schema} for name, text, schema in TOOLS]
    arguments = ['{"city":"Zürich"}', '{"city":"Genève"}']
    calls = [
        {"id": identity, "type": "function", "function": {"name": name, "arguments": text}}
        for (identity, name, _), text in zip(CALLS, arguments, strict=True)
    ]
    urls = [f"data:image/png;base64,{PNG64}", f"data:image/jpeg;base64,{JPEG64}"]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    with closing(client_of("openai", vendor)) as client:
        stream = client.chat.completions.create(
            model="ok",
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": [{"type": "text", "text": QUESTION}, *images]},
                {"role": "assistant", "content": REMARK, "tool_calls": calls},
                *({"role": "tool", "tool_call_id": identity, "content": text} for identity, _, text in RESULTS),
            ],
            tools=[{"type": "function", "function": function} for function in functions],
            temperature=0.5,
            max_tokens=100,
            stop=["END"],
            stream=True,
            stream_options={"include_usage": True},
        )
        drain(stream)
    theirs = vendor.requests[-1].raw
    ours = send_ours(vendor, "openai", vendor.url, conversation(), temperature=0.5, max_tokens=100, stop_words=["END"])
    assert ours == theirs


def test_anthropic(vendor: VendorServer) -> None:
    images = [
        {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
        for kind, data in (("image/png", PNG64), ("image/jpeg", JPEG64))
    ]
    calls = [{"type": "tool_use", "id": identity, "name": name, "input": given} for identity, name, given in CALLS]
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": identity, "content": text} for identity, _, text in RESULTS
    ]
    results[1]["is_error"] = True
    thinking = {"type": "thinking", "thinking": "I need both.", "signature": SIGNATURE}
    with closing(client_of("anthropic", vendor)) as client:
        stream = client.messages.create(
            model="ok",
            max_tokens=100,
            system=SYSTEM,
            messages=[
                {"role": "user", "content": [{"type": "text", "text": QUESTION}, *images]},
                {"role": "assistant", "content": [thinking, {"type": "text", "text": REMARK}, *calls]},
                {"role": "user", "content": results},
            ],
            tools=[{"name": name, "description": text, "input_schema": schema} for name, text, schema in TOOLS],
            stream=True,
        )
        drain(stream)
    theirs = vendor.requests[-1].raw
    ours = send_ours(vendor, "anthropic", vendor.root, conversation(signature=SIGNATURE), max_tokens=100)
    assert ours == theirs


@pytest.mark.parametrize("image", [None, "image/png"])
def test_google_ai(vendor: VendorServer, image: str | None) -> None:
    types = import_module("google.genai.types")
    pictures = ((PNG, "image/png"), (JPEG, "image/jpeg"))
    images = [types.Part.from_bytes(data=data, mime_type=kind) for data, kind in pictures]
    signature = base64.b64decode(SIGNATURE)
    calls = [
        types.Part(function_call=types.FunctionCall(id=identity, name=name, args=given))
        for identity, name, given in CALLS
    ]
    calls[0].thought_signature = signature
    results = [
        types.FunctionResponse(id=identity, name=name, response={"error" if number else "output": text})
        for number, (identity, name, text) in enumerate(RESULTS)
    ]
    turns = conversation(call_signature=SIGNATURE)
    if image:
        results[1].parts = [types.FunctionResponsePart.from_bytes(data=PNG, mime_type=image)]
        first, second = turns[-1].parts
        assert isinstance(second, ToolResultPart)
        turns = (*turns[:-1], ChatMessage("user", (first, replace(second, image=ImagePart(image, PNG)))))
    thought = types.Part(text="I need both.", thought=True)
    with closing(client_of("google_ai", vendor)) as client:
        stream = client.models.generate_content_stream(
            model="ok",
            contents=[
                types.Content(role="user", parts=[types.Part(text=QUESTION), *images]),
                types.Content(role="model", parts=[thought, types.Part(text=REMARK), *calls]),
                types.Content(role="user", parts=[types.Part(function_response=result) for result in results]),
            ],
            config=types.GenerateContentConfig(
                system_instruction=SYSTEM,
                temperature=0.5,
                max_output_tokens=100,
                tools=[
                    types.Tool(
                        function_declarations=[
                            types.FunctionDeclaration(name=name, description=text, parameters_json_schema=schema)
                            for name, text, schema in TOOLS
                        ]
                    )
                ],
            ),
        )
        drain(stream)
    theirs = vendor.requests[-1].raw
    ours = send_ours(vendor, "google_ai", vendor.root, turns, temperature=0.5, max_tokens=100)
    assert ours == theirs


def test_ollama(vendor: VendorServer) -> None:
    """Its client drops what it does not know in the schema of a tool (`additionalProperties`), and we do not."""
    functions = [{"name": name, "description": text, "parameters": schema} for name, text, schema in TOOLS]
    calls = [{"function": {"name": name, "arguments": given}} for _, name, given in CALLS]
    with closing(client_of("ollama", vendor)) as client:
        stream = client.chat(
            model="ok",
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": QUESTION, "images": [PNG, JPEG]},
                {"role": "assistant", "content": REMARK, "thinking": "I need both.", "tool_calls": calls},
                *({"role": "tool", "content": text, "tool_name": name} for _, name, text in RESULTS),
            ],
            tools=[{"type": "function", "function": function} for function in functions],
            options={"temperature": 0.5},
            stream=True,
        )
        drain(stream)
    theirs = vendor.requests[-1].raw
    ours = send_ours(vendor, "ollama", vendor.root, conversation(), temperature=0.5)
    assert ours == theirs
