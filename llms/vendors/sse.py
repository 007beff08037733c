"""Server-sent events, out of bytes that come cut anywhere."""

from collections.abc import Iterator

from llms.vendors.errors import VendorError

LONGEST = 2**20  # bytes of a line, and of the data of an event
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Events:
    """Gives the data of each event as soon as it is complete; comments, names and ids are left out."""

    def __init__(self) -> None:
        self._at_start = True
        self._after_return = False  # the last byte was \r: an \n that follows belongs to it
        self._begun: list[bytes] = []  # the pieces of a line whose end has not come
        self._begun_size = 0
        self._data: list[bytes] = []  # the lines of the event whose end has not come
        self._data_size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of the events that this completes; VendorError where one is longer than LONGEST."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if not chunk:
            return
        self._after_return = chunk[-1] == 13
        lines = chunk.splitlines()  # of bytes: at \n, \r\n and \r, as the format has it
        rest = b"" if chunk[-1] in b"\r\n" else lines.pop()
        if lines:
            self._complete(lines)
        for line in lines:
            if not line:
                if data := b"\n".join(self._data):
                    yield data
                self._data.clear()
                self._data_size = 0
            elif len(line) > LONGEST:
                raise too_long()
            elif line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
        if rest:
            self._begun.append(rest)  # joined once, however small the pieces come
            self._begun_size += len(rest)
            if self._begun_size > LONGEST:
                raise too_long()

    def close(self) -> Iterator[bytes]:
        """The data of an event that the end cut off from its empty line."""
        return self.feed(b"\n\n")

    def _complete(self, lines: list[bytes]) -> None:
        """The first of the lines is the end of one that had begun."""
        if self._begun:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun.clear()
            self._begun_size = 0
        if self._at_start:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
            self._at_start = False

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._data_size += len(data)
        if self._data_size > LONGEST:
            raise too_long()


def too_long() -> VendorError:
    return VendorError("invalid_response", f"The vendor sent a line of more than {LONGEST:,} bytes.")
