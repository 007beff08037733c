"""What the page of a conversation shows: its messages, the newest first to be loaded, and an answer as it grows."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from django.db.models import Q
from django.db.models.functions import Length

from chats.answering.events import ANSWER, DONE, IDS_PER_ANSWER, id_after
from chats.answering.journal import partial_entries
from chats.answering.live_answer import LiveAnswer, Subscriber
from chats.models import Message, Session
from chats.parts import entries_between, joined_text, total_size
from core.rest.sse import encode_event

MOST_MESSAGES = 30  # of a page
MOST_CHARACTERS = 100_000  # of the messages of a page, unless the newest question and its answer have more
PACE = 0.2  # seconds between two looks of an answer that grows
SLOWEST_PACE = 1.5
SHARE = 5  # it takes this many times as long to wait as it took to render
BYTES_PER_SECOND = 300_000  # of a block that is sent again and again
ALIVE = b"event: alive\ndata: {}\n\n"  # a comment would be hidden from the page
SMALL = 1_000  # characters that are rendered at once, and not in a thread


@cache
def markdown() -> Any:
    """The module of this name: to load it takes longer than most requests, and most commands need none."""
    return import_module("chats.web.markdown")


@dataclass
class RenderedMessage:
    """A message with its text as blocks of HTML, and those that stand at its place in other branches."""

    message: Message
    blocks: list[str] = field(default_factory=list)
    event: int | None = None  # of an answer that grows: that after which to read on
    number: int = 1
    total: int = 1
    previous: int | None = None
    next: int | None = None


@dataclass
class Page:
    """Some messages of the current branch in their order, and the id of the first one where there are earlier ones."""

    messages: list[RenderedMessage]
    earlier: int | None


def message_page(session: Session, *, before: int | None = None) -> Page:
    """The newest messages of the branch, or those before one of them; raises Message.DoesNotExist."""
    last = session.leaf_id if before is None else session.messages.get(pk=before).parent_id
    branch = Message.objects.branch(last).order_by("-sequence")
    lengths = list(branch.annotate(length=Length("text")).values_list("pk", "length")[: MOST_MESSAGES + 1])
    room = MOST_CHARACTERS
    keys: list[int] = []
    for key, length in lengths[:MOST_MESSAGES]:
        room -= length
        if len(keys) > 1 and room < 0:
            break
        keys.append(key)
    messages = [shown(message) for message in Message.objects.filter(pk__in=keys).order_by("sequence")]
    number_branches(session, messages)
    return Page(messages, messages[0].message.pk if len(keys) < len(lengths) else None)


def shown(message: Message) -> RenderedMessage:
    if message.role == Message.Role.USER:
        return RenderedMessage(message)
    if message.status != Message.Status.STREAMING:
        return RenderedMessage(message, markdown().render(message.text))
    entries = partial_entries(message.pk)
    message.text = joined_text(entries)
    return RenderedMessage(message, markdown().render(message.text), id_after(message, total_size(entries)))


def number_branches(session: Session, messages: list[RenderedMessage]) -> None:
    parents = {each.message.parent_id for each in messages}
    known = session.messages.filter(
        Q(parent__in=parents - {None}) | (Q(parent=None) if None in parents else Q(pk=None))
    )
    siblings: dict[int | None, list[int]] = defaultdict(list)
    for parent, key in known.order_by("sequence").values_list("parent", "pk"):
        siblings[parent].append(key)
    for each in messages:
        row = siblings[each.message.parent_id]
        place = row.index(each.message.pk)
        each.number, each.total = place + 1, len(row)
        each.previous = row[place - 1] if place else None
        each.next = row[place + 1] if place + 1 < len(row) else None


async def stream_blocks(find: Callable[[], LiveAnswer], place: int) -> AsyncGenerator[bytes]:
    """An answer after a place as it grows: events `blocks`, each with the index of the first that is another now.

    Then, unless it goes on elsewhere, `done`. Where nothing comes for a while, `alive`: the page takes a stream that is
    silent for one that was lost. `find` is called in the event loop, where feeds are.
    """
    feed = find()
    base = feed.message.sequence * IDS_PER_ANSWER
    loop, growing = asyncio.get_running_loop(), markdown().MarkdownStream()
    with Subscriber(feed) as reader:
        known = entries_between(feed.since(0), 0, max(0, place - ANSWER))
        offset = total_size(known)  # a client that has seen more than there is here is shown that anew
        await asyncio.to_thread(growing.append, joined_text(known))
        while place < DONE:
            if entries := feed.since(offset):
                offset, began, text = offset + total_size(entries), loop.time(), joined_text(entries)
                if len(growing.pending) + len(text) > SMALL:
                    change = await asyncio.to_thread(growing.append, text)
                else:
                    change = growing.append(text)
                rendering = loop.time() - began
                data = encode_event(base + ANSWER + offset, "blocks", change._asdict())
                yield data
                await asyncio.sleep(min(max(PACE, rendering * SHARE, len(data) / BYTES_PER_SECOND), SLOWEST_PACE))
            elif feed.ended:
                break
            elif await reader.wait():
                yield ALIVE
    if not feed.detached:
        yield encode_event(base + DONE, "done", {"id": str(feed.message.pk), "status": feed.message.status})
