"""A processor core for each worker.

The threads of a process take turns in Python. Where each turn is on another core, that core has to be woken, and has to
fetch anew what the last one had at hand: a quarter of all processor time.
"""

import os
from collections.abc import Sequence
from random import random


def bind(process: int, taken: Sequence[int] = ()) -> int:
    """Keep a process (0: this one) on the core that has been taken least often; returns that core.

    To be called before the process has threads: those that it makes from then on stay with it.
    """
    core = min(os.sched_getaffinity(0), key=lambda core: (taken.count(core), random()))  # noqa: S311 it guards nothing
    os.sched_setaffinity(process, {core})
    return core
