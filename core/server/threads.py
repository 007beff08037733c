"""Work in a thread, for which the event loop stands still a moment where that is faster for all."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from django.conf import settings

from core.database.connections import is_sqlite

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_pool(executor: Executor, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run the work in a thread of the executor; return or raise what it returns or raises.

    A query in SQLite takes microseconds, and at each the thread releases the interpreter. A loop that has work would
    take the interpreter, and the thread would wait to have it back, a dozen times in a request: that takes longer than
    the request. So the loop waits for the thread, for as long as the interpreter itself lets a thread run.
    """
    # not `connection.vendor`, which would make a connection of its own for each task of the loop that asks
    patience = sys.getswitchinterval() if is_sqlite(settings.DATABASES["default"]) else 0
    future = executor.submit(work, *arguments, **options)
    try:
        return future.result(patience)
    except TimeoutError:
        return await asyncio.wrap_future(future)
