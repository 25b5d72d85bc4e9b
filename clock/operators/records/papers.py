"""A folder of text files that is there whole or not at all: written under another name, each file's SHA-256 and lines
counted while it is written."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import msgspec

from clock.operators.records.files import MANIFEST, sync_folder

SPECIAL = re.compile(r"[\\\n\r]")
"""But for tabs, which are counted: a million rows have few of either."""
ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Written(msgspec.Struct, frozen=True):
    """What a file holds."""

    sha256: str
    bytes: int
    lines: int


class Folder:
    """The files of a folder that has not got its name yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files: dict[str, Written] = {}

    @contextmanager
    def paper(self, name: str) -> Iterator["Paper"]:
        """A new file, which is on disk at the end."""
        with Paper(self._path / name) as paper:
            yield paper
        self.files[name] = paper.written

    def write(self, name: str, text: str) -> None:
        """A file of one piece."""
        with self.paper(name) as paper:
            paper.write([text])

    def end(self, manifest: bytes) -> str:
        """Write the manifest as the last file; its SHA-256."""
        self.write(MANIFEST, manifest.decode())
        return self.files.pop(MANIFEST).sha256


class Paper:
    """A text file that nobody else may read."""

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._sha256 = hashlib.sha256()
        self._bytes = self._lines = 0

    def __enter__(self) -> "Paper":
        return self

    def __exit__(self, error: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with self._file:
            if error is None:
                self._file.flush()
                os.fsync(self._file.fileno())

    def write(self, texts: Iterable[str]) -> None:
        raw = "".join(texts).encode()
        self._sha256.update(raw)
        self._bytes += len(raw)
        self._lines += raw.count(b"\n")
        self._file.write(raw)

    @property
    def written(self) -> Written:
        return Written(self._sha256.hexdigest(), self._bytes, self._lines)


@contextmanager
def folder(to: Path) -> Iterator[Folder]:
    """``to``, which must not be there, once the block has ended; nothing of it where it raises. Raises ``OSError``."""
    part = Path(tempfile.mkdtemp(prefix=f"{to.name}.", suffix=".part", dir=to.parent))  # private
    try:
        yield Folder(part)
        sync_folder(part)
        part.rename(to)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(to.parent)


def row(*values: object) -> str:
    """A line of values, separated by tabs; an absent one is empty. What would end a value or a line is written as
    Postgres' COPY does: ``\\t``, ``\\n``, ``\\r``, ``\\\\``."""
    texts = ["" if value is None else str(value) for value in values]
    line = "\t".join(texts)
    if SPECIAL.search(line) or line.count("\t") >= len(texts):
        line = "\t".join(text.translate(ESCAPED) for text in texts)
    return f"{line}\n"
