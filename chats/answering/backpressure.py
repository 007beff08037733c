"""How long text is left to gather before it is read on, where the event loop has more to do than it can.

A token that is read and sent by itself takes several times what it takes beside another. So where the loop falls
behind, it reads less often: all streams go on, in larger pieces, and who asks does not wait for them. Where it keeps
up, each token is sent as it comes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

LOOK = 0.01  # seconds between two looks at the loop
WEIGHT = 0.1  # of the newest look, beside what was seen before
USUAL = 0.003  # seconds: as late is a loop that keeps up, also where many ask at once
TIMES = 256  # the pause is so many times what it is later than that
LONGEST = 0.1  # seconds


@dataclass
class Backpressure:
    """Of one event loop. All times are in seconds."""

    longest: float = LONGEST  # pause
    lateness: float = 0.0  # smoothed
    pause: float = 0.0

    async def watch(self, is_needed: Callable[[], object]) -> None:
        """See how late the loop wakes those that it was to wake, for as long as anyone wants to know."""
        while is_needed():
            due = monotonic() + LOOK
            await asyncio.sleep(LOOK)
            self.lateness += (monotonic() - due - self.lateness) * WEIGHT
            self.pause = min(self.longest, max(0.0, self.lateness - USUAL) * TIMES)
        self.lateness = self.pause = 0.0
