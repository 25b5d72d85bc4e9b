"""Trees over the books: read in order, a page at a time, and kept so far that a path needs one tile of leaves.

Memory: a page of rows, and for each leaf the 8 bytes that say whose it is.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import date
from itertools import islice
from typing import Any

from clock.books.store import Connection, Store, rows
from clock.domain import progress
from clock.domain.rounds import SPLIT_STATES
from clock.fair import leaves
from clock.fair.leaves import Kind
from clock.fair.statements import Tree
from clock.fair.trees import TILE, Builder
from clock.rounds.recorded import Recorded

LINES, PAGE = 1_000, 10
"""Leaves of a row, and rows of a page."""
PIECE, PIECES = 500, 10
"""Packets of one row, and rows of a page."""
UID_BYTES = 8

Reader = Callable[[Recorded, list[str]], tuple[list[str], list[int]]]


class Grown:
    """A tree and whose leaves it has."""

    def __init__(self) -> None:
        self._builder = Builder()
        self._uids = bytearray()

    def extend(self, texts: Sequence[str], uids: Sequence[int] = ()) -> None:
        self._builder.extend(text.encode() for text in texts)
        self._uids += b"".join([uid.to_bytes(UID_BYTES, "big") for uid in uids])

    @property
    def size(self) -> int:
        return self._builder.size

    @property
    def tree(self) -> Tree:
        return Tree(self._builder.size, self._builder.root)

    async def keep(self, connection: Connection, day: date, kind: Kind) -> None:
        """In the books, instead of an earlier one."""
        step = TILE * UID_BYTES
        firsts = b"".join(self._uids[start : start + UID_BYTES] for start in range(0, len(self._uids), step))
        kept = {"tiles": b"".join(self._builder.tiles), "firsts": firsts, "uids": bytes(self._uids)}
        await rows(connection, "write_tree", day=day, kind=kind, size=self._builder.size, **kept)


async def stakes(store: Store, round_: Recorded) -> Grown:
    """Members by shard and uid. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    given = {"day": round_.day, "shards": round_.rules.shards, "lines": LINES}
    return await _grown(stake_leaves, round_, store.pages("stake_leaves", PAGE, **given))


async def checked_in(store: Store, round_: Recorded) -> Grown:
    """Winners by shard and rank. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    given = {"day": round_.day, "shards": round_.rules.shards, "lines": LINES}
    return await _grown(checked_in_leaves, round_, store.pages("checked_in_leaves", PAGE, **given))


async def _grown(read: Reader, round_: Recorded, pages: AsyncGenerator[list[dict[str, Any]], None]) -> Grown:
    grown = Grown()
    async with aclosing(pages) as all_pages:
        async for page in all_pages:
            for row in page:
                await asyncio.to_thread(lambda lines: grown.extend(*read(round_, lines)), row["lines"].split("\n"))
            progress.at("tree", grown.size)
    return grown


def stake_leaves(round_: Recorded, lines: list[str]) -> tuple[list[str], list[int]]:
    """Leaves and whose they are, from lines of ``stake_leaves``."""
    texts, uids = [], []
    for line in lines:
        shard, uid, order_no, fen = line.split(" ")
        uids.append(int(uid))
        texts.append(stake_leaf(round_, int(shard), uids[-1], order_no, int(fen)))
    return texts, uids


def checked_in_leaves(round_: Recorded, lines: list[str]) -> tuple[list[str], list[int]]:
    """The same from lines of ``checked_in_leaves``."""
    texts, uids = [], []
    for line in lines:
        shard, rank, uid, at_ms = map(int, line.split(" "))
        uids.append(uid)
        texts.append(checked_in_leaf(round_, shard, rank, uid, at_ms))
    return texts, uids


def stake_leaf(round_: Recorded, shard: int, uid: int, order_no: str, fen: int) -> str:
    """With the user's salt."""
    assert round_.salt_key is not None
    return leaves.stake(str(round_.day), shard, uid, order_no, fen, leaves.salt_of(round_.salt_key, "stake", uid))


def checked_in_leaf(round_: Recorded, shard: int, rank: int, uid: int, at_ms: int) -> str:
    """With the user's salt."""
    assert round_.salt_key is not None
    salt = leaves.salt_of(round_.salt_key, "checked_in", uid)
    return leaves.checked_in(str(round_.day), shard, rank, uid, at_ms, salt)


async def regrow(store: Store, round_: Recorded) -> None:
    """The trees of a round whose rows are in the database again. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    split = round_.state in SPLIT_STATES  # or it was called off, perhaps when it was sealed
    if round_.salt_key is None or not (split or await store.one("get_statement", day=round_.day, kind="closed")):
        return
    trees: dict[Kind, Grown] = {"stake": await stakes(store, round_), "checked_in": await checked_in(store, round_)}
    if split:
        trees["packet"] = await _manifest(store, round_.day)
    async with store.transaction() as connection:
        for kind, grown in trees.items():
            await grown.keep(connection, round_.day, kind)


async def _manifest(store: Store, day: date) -> Grown:
    grown = Grown()
    async with aclosing(store.pages("packet_pieces", PIECES, day=day, piece=PIECE)) as pages:
        async for page in pages:
            for piece in page:
                some = packet_leaves(day, piece)
                await asyncio.to_thread(grown.extend, some)
    return grown


def packet_leaves(day: date, piece: dict[str, Any]) -> list[str]:
    """From a row of ``packet_pieces`` of :data:`PIECE`."""
    first = piece["piece"] * PIECE + 1
    fens = enumerate(map(int, piece["fens"].split()), first)
    return [leaves.packet(day.isoformat(), piece["shard"], rank, fen) for rank, fen in fens]


def packets(day: date, winners: Sequence[int], fens: Sequence[int]) -> Grown:
    """Packets by shard and rank; ``winners``: of each shard. Takes a second for a million."""
    grown, texts = Grown(), _packet_leaves(day, winners, iter(fens))
    while some := list(islice(texts, LINES)):
        grown.extend(some)
    return grown


def _packet_leaves(day: date, winners: Sequence[int], fens: Iterator[int]) -> Iterator[str]:
    of = day.isoformat()
    for shard, count in enumerate(winners):
        for rank, fen in enumerate(islice(fens, count), 1):
            yield leaves.packet(of, shard, rank, fen)
