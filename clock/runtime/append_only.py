"""The end of the embedded Valkey's append-only file after a loss of power, and what Valkey says where it cannot read
the file (docs/decisions/0045)."""

import os
import re
import shutil
from pathlib import Path
from typing import BinaryIO

import structlog

log = structlog.get_logger("clock.embedded")

MANIFEST = Path("appendonlydir", "appendonly.aof.manifest")
_LAST = re.compile(r"^file (\S+) seq \d+ type i", re.MULTILINE)
_UNREADABLE = re.compile(r"reading the append only file ([^\s:,]+)", re.IGNORECASE)
_BLOCK = 64 * 1024


def cut_zeros(data: Path) -> None:
    """Cut zeros off the end of the newest append-only file, and keep a copy of it as it was.

    Some file systems lengthen a file before its content is on disk. Every command ends with a line feed, and is on disk
    before it is answered: so zeros at the end are nothing that was acknowledged. Valkey refuses them, and cuts off
    itself what then remains of an incomplete command.
    """
    path = _newest(data)
    if path is None:
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = _end_of_data(file, size)
        if end == size:
            return
        copy = data / f"{path.name}.with-zeros"
        shutil.copyfile(path, copy)
        file.truncate(end)
        os.fsync(file.fileno())
    log.warning("zeros_cut", file=str(path), zeros=size - end, bytes_left=end, copy=str(copy))


def _newest(data: Path) -> Path | None:
    manifest = data / MANIFEST
    names = _LAST.findall(manifest.read_text()) if manifest.exists() else []
    path = manifest.with_name(names[-1]) if names else None
    return path if path is not None and path.exists() else None


def _end_of_data(file: BinaryIO, size: int) -> int:
    """The position after the last byte that is not zero."""
    end = size
    while end:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        block = file.read(end - begin).rstrip(b"\0")
        if block:
            return begin + len(block)
        end = begin
    return 0


def unreadable(data: Path, said: list[str]) -> str:
    """What to do, if ``said``, the last lines of Valkey's output, name an append-only file that it cannot read; empty:
    they do not."""
    for line in said:
        if found := _UNREADABLE.search(line):
            return (
                f"Valkey cannot read {data / MANIFEST.parent / found[1]}: the file is damaged before its end; "
                "docs/operations.md says under 'A damaged append-only file' what to type"
            )
    return ""
