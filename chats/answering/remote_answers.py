"""Answers of other workers that have readers in this process: they are polled from the journal."""

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from django.db import DatabaseError

from chats.answering import journal
from chats.answering.database_threads import DatabaseThreads
from chats.answering.live_answer import LiveAnswer

log = logging.getLogger(__name__)

POLL = 0.2  # seconds
ACCESS_CHECK = 2  # seconds between two checks that owners may still ask in their chats


@dataclass
class RemoteAnswers:
    """The answers by the ids of their messages. `poll` has to run while there are any."""

    threads: DatabaseThreads
    answers: dict[int, LiveAnswer] = field(default_factory=dict)
    access_checked_at: float = 0.0

    async def poll(self) -> None:
        """Read what other workers store, for as long as someone reads it here."""
        while self.answers:
            try:
                await self.read()
            except DatabaseError as error:
                log.warning("Answers of other workers cannot be read now: %s", error)
            except Exception:  # their readers must not wait for ever
                log.exception("Answers of other workers cannot be read")
            await asyncio.sleep(POLL)
            for key in [key for key, answer in self.answers.items() if answer.ended or not answer.readers]:
                del self.answers[key]

    async def read(self) -> None:
        offsets = {key: answer.stored_size for key, answer in self.answers.items()}
        fresh, ended = await self.threads.run(partial(journal.read_new, offsets))
        for key, entries in fresh.items():
            if entries:
                answer = self.answers[key]
                answer.fresh += entries
                answer.mark_stored(len(entries))
                answer.wake()
        for key, message in ended.items():
            self.answers[key].complete(message)
        if monotonic() - self.access_checked_at >= ACCESS_CHECK:
            self.access_checked_at = monotonic()
            for key in await self.threads.run(partial(journal.without_access, answers=list(offsets))):
                self.answers[key].revoke()
