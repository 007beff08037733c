"""A fake vendor that speaks chat completions, as fast as it can: `python bench/fake_vendor.py PORT`.

The model's name says what it answers: `fake-500-20-100` is 500 tokens, one each 20 ms, the first after 100 ms. Every
token carries the moment it was sent ("@" and 13 hexadecimal digits, microseconds of the monotonic clock), so that a
reader on the same machine knows how long it was under way. `fake-60-20-50-cut` is broken off before its end, and with
fewer numbers it is a 500.
"""

import asyncio
import json
import sys
import time
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OOPS = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"
BEGINNING = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"fake","choices":[{"index":0,"delta":'
)
ROLE = BEGINNING + b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
TOKEN = BEGINNING + b'{"content":" @%013x"},"finish_reason":null}]}\n\n'
FINISH = BEGINNING + b'{},"finish_reason":"stop"}]}\n\n'
USAGE = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"fake","choices":[],"usage":'
    b'{"prompt_tokens":10,"completion_tokens":%d,"total_tokens":%d}}\n\ndata: [DONE]\n\n'
)


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            _, *numbers = json.loads(await reader.readexactly(length))["model"].split("-")
            if len(numbers) < 3:
                writer.write(OOPS)
                continue
            tokens, delay, first = map(int, numbers[:3])
            await answer(writer, tokens, delay / 1000, first / 1000, breaks_off=len(numbers) > 3)
            if len(numbers) > 3:
                break
    writer.close()


async def answer(writer: StreamWriter, tokens: int, delay: float, first: float, *, breaks_off: bool) -> None:
    due = asyncio.get_running_loop().time() + first
    send(writer, HEAD, b"")
    send(writer, b"", ROLE)
    for _ in range(tokens):
        await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
        send(writer, b"", TOKEN % (time.monotonic_ns() // 1000))
        due += delay
        if writer.transport.get_write_buffer_size():
            await writer.drain()
    if breaks_off:
        return
    send(writer, b"", FINISH)
    send(writer, b"", USAGE % (tokens, tokens + 10))
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def send(writer: StreamWriter, head: bytes, chunk: bytes) -> None:
    writer.write(head + (b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""))


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        if sys.platform == "linux":
            import uvloop

            uvloop.run(main())
        else:
            asyncio.run(main())
