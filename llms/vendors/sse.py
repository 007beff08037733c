"""Decodes server-sent events from bytes that arrive cut anywhere."""

from collections.abc import Iterator

from llms.vendors.errors import VendorError

LONGEST = 2**20  # bytes of a line, and of the data of an event
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SSEDecoder:
    """Yields the data of each event as soon as it is complete; skips comments, names and ids."""

    def __init__(self) -> None:
        self._at_start = True
        self._after_return = False  # the last byte was \r, so a \n that follows belongs to it
        self._pieces: list[bytes] = []  # of the line that is not complete
        self._pieces_size = 0
        self._data: list[bytes] = []  # the lines of the event that is not complete
        self._data_size = 0

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
        if lines and self._at_start:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
            self._at_start = False
        for line in lines:
            if not line:
                if data := b"\n".join(self._data):
                    yield data
                self._data.clear()
                self._data_size = 0
            elif len(line) > LONGEST:
                raise line_too_long()
            elif line.startswith(b"data:"):
                data = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(data)
                self._data_size += len(data)
                if self._data_size > LONGEST:
                    raise line_too_long()
        if rest:
            self._pieces.append(rest)  # joined only once, however small the pieces are
            self._pieces_size += len(rest)
            if self._pieces_size > LONGEST:
                raise line_too_long()

    def close(self) -> Iterator[bytes]:
        """The data of a last event without the empty line that should end it."""
        return self.feed(b"\n\n")


def line_too_long() -> VendorError:
    return VendorError("invalid_response", f"The vendor sent a line of more than {LONGEST:,} bytes.")
