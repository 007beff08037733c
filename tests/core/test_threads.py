"""Work in a thread: what it returns and raises comes back, and the loop stands still for a moment only."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.server.threads import run_in_pool


def test_what_the_work_returns_comes_back() -> None:
    with ThreadPoolExecutor(1) as executor:
        name = asyncio.run(run_in_pool(executor, lambda left, right: (left + right, threading.current_thread()), 1, 2))
    assert name[0] == 3
    assert name[1] is not threading.main_thread()


@pytest.mark.parametrize("seconds", [0, 0.1])
@pytest.mark.parametrize("error", [ValueError, TimeoutError])
def test_what_the_work_raises_comes_back(error: type[Exception], seconds: float) -> None:
    def fail() -> None:
        time.sleep(seconds)
        raise error("It failed.")

    with ThreadPoolExecutor(1) as executor, pytest.raises(error, match="It failed"):
        asyncio.run(run_in_pool(executor, fail))


def test_the_loop_goes_on_while_long_work_is_done() -> None:
    is_over = threading.Event()

    async def both() -> bool:
        work = asyncio.create_task(run_in_pool(executor, is_over.wait, 30))
        await asyncio.sleep(0)
        is_over.set()  # which nobody would, if the loop waited for the work
        return await work

    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(both())
