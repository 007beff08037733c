"""What an answer consists of: entries while it grows, parts of the message once it has ended.

An entry is a piece of text or thinking, or an event of another kind. The journal stores entries in the order in which
they came. A place is a position among them: each character of text and thinking takes one, each other entry takes one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

TEXTUAL = ("text", "thinking")
KINDS = (*TEXTUAL, "tool_call", "approval", "tool_result", "citations")
PART_TYPES = ("text", "image", "file", "thinking", "tool_call", "tool_result", "citation")

Part = dict[str, object]  # as the API's schema describes it, with the members of PRIVATE
PRIVATE = ("signature",)  # members kept for the vendor; readers never get them


class Entry(NamedTuple):
    """`text` is what came; of kinds that are not TEXTUAL it is a JSON object."""

    kind: str
    text: str

    @property
    def size(self) -> int:
        """How many places it takes."""
        return len(self.text) if self.kind in TEXTUAL else 1

    @property
    def data(self) -> Part:
        data: Part = {"text": self.text} if self.kind in TEXTUAL else orjson.loads(self.text)
        return data


def make_entry(kind: str, data: Part) -> Entry:
    """The entry of a kind that is not TEXTUAL."""
    return Entry(kind, orjson.dumps(data).decode())


def entries_between(entries: Iterable[Entry], start: int, end: int | None = None) -> list[Entry]:
    """What lies between two places. Neighbours of the same textual kind are joined."""
    groups: list[tuple[str, list[str]]] = []
    place = 0
    for entry in entries:
        begun, place = place, place + entry.size
        if place <= start:
            continue
        if end is not None and begun >= end:
            break
        kind, text = entry
        if kind in TEXTUAL:
            text = text[max(0, start - begun) : None if end is None else end - begun]
            if groups and groups[-1][0] == kind:
                groups[-1][1].append(text)
                continue
        groups.append((kind, [text]))
    return [Entry(kind, "".join(texts)) for kind, texts in groups]


def total_size(entries: Iterable[Entry]) -> int:
    """How many places these entries take together."""
    return sum(entry.size for entry in entries)


def joined_text(entries: Iterable[Entry], *kinds: str) -> str:
    """The text of the entries of these kinds; by default of what people read as the answer."""
    wanted = kinds or ("text",)
    return "".join(entry.text for entry in entries if entry.kind in wanted)


def stored_parts(entries: Sequence[Entry], thoughts: Sequence[Part] = ()) -> list[Part]:
    """What a message stores of its entries: nothing where they are text alone, which it has in a column of its own.

    `thoughts` has what is known of each stretch of thinking beside its text.
    """
    if all(entry.kind == "text" for entry in entries):
        return []
    known = iter(thoughts)
    unknown: Part = {"duration_ms": None}
    return [
        {"type": entry.kind, **entry.data, **(next(known, unknown) if entry.kind == "thinking" else {})}
        for entry in entries
    ]


def read_entries(text: str, parts: Iterable[Part]) -> list[Entry]:
    """The entries of a stored message; see `stored_parts`."""
    entries = [
        Entry(kind, str(part["text"]))
        if (kind := str(part["type"])) in TEXTUAL
        else make_entry(kind, {name: value for name, value in part.items() if name != "type"})
        for part in parts
    ]
    return entries or ([Entry("text", text)] if text else [])


def public_parts(text: str, parts: Sequence[Part]) -> list[Part]:
    """The parts of a message for its readers.

    A tool call appears once, in its latest state; an approval is an event and no part; each citation is a part.
    """
    shown: list[Part] = []
    calls: dict[object, int] = {}
    for part in parts or ([{"type": "text", "text": text}] if text else []):
        public = {name: value for name, value in part.items() if name not in PRIVATE}
        if part["type"] == "approval":
            continue
        if part["type"] == "citations":
            citations = part["citations"]
            assert isinstance(citations, list)
            shown += [{"type": "citation", **citation} for citation in citations]
        elif part["type"] == "tool_call" and part["id"] in calls:
            shown[calls[part["id"]]] = public
        else:
            if part["type"] == "tool_call":
                calls[part["id"]] = len(shown)
            shown.append(public)
    return shown
