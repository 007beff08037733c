"""Calls vendors from synchronous code: the API, the admin, commands."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import connection

from llms.endpoints import refusal
from llms.vendors.registry import client
from usage.errors import VendorsBusy

if TYPE_CHECKING:
    from llms.vendors.http import Client

T = TypeVar("T")

LONGEST_CONNECT = 10  # seconds
AT_ONCE = threading.BoundedSemaphore(3)  # few, because each holds one of the threads that answer all requests
BUSY = "Other vendors are being asked. Try again in a moment."


def run_with_client(work: "Callable[[Client], Coroutine[None, None, T]]") -> T:
    """The result of `work`, which gets an HTTP client that does not retry, and which must end by itself.

    Raises VendorsBusy if AT_ONCE others run. Outside a transaction, no database connection is held meanwhile.
    """

    async def run() -> T:
        timeout = min(settings.LLM_CONNECT_TIMEOUT, LONGEST_CONNECT)
        http = client(refusal=refusal, connect_timeout=timeout, retries=False)
        try:
            return await work(http)
        finally:
            await http.close()

    if not AT_ONCE.acquire(blocking=False):
        raise VendorsBusy(BUSY)
    try:
        if not connection.in_atomic_block:
            connection.close()
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(run())
        finally:
            loop.close()  # asyncio.run would wait for DNS lookups that are still running
    finally:
        AT_ONCE.release()
