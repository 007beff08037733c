"""Talking to vendors from where there is no event loop: the API, the admin, commands."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import connection

from core.rest.errors import Unavailable
from llms.endpoints import refusal
from llms.vendors.registry import client

if TYPE_CHECKING:
    from llms.vendors.http import Client

T = TypeVar("T")

LONGEST_CONNECT = 10  # seconds
AT_ONCE = threading.BoundedSemaphore(3)  # of the server's eight threads, which answer everyone
BUSY = "Other vendors are being asked. Try again in a moment."


def run_with_client(work: "Callable[[Client], Coroutine[None, None, T]]") -> T:
    """What the work gives, with a client that asks each question once; raises Unavailable where too many talk.

    The work has to end by itself. Meanwhile no database connection is held, unless in a transaction.
    """
    if not AT_ONCE.acquire(blocking=False):
        raise Unavailable(BUSY)
    try:
        if not connection.in_atomic_block:
            connection.close()
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(with_client(work))
        finally:
            loop.close()  # unlike asyncio.run, this does not wait for names that are still being looked up
    finally:
        AT_ONCE.release()


async def with_client(work: "Callable[[Client], Coroutine[None, None, T]]") -> T:
    timeout = min(settings.LLM_CONNECT_TIMEOUT, LONGEST_CONNECT)
    http = client(refusal=refusal, connect_timeout=timeout, retries=False)
    try:
        return await work(http)
    finally:
        await http.close()
