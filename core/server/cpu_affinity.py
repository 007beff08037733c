"""One processor core for all threads of a process: the one that the system has found for its event loop.

The threads of a process take turns in Python. Where each turn is on another core, that core has to be woken, and has to
fetch anew what the last one had at hand. The system does not know that, and spreads them.
"""

import asyncio
import os
import threading
from collections.abc import Collection
from contextlib import suppress
from logging import getLogger
from pathlib import Path

STAY = 1.0  # seconds on one core
SEEK = 0.05  # seconds in which the system may move the loop, where others want that core too

log = getLogger(__name__)


async def keep_together() -> None:
    """Bind the threads of this process to the core of the event loop, and let it be looked for anew each second."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) == 1:
        return
    try:
        while True:
            bind(allowed)
            await asyncio.sleep(SEEK)
            bind({current_core()})
            await asyncio.sleep(STAY)
    except OSError as error:
        log.info("BIND_WORKERS: the system does not let this process choose its core: %s", error)
    finally:
        with suppress(OSError):
            bind(allowed)


def bind(cores: Collection[int]) -> None:
    """Let the threads of this process run on these cores alone. A thread that is made later has those of its maker."""
    for thread in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), cores)


def current_core() -> int:
    """That this thread is on; see proc_pid_stat(5)."""
    fields = Path(f"/proc/self/task/{threading.get_native_id()}/stat").read_text().rpartition(")")[2].split()
    return int(fields[36])  # `processor`, the 39th: the first two are left of the ")"
