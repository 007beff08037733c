"""The events of an answer, and the position of a client in them.

An event's id is the answer's sequence number and the place of the event's end in the answer (see `chats.parts`). So ids
ascend within a session, a client can resume from each of them, and none is stored.
"""

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from chats.answering.live_answer import LiveAnswer, Subscriber
from chats.models import Message
from chats.parts import Entry, Part, total_size
from core.rest.sse import COMMENT, encode_event

IDS_PER_ANSWER = 10**7
QUESTION, ANSWER = 0, 1  # the two `message` events; after n places comes ANSWER + n
USAGE, ERROR, DONE = IDS_PER_ANSWER - 3, IDS_PER_ANSWER - 2, IDS_PER_ANSWER - 1
LONGEST_ANSWER = IDS_PER_ANSWER - 10  # places, see chats.parts
LONGEST_RESULT = 2_000  # characters of a tool's result in its event; the message has all of it


class Position(NamedTuple):
    """The last event that a client has. A place of -1 means none of this answer."""

    sequence: int
    place: int = -1


async def follow(find: Callable[[], LiveAnswer], question: Message | None, place: int = -1) -> AsyncGenerator[bytes]:
    """The events of an answer after a place: those that exist, then those to come, until `done`.

    `find` gives the live answer. It is called in the event loop.
    """
    feed = find()
    answer = feed.message
    base = answer.sequence * IDS_PER_ANSWER
    with Subscriber(feed) as reader:
        begun = [(QUESTION, question)] if question else []
        begun.append((ANSWER, answer))
        if place < ANSWER:  # in one piece, because each piece costs the server as much as a token
            yield b"".join(
                encode_event(base + at, "message", message_payload(message)) for at, message in begun if at > place
            )
        offset = max(0, place - ANSWER)
        while place < USAGE:
            if entries := feed.since(offset):
                events = []
                for entry in entries:
                    offset += entry.size
                    events.append(encode_event(base + ANSWER + offset, *payload(entry)))
                yield b"".join(events)
            elif feed.ended:
                break
            elif await reader.wait():
                yield COMMENT
    if feed.detached:
        return
    answer = feed.message
    closing: list[tuple[int, str, object]] = [(USAGE, "usage", answer.usage)]
    if answer.error:
        closing.append((ERROR, "error", answer.error))
    end = {"id": str(answer.pk), "status": answer.status, "finish_reason": answer.finish_reason}
    closing.append((DONE, "done", end))
    yield b"".join(encode_event(base + at, name, data) for at, name, data in closing if at > place)


def message_payload(message: Message) -> dict[str, str | None]:
    """The data of the event `message`, for the question or the answer."""
    parent = message.parent_id
    return {
        "id": str(message.pk),
        "role": message.role,
        "status": message.status,
        "parent_id": None if parent is None else str(parent),
    }


def payload(entry: Entry) -> tuple[str, Part]:
    """The name and the data of the event that tells of an entry."""
    data = entry.data
    if entry.kind == "text":
        return "delta", data
    if entry.kind in ("tool_call", "tool_result"):
        data = {"type": entry.kind, **data}
    if entry.kind == "tool_result":
        data["text"] = str(data["text"])[:LONGEST_RESULT]
    return entry.kind, data


def is_valid_position(answer: Message, place: int) -> bool:
    """Whether a reader can have received an event at this place.

    A worker that died may have sent more than is stored, and so may one that still produces the answer.
    """
    has_ended = answer.status != Message.Status.STREAMING
    if place in (QUESTION, ANSWER):
        return True
    if place in (USAGE, DONE) or (place == ERROR and answer.error_code):
        return has_ended
    may_be_ahead = answer.status in (Message.Status.STREAMING, Message.Status.INTERRUPTED)
    return ANSWER < place < USAGE and (may_be_ahead or place - ANSWER <= total_size(answer.entries))
