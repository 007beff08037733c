"""An answer as it grows: what came so far, and its subscribers."""

from asyncio import Future, get_running_loop
from types import TracebackType
from typing import Self

from chats.models import Message
from chats.parts import Entry, entries_between, joined_text, total_size

GONE = "The answer was deleted, or is no longer open to you."


class LiveAnswer:
    """The part of an answer that has come so far. Only the event loop of this process uses it."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.stored = message.entries
        self.stored_size = total_size(self.stored)  # places
        self.fresh: list[Entry] = []  # not stored yet
        self.ended = message.status != Message.Status.STREAMING
        self.detached = False  # whether it ended only in this process, and another worker goes on
        self.readers: set[Subscriber] = set()

    def since(self, place: int) -> list[Entry]:
        """The entries after this place."""
        if place < self.stored_size:
            return entries_between([*self.stored, *self.fresh], place)
        return entries_between(self.fresh, place - self.stored_size)

    def mark_stored(self, count: int) -> None:
        """Count the first `count` fresh entries as stored."""
        stored = self.fresh[:count]
        self.stored = entries_between([*self.stored, *stored], 0)
        self.stored_size += total_size(stored)
        del self.fresh[:count]

    def end(self) -> None:
        """End the answer for its readers. `message` says how it ended."""
        self.ended = True
        self.wake()

    def complete(self, message: Message | None) -> None:
        """End the answer with the message as it is stored; None if it was deleted."""
        if message is None:
            self.revoke()
        else:
            self.message, self.stored, self.fresh = message, message.entries, []
            self.stored_size = total_size(self.stored)
            self.end()

    def detach(self) -> None:
        """End the answer for the readers of this process. Another worker goes on with it."""
        self.detached = True
        self.message.text = joined_text(self.since(0))
        self.end()

    def revoke(self) -> None:
        """End the answer for its readers: it was deleted, or they may no longer read it."""
        message = self.message
        message.status, message.finish_reason = Message.Status.INTERRUPTED, None
        message.error_code, message.error_detail, message.error_retryable = "gone", GONE, False
        self.end()

    def wake(self) -> None:
        for reader in self.readers:
            reader.wake()


class Subscriber:
    """One reader of an answer. Use as a context manager."""

    def __init__(self, feed: LiveAnswer) -> None:
        self.feed = feed
        self.loop = get_running_loop()
        self.waiting: Future[bool] | None = None
        self.last_read = self.loop.time()

    def __enter__(self) -> Self:
        self.feed.readers.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.feed.readers.discard(self)

    async def wait(self) -> bool:
        """Wait for something new. Returns whether it is only a sign of life."""
        self.last_read = self.loop.time()
        self.waiting = self.loop.create_future()
        return await self.waiting

    def wake(self, alive: bool = False) -> None:
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(alive)
