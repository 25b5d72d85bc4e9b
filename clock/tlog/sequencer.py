"""Takes statements into the log: gives each the next place, and signs what the log is then.

One at a time, and all of a batch in one transaction: places, hashes and checkpoint are there together or not at all, so
whoever is killed leaves nothing half done. What waits is written by the transaction that writes the statement
(``log_waiting``), so none is skipped, in whatever order transactions commit.
"""

from typing import Any

from clock.books.store import LOG_LOCK, Connection, Store, by_key, rows, run_many
from clock.fair import tiles
from clock.fair.checkpoints import Checkpoint
from clock.fair.tiles import Span
from clock.proofs.statements import Signing

BATCH = 256
"""Statements that one checkpoint takes in; there are three or four a day."""


async def take_some(store: Store, signing: Signing) -> int:
    """Take what waits, oldest first, at most :data:`BATCH`; how many. None while another process does. Raises
    :class:`~clock.domain.outcomes.Unavailable`, also without a key."""
    if not await store.one("is_log_due"):
        return 0
    async with store.transaction() as connection:
        if not (await rows(connection, "try_lock_log", lock=LOG_LOCK))[0]["locked"]:
            return 0
        await by_key(connection)
        waiting = await rows(connection, "log_waiting", limit=BATCH)
        if waiting:
            await _take(connection, signing, waiting)
        return len(waiting)


async def _take(connection: Connection, signing: Signing, waiting: list[dict[str, Any]]) -> None:
    found = await rows(connection, "last_checkpoint")
    old = found[0]["size"] if found else 0
    size = old + len(waiting)
    edge = await hashes_of(connection, tiles.edge(old))
    added = tiles.grow(edge, old, [row["text"].encode() for row in waiting])
    known = {**edge, **added}
    root = tiles.root((0, size), known)
    note = await signing.note(connection, str(Checkpoint(signing.origin, size, root)))
    await rows(connection, "write_checkpoint", size=size, root=root, note=note)
    hashes = [{"level": level, "index": index, "hash": value} for (level, index), value in added.items()]
    await run_many(connection, "write_log_hash", hashes)
    entries = [
        {
            "index": index,
            "day": row["day"],
            "kind": row["kind"],
            "checkpoint": size,
            "path": b"".join(tiles.root(one, known) for one in tiles.inclusion(index, size)),
        }
        for index, row in enumerate(waiting, old)
    ]
    await run_many(connection, "write_log_entry", entries)
    await run_many(connection, "log_taken", [{"day": row["day"], "kind": row["kind"]} for row in waiting])


async def hashes_of(connection: Connection, spans: list[Span]) -> dict[tuple[int, int], bytes]:
    """The hashes of some spans, by level and index."""
    await by_key(connection)
    levels, firsts, lengths = ([span[part] for span in spans] for part in range(3))
    found = await rows(connection, "log_hashes", levels=levels, firsts=firsts, lengths=lengths)
    return {(row["level"], row["index"]): row["hash"] for row in found}
