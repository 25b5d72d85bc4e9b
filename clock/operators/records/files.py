"""The files of an archived month: compressed CSV, a manifest, and the proof that what was written can be read."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

MANIFEST = "MANIFEST.json"
READ_BYTES = 1 << 14
"""Of compressed text, which becomes at most a thousand times as much."""
WRITE_BYTES = 1 << 20


class Damaged(Exception):
    """A file is not what its manifest says, or cannot be read."""


class Content(msgspec.Struct, frozen=True):
    """What a file holds: ``csv_sha256`` is of the text, ``sha256`` of the file; ``rows`` without the head."""

    rows: int
    bytes: int
    sha256: str
    csv_bytes: int
    csv_sha256: str


class TableFile(msgspec.Struct, frozen=True):
    """A table in the manifest. ``by_kind``: count and sum in fen of each kind or state."""

    file: str
    columns: list[str]
    content: Content
    by_kind: dict[str, dict[str, int | None]]


class Manifest(msgspec.Struct, frozen=True):
    """What a month's archive has, and from which database: the same month gives the same text."""

    month: str
    migrations: list[str]
    left_out: dict[str, list[str]]
    tables: dict[str, TableFile]
    rounds: list[dict[str, Any]]


class Writer:
    """A text that becomes a compressed file: it has its name once it is whole and on disk."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._waiting = bytearray()
        self._text = hashlib.sha256()
        self._file = self._part.open("wb")
        self._gzip = gzip.GzipFile(
            filename="", mode="wb", fileobj=self._file, mtime=0
        )  # no time: the same text, the same file

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, error: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if error is None:
                self._flush()
                self._gzip.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._part.replace(self._path)
                sync_folder(self._path.parent)
        finally:
            with suppress(OSError):  # a full disk, which is being reported
                self._gzip.close()
            with suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        self._waiting += piece
        if len(self._waiting) >= WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._text.update(self._waiting)
        self._gzip.write(self._waiting)
        self._waiting.clear()

    @property
    def csv_sha256(self) -> str:
        return self._text.hexdigest()


class Reader:
    """A compressed file in pieces of text. ``content`` is known at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self._text = hashlib.sha256(), hashlib.sha256()
        self._bytes = self._csv_bytes = self._lines = 0
        self._quoted = False

    def __iter__(self) -> Iterator[bytes]:
        """Raises :class:`Damaged` for what is no whole file."""
        unpacking = zlib.decompressobj(wbits=31)
        with self._path.open("rb") as file:
            while packed := file.read(READ_BYTES):
                self._file.update(packed)
                self._bytes += len(packed)
                try:
                    text = unpacking.decompress(packed)
                except zlib.error as error:
                    raise Damaged(f"{self._path}: {error}") from None
                self._count(text)
                yield text
        if not unpacking.eof or unpacking.unused_data:
            raise Damaged(f"{self._path}: it breaks off, or goes on after its end")

    def _count(self, text: bytes) -> None:
        """Lines: what ends one within quotes does not count."""
        self._text.update(text)
        self._csv_bytes += len(text)
        for number, part in enumerate(text.split(b'"')):
            if number:
                self._quoted = not self._quoted
            if not self._quoted:
                self._lines += part.count(b"\n")

    @property
    def content(self) -> Content:
        return Content(
            rows=self._lines - 1,
            bytes=self._bytes,
            sha256=self._file.hexdigest(),
            csv_bytes=self._csv_bytes,
            csv_sha256=self._text.hexdigest(),
        )


def content_of(path: Path) -> Content:
    """Read a whole file back. Raises :class:`Damaged`."""
    reader = Reader(path)
    for _ in reader:
        pass
    return reader.content


def write_manifest(folder: Path, manifest: Manifest) -> bytes:
    """Write it as the last file; its SHA-256."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    part = folder / f"{MANIFEST}.part"
    with part.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / MANIFEST)
    sync_folder(folder)
    if (folder / MANIFEST).read_bytes() != text:
        raise Damaged(f"{folder / MANIFEST}: it does not read as it was written")
    return hashlib.sha256(text).digest()


def read_manifest(folder: Path, sha256: bytes) -> Manifest:
    """Raises :class:`Damaged` unless it is the one with this checksum, and ``OSError`` where there is none."""
    text = (folder / MANIFEST).read_bytes()
    if hashlib.sha256(text).digest() != sha256:
        raise Damaged(f"{folder / MANIFEST}: it is not the one that the database knows ({sha256.hex()})")
    return msgspec.json.decode(text, type=Manifest)


def make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
