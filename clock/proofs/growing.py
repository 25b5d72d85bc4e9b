"""Trees over the books: read in order, a page at a time, and kept so far that a path needs one tile of leaves.

Memory: a page of rows, and for each leaf the 8 bytes that say whose it is.
"""

import asyncio
import struct
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from datetime import date
from itertools import islice
from typing import Any, Literal

from clock.books.store import Connection, Store, rows
from clock.domain import progress
from clock.domain.rounds import SPLIT_STATES
from clock.fair import leaves
from clock.fair.leaves import Kind
from clock.fair.statements import Tree
from clock.fair.trees import TILE, Builder
from clock.rounds.recorded import Recorded

LEAVES, PAGE = 1_000, 10
"""Leaves of a row, and rows of a page."""
PIECE, PIECES = 500, 10
"""Packets of one row, and rows of a page."""
UID_BYTES = 8

Salted = Literal["stake", "checked_in"]

UID_AT: dict[Salted, int] = {"stake": 1, "checked_in": 2}
"""Which of a leaf's values says whose it is."""


class Grown:
    """A tree and whose leaves it has."""

    def __init__(self) -> None:
        self._builder = Builder()
        self._uids = bytearray()

    def extend(self, texts: Sequence[str], uids: Sequence[int] = ()) -> None:
        self._builder.extend(text.encode() for text in texts)
        self._uids += struct.pack(f">{len(uids)}q", *uids)

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
    return await _grown(store, round_, "stake", "stake_leaves")


async def checked_in(store: Store, round_: Recorded) -> Grown:
    """Winners by shard and rank. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    return await _grown(store, round_, "checked_in", "checked_in_leaves")


async def _grown(store: Store, round_: Recorded, kind: Salted, query: str) -> Grown:
    grown = Grown()
    given = {"day": round_.day, "shards": round_.rules.shards, "leaves": LEAVES}
    async with aclosing(store.pages(query, PAGE, **given)) as pages:
        async for page in pages:
            await asyncio.to_thread(_extend, grown, round_, kind, page)
            progress.at(f"tree {kind}", grown.size)
    return grown


def _extend(grown: Grown, round_: Recorded, kind: Salted, page: list[dict[str, Any]]) -> None:
    for row in page:
        grown.extend(*salted_leaves(round_, kind, row))


def salted_leaves(round_: Recorded, kind: Salted, row: dict[str, Any]) -> tuple[list[str], list[int]]:
    """Leaves and whose they are, from a row of ``stake_leaves`` or ``checked_in_leaves``."""
    assert round_.salt_key is not None
    day, place = round_.day.isoformat(), UID_AT[kind]
    values = row["leaves"].split(" ")
    uids = [int(one.split("\n", 3)[place]) for one in values]
    salts = leaves.Salts(round_.salt_key, kind).of_all(uids)
    return [leaves.salted(kind, day, one, salt) for one, salt in zip(values, salts, strict=True)], uids


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
    while some := list(islice(texts, LEAVES)):
        grown.extend(some)
    return grown


def _packet_leaves(day: date, winners: Sequence[int], fens: Iterator[int]) -> Iterator[str]:
    of = day.isoformat()
    for shard, count in enumerate(winners):
        for rank, fen in enumerate(islice(fens, count), 1):
            yield leaves.packet(of, shard, rank, fen)
