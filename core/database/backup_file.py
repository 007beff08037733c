"""The file of a backup: a zip with a line of JSON for each row, `manifest.json`, and the SHA-256 of all before it.

The digest is the end of the zip's comment, so that any altered byte is found and common tools still open the file.
It tells what broke on its way, not who wrote it: whoever can write the file can make a digest.
"""

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

MARK = b"AI Studio backup, sha256 "
FORMAT = 1
MANIFEST = "manifest.json"
DIGEST_LENGTH = 64
CHUNK = 2**20
QUICK = 1  # zlib's level: three times as fast as the usual one, and a tenth larger

Manifest = dict[str, Any]


class Damaged(Exception):
    """No backup, or one that is not as it was written."""


class Writer:
    """A backup that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=QUICK)

    def add(self, name: str, lines: Iterable[bytes]) -> None:
        with self.zip.open(f"{name}.jsonl", "w", force_zip64=True) as member:
            member.writelines(line + b"\n" for line in lines)

    def close(self, manifest: Manifest) -> None:
        self.zip.writestr(MANIFEST, json.dumps({"format": FORMAT, **manifest}, indent=1))
        self.zip.comment = MARK + b"0" * DIGEST_LENGTH
        self.zip.close()


class Reader:
    """A backup that is whole; raises Damaged. The file stays open, so that what was checked is what is read."""

    def __init__(self, path: Path) -> None:
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {error.strerror}.") from None
        try:
            check_digest(self.file, path)
            self.zip = zipfile.ZipFile(self.file)
            self.manifest: Manifest = json.loads(self.zip.read(MANIFEST))
            if not isinstance(self.manifest, dict):
                raise ValueError
            if self.manifest["format"] != FORMAT:
                raise Damaged(f"{path} has the format {self.manifest['format']}; this version reads {FORMAT}.")
        except BaseException as error:
            self.file.close()
            if isinstance(error, zipfile.BadZipFile | KeyError | ValueError):
                raise Damaged(f"{path} is no backup of AI Studio.") from None
            raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def lines(self, name: str) -> Iterator[bytes]:
        try:
            with self.zip.open(f"{name}.jsonl") as member:
                yield from member
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError):
            raise Damaged(f"The backup's rows of {name} cannot be read.") from None


@contextmanager
def written(path: Path) -> Iterator[Writer]:
    """What becomes the file at once when it is whole, readable by its owner alone, in the place of an older backup.

    Raises Damaged where something else is in its place, OSError where it cannot be written.
    """
    if path.exists() and not (path.is_file() and is_backup(path)):
        raise Damaged(f"{path} is there and is no backup: it is left alone.")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with open(descriptor, "w+b") as file:
            yield Writer(file)
            sign(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_backup(path: Path) -> bool:
    """Whether it ends as one; it may still be damaged."""
    with path.open("rb") as file:
        return ending(file).startswith(MARK)


def ending(file: IO[bytes]) -> bytes:
    """The mark and the digest, where there are some."""
    size, length = file.seek(0, os.SEEK_END), len(MARK) + DIGEST_LENGTH
    file.seek(max(0, size - length))
    return file.read()


def sign(file: IO[bytes]) -> None:
    digest = digest_of(file)
    file.seek(-DIGEST_LENGTH, os.SEEK_END)
    file.write(digest)


def check_digest(file: IO[bytes], path: Path) -> None:
    found = ending(file)
    if not found.startswith(MARK):
        raise Damaged(f"{path} is no backup of AI Studio, or its end is missing.")
    if found.removeprefix(MARK) != digest_of(file):
        raise Damaged(f"{path} is not as it was written: its SHA-256 is another.")


def digest_of(file: IO[bytes]) -> bytes:
    """The SHA-256, in hex, of all but the digest at the end."""
    left = file.seek(0, os.SEEK_END) - DIGEST_LENGTH
    file.seek(0)
    digest = hashlib.sha256()
    while left:
        chunk = file.read(min(left, CHUNK))
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()
