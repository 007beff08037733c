"""Server-sent events, as the HTML standard has them: how they are written, and the answer that carries them."""

from collections.abc import AsyncIterator
from http import HTTPStatus

import orjson
from django.http import StreamingHttpResponse

MEDIA_TYPE = "text/event-stream"
COMMENT = b":\n\n"  # nothing to a client, and a sign of life to the proxies on the way


def event(number: int, name: str, data: object) -> bytes:
    """One event; the number is its `id:`, at which a client can resume."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name.encode(), orjson.dumps(data))


class EventStream(StreamingHttpResponse):
    """Events as they come."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, status=HTTPStatus.OK, content_type=MEDIA_TYPE)
        self["Cache-Control"] = "private, no-cache"
        self["X-Accel-Buffering"] = "no"  # nginx would keep them back
