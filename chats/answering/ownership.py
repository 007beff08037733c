"""Whether this process still owns the answers that it produces."""

import asyncio
from time import time

LONGEST_SUSPENSION = 10  # seconds; other workers wait longer before they end our answers


class OwnershipGuard:
    """Guards against a suspended process: another worker may have ended our answers meanwhile.

    Nothing more is shown after a suspension until the database confirms ownership. It goes by the wall clock, which
    runs on while the process or its machine is suspended.
    """

    def __init__(self) -> None:
        self.last_seen = time()
        self.suspensions = 0
        self.confirmed = asyncio.Event()
        self.confirmed.set()

    def is_owner(self) -> bool:
        """Whether ownership is certain. Call it often: a suspension shows as a long time between two calls."""
        now = time()
        if now - self.last_seen > LONGEST_SUSPENSION:
            self.suspensions += 1
            self.confirmed.clear()
        self.last_seen = now
        return self.confirmed.is_set()

    def confirm(self, suspensions: int) -> None:
        """The database has confirmed ownership; it was asked after so many suspensions."""
        if suspensions == self.suspensions:
            self.confirmed.set()
