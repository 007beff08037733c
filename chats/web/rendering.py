"""The content of a conversation's page: its messages, the newest first, and an answer that grows."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from django.db.models import Q
from django.db.models.functions import Length

from chats.answering.events import ANSWER, DONE, IDS_PER_ANSWER
from chats.answering.journal import partial_entries
from chats.answering.live_answer import LiveAnswer, Subscriber
from chats.colouring import Colourer
from chats.models import Message, Session
from chats.parts import entries_between, joined_text, total_size
from chats.web.markdown import BlockChange, MarkdownStream, render
from core.rest.sse import encode_event

MOST_MESSAGES = 30  # on one page
MOST_CHARACTERS = 100_000  # of the messages on one page; the newest question and its answer may have more
INTERVAL = 0.2  # seconds at least between two events of an answer
LONGEST_INTERVAL = 5.0
SHARE = 5  # rendering takes at most 1/SHARE of the time, until the interval is LONGEST_INTERVAL
BYTES_PER_SECOND = 300_000  # limits how often a long block that grows is sent again
ALIVE = b"event: alive\ndata: {}\n\n"  # an event, because scripts cannot see comments
SMALL = 1_000  # characters that are rendered in the event loop; more are rendered in a thread


@dataclass
class RenderedMessage:
    """A message with its blocks of HTML, and its siblings: the messages at the same place in other branches."""

    message: Message
    blocks: list[str] = field(default_factory=list)
    event: int | None = None  # the id of the event after which a growing answer continues
    number: int = 1  # its place among its siblings
    total: int = 1
    previous: int | None = None
    next: int | None = None


@dataclass
class MessagePage:
    """Some messages of a branch in their order. `earlier` is the first one's id if there are earlier messages."""

    messages: list[RenderedMessage]
    earlier: int | None


def message_page(session: Session, *, before: int | None = None) -> MessagePage:
    """The newest messages of the branch, or those before the given one; raises Message.DoesNotExist."""
    last = session.leaf_id if before is None else session.messages.get(pk=before).parent_id
    branch = Message.objects.branch(last).order_by("-sequence")
    lengths = list(branch.annotate(length=Length("text")).values_list("pk", "length")[: MOST_MESSAGES + 1])
    total = 0
    keys: list[int] = []
    for key, length in lengths[:MOST_MESSAGES]:
        total += length
        if len(keys) > 1 and total > MOST_CHARACTERS:
            break
        keys.append(key)
    colourer = Colourer("colour_html")
    rows = Message.objects.filter(pk__in=keys).order_by("sequence")
    messages = [render_message(message, colourer) for message in rows]
    number_branches(session, messages)
    return MessagePage(messages, messages[0].message.pk if len(keys) < len(lengths) else None)


def render_message(message: Message, colourer: Colourer) -> RenderedMessage:
    """The message with its text as blocks of HTML. Questions are shown as they were typed."""
    if message.role == Message.Role.USER:
        return RenderedMessage(message)
    if message.status != Message.Status.STREAMING:
        return RenderedMessage(message, render(message.text, colourer))
    entries = partial_entries(message.pk)
    message.text = joined_text(entries)
    blocks = render(message.text, colourer, is_complete=False)
    return RenderedMessage(message, blocks, message.sequence * IDS_PER_ANSWER + ANSWER + total_size(entries))


def number_branches(session: Session, messages: list[RenderedMessage]) -> None:
    """Set number, total, previous and next of each message among its siblings."""
    parents = {each.message.parent_id for each in messages}
    is_sibling = Q(parent__in=parents - {None})
    if None in parents:
        is_sibling |= Q(parent=None)
    siblings: dict[int | None, list[int]] = defaultdict(list)
    for parent, key in session.messages.filter(is_sibling).order_by("sequence").values_list("parent", "pk"):
        siblings[parent].append(key)
    for each in messages:
        row = siblings[each.message.parent_id]
        index = row.index(each.message.pk)
        each.number, each.total = index + 1, len(row)
        each.previous = row[index - 1] if index else None
        each.next = row[index + 1] if index + 1 < len(row) else None


async def stream_blocks(find: Callable[[], LiveAnswer], place: int) -> AsyncGenerator[bytes]:
    """An answer after a position as it grows: events `blocks`, each with the index of the first block that it replaces.

    Ends with the event `done`, unless the answer continues in another process. During silence it sends `alive`, because
    the page opens a silent stream again. `find` is called in the event loop to which the live answer belongs.
    """
    feed = find()
    base = feed.message.sequence * IDS_PER_ANSWER
    loop, growing = asyncio.get_running_loop(), MarkdownStream()
    colourer = Colourer("colour_html")
    with Subscriber(feed) as reader:
        known = entries_between(feed.since(0), 0, max(0, place - ANSWER))
        offset = total_size(known)  # smaller than the client's position if it has seen more than this process knows of
        await asyncio.to_thread(lambda: growing.render(growing.parse(joined_text(known)), {}))
        while place < DONE:
            if entries := feed.since(offset):
                offset, started_at, text = offset + total_size(entries), loop.time(), joined_text(entries)
                change = await append_text(growing, text, colourer)
                seconds = loop.time() - started_at
                data = encode_event(base + ANSWER + offset, "blocks", change._asdict())
                yield data
                pause = max(INTERVAL, seconds * SHARE, len(data) / BYTES_PER_SECOND)
                await asyncio.sleep(min(pause, LONGEST_INTERVAL))
            elif feed.ended:
                break
            elif await reader.wait():
                yield ALIVE
    if not feed.detached:
        yield encode_event(base + DONE, "done", {"id": str(feed.message.pk), "status": feed.message.status})


async def append_text(growing: MarkdownStream, text: str, colourer: Colourer) -> BlockChange:
    """Add to a growing answer. The event loop is free while a long text is rendered or code is coloured."""
    if len(growing.pending) + len(text) <= SMALL:
        parsed = growing.parse(text)
        return growing.render(parsed, await colourer.colour(parsed.codes))
    parsed = await asyncio.to_thread(growing.parse, text)
    colours = await colourer.colour(parsed.codes)
    return await asyncio.to_thread(growing.render, parsed, colours)
