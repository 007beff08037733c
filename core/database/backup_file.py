"""The file of a backup: a zip with one member of JSON lines for each table, `manifest.json`, and a SHA-256 at its end.

The digest is the end of the zip's comment, so that it covers all bytes before it and common tools still open the file.
It detects damage, not forgery: anyone who can write the file can compute a digest.
"""

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypedDict

MARK = b"AI Studio backup, sha256 "
FORMAT = 1
MANIFEST = "manifest.json"
DIGEST_LENGTH = 64
CHUNK = 2**20
COMPRESSION = 1  # zlib's level: three times as fast as its default, for a file that is a tenth larger


class TableSummary(TypedDict):
    """What the manifest says of a table: the number of rows, and the names of the columns."""

    rows: int
    columns: list[str]


class Manifest(TypedDict, total=False):
    """What a backup says of itself. It is read and checked before anything is restored."""

    format: int
    version: str  # of the program
    made_at: str
    database: str  # "sqlite" or "postgresql"
    note: str
    field_keys: list[str]  # fingerprints
    migrations: list[tuple[str, str]]
    tables: dict[str, TableSummary]


class Damaged(Exception):
    """A file that is no backup, or is not as it was written."""


@dataclass(frozen=True)
class BackupWriter:
    """Writes the content of a backup. Call `add` for each table, then `close` once."""

    zip: zipfile.ZipFile

    def add(self, name: str, lines: Iterable[bytes]) -> int:
        """Write the lines of one table; returns how many there were."""
        count = 0
        with self.zip.open(f"{name}.jsonl", "w", force_zip64=True) as member:
            for line in lines:
                member.write(line + b"\n")
                count += 1
        return count

    def close(self, manifest: Manifest) -> None:
        self.zip.writestr(MANIFEST, json.dumps({"format": FORMAT, **manifest}, indent=1))
        self.zip.comment = MARK + b"0" * DIGEST_LENGTH  # DigestWriter replaces the zeros
        self.zip.close()


class DigestWriter:
    """Passes on what is written, but for the last DIGEST_LENGTH bytes, and computes the SHA-256 of what it passed on.

    It has no `seek`, so that zipfile writes from the beginning to the end, as a pipe needs it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.held_back = b""

    def write(self, data: bytes) -> int:
        known = self.held_back + data
        passed, self.held_back = known[:-DIGEST_LENGTH], known[-DIGEST_LENGTH:]
        self.digest.update(passed)
        self.file.write(passed)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


@dataclass(frozen=True)
class BackupReader:
    """A backup whose digest was checked. Obtain one from `open_backup`."""

    zip: zipfile.ZipFile
    manifest: Manifest

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines that BackupWriter.add wrote under this name. Raises Damaged."""
        try:
            with self.zip.open(f"{name}.jsonl") as member:
                yield from member
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError):
            raise Damaged(f"The backup's rows of {name} cannot be read.") from None


@contextmanager
def open_backup(path: Path) -> Iterator[BackupReader]:
    """Check the digest and yield a reader of the same open file, so that nobody can replace it after the check.

    Raises Damaged.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}.") from None
    with file:
        trailer = read_trailer(file)
        if not trailer.startswith(MARK):
            raise Damaged(f"{path} is no backup of AI Studio, or its end is missing.")
        if trailer.removeprefix(MARK) != compute_digest(file):
            raise Damaged(f"{path} is damaged: its SHA-256 does not match.")
        try:
            archive = zipfile.ZipFile(file)
            manifest: Manifest = json.loads(archive.read(MANIFEST))
            version = manifest["format"]
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
            raise Damaged(f"{path} is no backup of AI Studio.") from None
        if version != FORMAT:
            raise Damaged(f"{path} has the format {version}; this version reads {FORMAT}.")
        yield BackupReader(archive, manifest)


@contextmanager
def stream_backup(file: IO[bytes]) -> Iterator[BackupWriter]:
    """Yield the writer of a backup to a file or pipe. What is written is no backup until the end."""
    stream: Any = DigestWriter(file)
    archive = zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION)
    try:
        yield BackupWriter(archive)
    except BaseException:
        stream.file = BytesIO()  # zipfile wants to write its end
        archive.close()
        raise
    file.write(stream.digest.hexdigest().encode())
    file.flush()


@contextmanager
def create_backup_file(path: Path) -> Iterator[BackupWriter]:
    """Yield the writer of a backup. Its file appears at `path` when it is complete, readable by its owner alone.

    It replaces an older backup. Raises Damaged if `path` is anything else, OSError if it cannot be written.
    """
    if path.is_file():
        with path.open("rb") as older:
            is_replaceable = read_trailer(older).startswith(MARK)  # its content may be damaged
    else:
        is_replaceable = not path.exists()
    if not is_replaceable:
        raise Damaged(f"{path} exists and is no backup, so it is left alone.")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            with stream_backup(file) as writer:
                yield writer
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


def read_trailer(file: IO[bytes]) -> bytes:
    """The last bytes of the file: MARK and the digest, if it is a backup."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(MARK) - DIGEST_LENGTH))
    return file.read()


def compute_digest(file: IO[bytes]) -> bytes:
    """The SHA-256, in hex, of the file without the digest at its end."""
    left = file.seek(0, os.SEEK_END) - DIGEST_LENGTH
    file.seek(0)
    digest = hashlib.sha256()
    while left:
        chunk = file.read(min(left, CHUNK))
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()
