"""Work in a thread, for which the event loop stands still a moment where that is faster for all."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from django.conf import settings

from core.database.connections import is_sqlite

T = TypeVar("T")


async def run_in_pool(executor: Executor, work: Callable[..., T], *arguments: Any) -> T:
    """Run it in a thread of the executor, and return what it returns, or raise what it raises.

    A query in SQLite is over in microseconds, at each of which the thread lets go of the interpreter. A loop that has
    work would take it, and the thread wait to have it back, some dozen times for a request: that takes longer than the
    request. So the loop lets it go on alone, for as long as the interpreter itself would let a thread.
    """
    # not `connection.vendor`, which would make a connection of its own for each task of the loop that asks
    patience = sys.getswitchinterval() if is_sqlite(settings.DATABASES["default"]) else 0
    future = executor.submit(work, *arguments)
    try:
        return future.result(patience)
    except TimeoutError:
        return await asyncio.wrap_future(future)
