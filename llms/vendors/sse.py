"""Decodes server-sent events from bytes that arrive cut anywhere, as leniently as vendors and gateways need it."""

from collections.abc import Iterator

import orjson

from llms.vendors.errors import VendorError

LONGEST = 64 * 2**20  # bytes of a line, and of the data of an event
END_MARK = b"[DONE]"
END_OF_STREAM = b"\n\n"  # fed last; completes a last line, and a last event without the empty line that should end it
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SSEDecoder:
    """Yields the data of each event as soon as it is complete.

    Beyond the format, it yields JSON that stands between events, an `error:` field and the data of an event named
    `error`, both as a JSON object with an `error`. An event ends also where the next one begins without an empty line
    between. Comments, ids, and named events whose data is no JSON are skipped.
    """

    def __init__(self) -> None:
        self._after_return = False  # the last byte was \r, so a \n that follows belongs to it
        self._pieces: list[bytes] = []  # of the line that is not complete
        self._pieces_size = 0
        self._name = b""  # of the event that is not complete
        self._data: list[bytes] = []  # its lines
        self._data_size = 0
        self._is_bare = False  # they are JSON without `data:`

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of the events that this chunk completes; raises VendorError if one is longer than LONGEST."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if not chunk:
            return
        self._after_return = chunk[-1] == 13
        lines = chunk.splitlines()  # bytes are split at \n, \r\n and \r, as the format says
        rest = b"" if chunk[-1] in b"\r\n" else lines.pop()
        if lines and self._pieces:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces.clear()
            self._pieces_size = 0
        for line in lines:
            if not line:
                if data := self._end_event():
                    yield data
            elif not self._data and line.startswith(b"data: {"):  # as almost all are
                self._add(line[6:])
            else:
                yield from self._read_line(line)
        if rest:
            self._pieces.append(rest)  # joined only once, however small the pieces are
            self._pieces_size += len(rest)
            check_length(self._pieces_size)

    def _read_line(self, line: bytes) -> Iterator[bytes]:
        field, _, value = line.lstrip(b" \t").partition(b":")
        value = value.removeprefix(b" ")
        last = self._data[-1] if self._data else b""
        ends_before = (
            (field == b"data" and (self._is_bare or (last.endswith(b"}") and value.startswith((b"{", END_MARK)))))
            or field in (b"error", b"event")
            or (not self._is_bare and line.lstrip().startswith((b"{", b"[")))
        )
        if ends_before and (data := self._end_event()):
            yield data
        if field in (b"data", b"error"):
            self._name = field if field == b"error" else self._name
            self._add(value)
        elif field == b"event":
            self._name = value.strip()
        elif self._is_bare or line.lstrip().startswith((b"{", b"[")):
            self._is_bare = True
            self._add(line)
        if (field == b"error" or value == END_MARK) and (data := self._end_event()):
            yield data

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._data_size += len(data)
        check_length(self._data_size)

    def _end_event(self) -> bytes:
        """The data of the event; empty if it is to be skipped."""
        data, name = b"\n".join(self._data).strip(), self._name
        self._data.clear()
        self._data_size, self._name, self._is_bare = 0, b"", False
        is_json = data.startswith((b"{", b"["))
        if name == b"error" and data and not (is_json and b'"error"' in data):
            try:
                error: object = orjson.loads(data)
            except orjson.JSONDecodeError:
                error = data.decode(errors="replace")
            return orjson.dumps({"error": error})
        return data if is_json or not name else b""


def check_length(size: int) -> None:
    if size > LONGEST:
        raise VendorError("invalid_response", f"The vendor sent a line of more than {LONGEST:,} bytes.")
