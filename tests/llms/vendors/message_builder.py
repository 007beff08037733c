"""Makes a message of the events of an answer, so that tests can send it back in the next call."""

import json
from dataclasses import replace
from typing import NamedTuple

from llms.vendors.types import (
    ChatMessage,
    Part,
    Signature,
    StreamEvent,
    Text,
    TextPart,
    Thinking,
    ThinkingPart,
    ToolCall,
    ToolCallPart,
)


class PartDraft(NamedTuple):
    """A part of the message, and the texts that its own consists of."""

    part: TextPart | ThinkingPart | ToolCallPart
    texts: list[str]


class MessageBuilder:
    """Collects the events of one answer; those that are no content change nothing."""

    def __init__(self) -> None:
        self._drafts: list[PartDraft] = []
        self._calls: dict[int, int] = {}  # from the index of a tool call to its place among the drafts

    def add(self, event: StreamEvent) -> None:
        if isinstance(event, Text):
            self._last(TextPart).texts.append(event.text)
        elif isinstance(event, Thinking):
            self._last(ThinkingPart).texts.append(event.text)
        elif isinstance(event, ToolCall):
            place = self._calls.setdefault(event.index, len(self._drafts))
            if place == len(self._drafts):
                self._drafts.append(PartDraft(ToolCallPart("", "", {}), []))
            part, texts = self._drafts[place]
            assert isinstance(part, ToolCallPart)
            texts.append(event.arguments)
            self._drafts[place] = PartDraft(replace(part, id=part.id or event.id, name=part.name or event.name), texts)
        elif isinstance(event, Signature):
            self._sign(event)

    def message(self) -> ChatMessage:
        return ChatMessage("assistant", tuple(map(finish_part, self._drafts)))

    def _last(self, kind: type[TextPart] | type[ThinkingPart]) -> PartDraft:
        """The last piece if it can take more text of this kind, else a new one. Nothing follows a signature."""
        if not self._drafts or type(self._drafts[-1].part) is not kind or self._drafts[-1].part.signature:
            self._drafts.append(PartDraft(kind(""), []))
        return self._drafts[-1]

    def _sign(self, signature: Signature) -> None:
        if signature.of == "redacted_thinking":
            self._drafts.append(PartDraft(ThinkingPart("", signature.data, redacted=True), []))
            return
        if signature.of == "tool_call":
            place = max(self._calls.values())
        else:
            self._last(TextPart if signature.of == "text" else ThinkingPart)
            place = len(self._drafts) - 1
        part, texts = self._drafts[place]
        self._drafts[place] = PartDraft(replace(part, signature=signature.data), texts)


def finish_part(piece: PartDraft) -> Part:
    part, text = piece.part, "".join(piece.texts)
    if not isinstance(part, ToolCallPart):
        return replace(part, text=text)
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    return replace(part, arguments=arguments) if isinstance(arguments, dict) else replace(part, unparsed=text)
