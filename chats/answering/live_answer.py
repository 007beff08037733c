"""An answer as it grows: its text so far, and its subscribers."""

from asyncio import Future, get_running_loop
from types import TracebackType
from typing import Self

from chats.models import Message

GONE = "The answer was deleted, or is no longer open to you."


class LiveAnswer:
    """The text of an answer so far. Only the event loop of this process uses it."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.stored = message.text
        self.fresh: list[str] = []  # not stored yet
        self.ended = message.status != Message.Status.STREAMING
        self.detached = False  # whether it ended only here, and goes on at another worker
        self.readers: set[Subscriber] = set()

    def since(self, offset: int) -> str:
        """The text after so many characters."""
        known = len(self.stored)
        if offset < known:
            return self.stored[offset:] + "".join(self.fresh)
        if len(self.fresh) == 1 and offset == known:
            return self.fresh[0]
        return "".join(self.fresh)[offset - known :]

    def end(self) -> None:
        """No more text comes. `message` says how the answer ended."""
        self.ended = True
        self.wake()

    def complete(self, message: Message | None) -> None:
        """No more text comes. The message is as it is stored now; None if it was deleted."""
        if message is None:
            self.revoke()
        else:
            self.message, self.stored, self.fresh = message, message.text, []
            self.end()

    def detach(self) -> None:
        """No more text comes in this process. Another worker goes on."""
        self.detached = True
        self.message.text = self.since(0)
        self.end()

    def revoke(self) -> None:
        """The answer was deleted, or its readers may not read it any more."""
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
