"""Ends the answers of workers that are gone."""

import asyncio
import logging
from collections.abc import Container
from functools import partial
from time import monotonic

from django.db import DatabaseError

from chats.answering import journal
from chats.answering.database_threads import DatabaseThreads

log = logging.getLogger(__name__)

INTERVAL = 3  # seconds
SUSPICION = 10  # seconds that a lease must have been over while its worker could have renewed it


async def interrupt_orphans(threads: DatabaseThreads, own: Container[int]) -> None:
    """Again and again, end answers whose leases have been over for SUSPICION, unless they are our own.

    A lease that is over says little at first: all are, after the database stood still or a clock was set.
    """
    suspects: dict[journal.Lease, float] = {}
    while True:
        try:
            expired, now = await threads.run(journal.expired_leases), monotonic()
            suspects = {lease: suspects.get(lease, now) for lease in expired if lease[0] not in own}
            for message_id, until in [lease for lease, since in suspects.items() if now - since >= SUSPICION]:
                if await threads.run(partial(journal.interrupt_orphan, message_id, until)):
                    log.warning("The worker of answer %d is gone: it was ended as interrupted", message_id)
        except DatabaseError as error:
            suspects = {}
            log.warning("Whether workers are gone is not known now: %s", error)
        except Exception:
            log.exception("The search for answers of workers that are gone failed")
        await asyncio.sleep(INTERVAL)
