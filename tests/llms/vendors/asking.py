"""Ask a vendor as the server does, from a test that is not asynchronous."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import uvloop

from llms.vendors.errors import VendorError
from llms.vendors.registry import adapter, client
from llms.vendors.types import Call, StreamEvent, Text, text_message

KEY = "sk-canary-0123456789-7777"


@dataclass(frozen=True)
class Asked:
    """What a vendor gave, and the error that ended it, if one did."""

    values: list[StreamEvent]
    error: VendorError | None

    @property
    def text(self) -> str:
        return "".join(value.text for value in self.values if type(value) is Text)

    @property
    def code(self) -> str | None:
        return self.error.code if self.error else None


def call(endpoint: str, model: str, question: str = "Hello there", **changes: Any) -> Call:
    values: dict[str, Any] = {"turns": (text_message("user", question),), "options": {}, "api_key": KEY, **changes}
    return Call(model=model, endpoint=endpoint, **values)


def ask(
    asked: Call,
    *,
    vendor: str = "openai",
    refusal: Callable[[Any, str, int], str | None] = lambda *target: None,
    connect_timeout: float = 5,
    patience: float = 5,
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> Asked:
    """The whole answer; TimeoutError where the vendor does not end it in time."""

    async def answer() -> Asked:
        http = client(refusal=refusal, connect_timeout=connect_timeout)
        values: list[StreamEvent] = []
        try:
            async with asyncio.timeout(patience), aclosing(adapter(vendor).stream(asked, http)) as stream:
                async for value in stream:
                    values.append(value)
        except VendorError as error:
            return Asked(values, error)
        finally:
            await http.close()
        return Asked(values, None)

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(answer())


def sent(body: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in the body of a request: all but what every request has."""
    return {
        name: value for name, value in body.items() if name not in ("model", "messages", "stream", "stream_options")
    }
