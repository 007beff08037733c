"""How long to wait before the next read from a vendor when the event loop is overloaded.

A token that is read and sent singly costs several times as much as one that is sent with others. So a loop that falls
behind reads less often: all streams go on, in larger pieces, and new questions do not wait behind them. A loop that
keeps up sends each token as it comes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

LOOK = 0.01  # seconds between two measurements
WEIGHT = 0.1  # of the newest measurement in the moving average
USUAL = 0.003  # seconds by which a loop that keeps up may be late, also when many ask at once
TIMES = 256  # the pause is the lateness above USUAL times this
LONGEST = 0.1  # seconds of a pause


@dataclass
class Backpressure:
    """The backpressure of one event loop. All times are in seconds."""

    longest: float = LONGEST  # possible `pause`
    lateness: float = 0.0  # smoothed
    pause: float = 0.0  # to wait before the next read from a vendor

    async def watch(self, is_needed: Callable[[], object]) -> None:
        """Measure how late the event loop wakes a sleeping task, and set `pause` from that, while `is_needed()`."""
        while is_needed():
            due = monotonic() + LOOK
            await asyncio.sleep(LOOK)
            self.lateness += (monotonic() - due - self.lateness) * WEIGHT
            self.pause = min(self.longest, max(0.0, self.lateness - USUAL) * TIMES)
        self.lateness = self.pause = 0.0
