"""Server-sent events, as the HTML standard has them: how they are written, and the answer that carries them."""

import orjson

MEDIA_TYPE = "text/event-stream"
COMMENT = b":\n\n"  # nothing to a client, and a sign of life to the proxies on the way


# ends of lines to many clients' line readers, though neither to JSON nor to the standard
ESCAPES = {"\x85": b"\\u0085", "\u2028": b"\\u2028", "\u2029": b"\\u2029"}


def encode_event(number: int, name: str, data: object) -> bytes:
    """One event; the number is its `id:`, at which a client can resume."""
    written = orjson.dumps(data)
    if not written.isascii():
        for character, escape in ESCAPES.items():
            written = written.replace(character.encode(), escape)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name.encode(), written)
