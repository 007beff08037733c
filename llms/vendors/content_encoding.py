"""Reads compressed bodies. We ask for none, but some proxies compress all the same."""

import zlib
from collections.abc import Iterator

from llms.vendors.errors import VendorError

LARGEST_PIECE = 2**20  # bytes, so that a small body cannot fill the memory
INFLATED = ("gzip", "x-gzip", "deflate")
UNREADABLE = {"br": "Brotli", "zstd": "Zstandard", "compress": "LZW", "x-compress": "LZW"}
GZIP_MARK = b"\x1f\x8b"


class Inflater:
    """Decompresses a body with one of the encodings INFLATED."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream = zlib.decompressobj()
        self._has_begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk contains, in pieces of at most LARGEST_PIECE bytes; raises VendorError."""
        piece = b""
        while chunk or len(piece) == LARGEST_PIECE:
            if not self._has_begun or self._stream.eof:
                if self._has_begun and not chunk.startswith(GZIP_MARK):
                    return  # padding after the end
                is_bare = self._encoding == "deflate" and chunk[0] & 15 != 8  # without the header that it should have
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32)
                self._has_begun = True
            try:
                piece = self._stream.decompress(chunk, LARGEST_PIECE)
            except zlib.error:
                words = f"The vendor's answer is not compressed with {self._encoding}, as it says."
                raise VendorError("invalid_response", words) from None
            yield piece
            chunk = self._stream.unconsumed_tail or self._stream.unused_data


def content_coding(header: str) -> str:
    """The encoding that a Content-Encoding names, empty if the body is as it is; unknown words count as that."""
    words = [word.strip().lower() for word in header.split(",")]
    return next((word for word in words if word in INFLATED or word in UNREADABLE), "")


def describe_unreadable(coding: str) -> str:
    """What a body with one of the encodings UNREADABLE is, in words."""
    return f"a body compressed with {UNREADABLE[coding]} ({coding}), as a proxy may do it"
