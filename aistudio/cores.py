"""A processor core for each worker.

The threads of a process take turns in Python. Where each turn is on another core, that core has to be woken, and has to
fetch anew what the last one had at hand.
"""

import os
from collections.abc import Sequence
from logging import getLogger
from random import random

UNBOUND = -1

log = getLogger(__name__)


def bind(process: int, taken: Sequence[int] = ()) -> int:
    """Keep a process (0: this one) on the core that has been taken least often.

    Returns the core, or UNBOUND where the system does not let it. To be called before the process has threads: those
    that it makes from then on stay with it.
    """
    core = min(os.sched_getaffinity(0), key=lambda core: (taken.count(core), random()))  # noqa: S311 it guards nothing
    try:
        os.sched_setaffinity(process, {core})
    except OSError as error:
        log.warning("BIND_WORKERS: a worker is not kept on a core: %s", error)
        return UNBOUND
    return core
