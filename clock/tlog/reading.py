"""What is public of the log: its newest checkpoint, tiles, entries, and where a round's statements are in it.

P has a round's seed, and is in the log before the round is settled. Until then its hash is public, and its text is not:
the checkpoint that is served is the newest one all of whose entries can be read, so that whoever has read a checkpoint
finds everything below it.
"""

import re
from datetime import date
from typing import Any

from clock.books.store import Store
from clock.domain.rounds import ENDED_STATES
from clock.fair.tiles import Span
from clock.fair.trees import TILE
from clock.tlog.sequencer import hashes_of

HASH_BYTES = 32

ENTRIES = "entries"

_PATH = re.compile(r"([0-7]|entries)/(?:x([0-9]{3})/)?([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
"""The level; the number in digits by three, all but the last three after an ``x``; for a tile that is not full how many
it has. A million tiles have 256 million statements."""


async def at(store: Store, path: str) -> bytes | None:
    """What stands at a path below ``/tile/``; None if nothing does. It never changes. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    found = _PATH.fullmatch(path)
    if not found or found[2] == "000":
        return None
    width = int(found[4]) if found[4] else TILE
    if found[4] and width >= TILE:
        return None
    first = int((found[2] or "") + found[3]) * TILE
    if found[1] == ENTRIES:
        return await _entries(store, first, first + width)
    return await _tile(store, Span(int(found[1]), first, width))


async def checkpoint(store: Store) -> str | None:
    """The newest checkpoint all of whose entries are public, with its cosignatures; None before there is one. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    row = await store.one("latest_checkpoint", most=None)
    private = await _first_private(store)
    if row and private is not None and row["size"] > private:
        row = await store.one("latest_checkpoint", most=private)
    return row["note"] + row["lines"] if row else None


async def _tile(store: Store, span: Span) -> bytes | None:
    """Its hashes; None if the log is not so large."""
    async with store.transaction() as connection:
        found = await hashes_of(connection, [span])
    if len(found) < span.length:
        return None
    return b"".join(found[span.level, index] for index in range(span.first, span.first + span.length))


async def _entries(store: Store, first: int, last: int) -> bytes | None:
    """Texts of statements, two bytes of length before each; None if one of them is not there, or not public yet."""
    found = [row["text"].encode() for row in await store.page("log_texts", first=first, last=last)]
    private = await _first_private(store)
    if len(found) < last - first or (private is not None and last > private):
        return None
    return b"".join(len(text).to_bytes(2, "big") + text for text in found)


async def _first_private(store: Store) -> int | None:
    """To be asked after what it concerns was read: P may be taken into the log in between."""
    found = await store.page("first_private", ended=list(ENDED_STATES))
    index: int | None = found[0]["index"]
    return index


async def logged(store: Store, day: date) -> dict[str, dict[str, Any]]:
    """By kind of a round's statements that are in the log: ``index``, and of the first checkpoint that has it ``size``,
    ``path``, ``note``, ``lines``, the cosignatures below it, and ``witnesses``, the keys that made them. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    found = {}
    for row in await store.page("logged", day=day):
        path = [row["path"][at : at + HASH_BYTES].hex() for at in range(0, len(row["path"]), HASH_BYTES)]
        found[row["kind"]] = {**row, "path": path}
    return found
