"""An answer as it comes: its text so far, and those who read along."""

from asyncio import Future, get_running_loop
from types import TracebackType
from typing import Self

from chats.models import Message

GONE = "The answer was deleted, or is no longer open to you."


class LiveAnswer:
    """The text of an answer so far; of this process, and of its event loop alone."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.stored = message.text
        self.fresh: list[str] = []  # not stored yet
        self.ended = message.status != Message.Status.STREAMING
        self.cut = False  # whether it only ended here, and can be read on elsewhere
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
        """There comes no more: `message` says how it ended."""
        self.ended = True
        self.wake()

    def finish(self, message: Message | None) -> None:
        """There comes no more: it is as it is stored now, or gone."""
        if message is None:
            self.lose()
        else:
            self.message, self.stored, self.fresh = message, message.text, []
            self.end()

    def cut_off(self) -> None:
        """There comes no more of it in this process."""
        self.cut = True
        self.message.text = self.since(0)
        self.end()

    def lose(self) -> None:
        """It was deleted, or taken from those who read it."""
        message = self.message
        message.status, message.finish_reason = Message.Status.INTERRUPTED, None
        message.error_code, message.error_detail, message.error_retryable = "gone", GONE, False
        self.end()

    def wake(self) -> None:
        for reader in self.readers:
            reader.wake()


class Subscriber:
    """One who reads along, within a `with`."""

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

    async def woken(self) -> bool:
        """Wait for something new; whether it was only to show a sign of life."""
        self.last_read = self.loop.time()
        self.waiting = self.loop.create_future()
        return await self.waiting

    def wake(self, alive: bool = False) -> None:
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(alive)
