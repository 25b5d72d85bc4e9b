"""The path of a user's leaf to the root that a statement names: one tile of leaves is read, and the tiles' roots."""

import base64
import hmac
from collections.abc import Sequence
from datetime import date
from itertools import accumulate
from typing import Any

from clock.books.months import has_left
from clock.books.store import Store
from clock.domain.outcomes import Answer
from clock.domain.rounds import SETTLED_STATES, VOID_STATES
from clock.fair import leaves
from clock.fair.leaves import Kind
from clock.fair.trees import TILE, leaf_hash, path_in, root_above
from clock.game.keys import shard_of
from clock.proofs.growing import UID_BYTES, checked_in_leaf, stake_leaf
from clock.rounds import recorded
from clock.rounds.recorded import Recorded

HASH_BYTES = 32


async def proof(store: Store, day: date, kind: Kind, uid: int, salt: str | None = None) -> Answer:
    """The user's leaf, and how it leads to the root. Raises :class:`~clock.domain.outcomes.Unavailable`.

    ``salt``: who asks shows it instead of a token, and learns nothing without the right one. A packet's leaf has none;
    that of the check-in counts there.
    """
    round_ = await recorded.find(store, day)
    if round_ is None or round_.salt_key is None:
        return Answer("not_found")
    if salt is not None and not _is_salt(round_.salt_key, kind, uid, salt):
        return Answer("not_joined")  # first of all: strangers may ask, and a tree's tiles are large
    tree = await store.one("get_tree", day=day, kind=kind)
    if (tree is None and round_.state in SETTLED_STATES) or await has_left(store, day):
        return Answer("archived")
    if tree is None or (kind == "packet" and round_.state not in SETTLED_STATES):
        return Answer("voided" if round_.state in VOID_STATES else "not_settled")
    user = await store.one("steps_of_user", day=day, uid=uid)
    if user is None:
        return Answer("not_joined")
    if kind != "stake" and user["rank"] is None:
        return Answer("not_checked_in")
    found = await _found(store, round_, kind, uid, user["rank"], tree)
    if found is None:  # a member, or a winner, since the round was sealed
        return Answer("not_checked_in" if kind == "checked_in" else "not_joined")
    index, texts = found
    tiles = _parts(tree["tiles"], HASH_BYTES)
    path = path_in(tiles, [leaf_hash(text.encode()) for text in texts], index)
    leaf = texts[index % TILE]
    root = root_above(leaf.encode(), index, tree["size"], path)
    assert root is not None
    return Answer(
        "ok",
        {
            "leaf": leaf,
            "index": index,
            "size": tree["size"],
            "path": [one.hex() for one in path],
            "root": base64.b64encode(root).decode(),
        },
    )


def _is_salt(salt_key: bytes, kind: Kind, uid: int, salt: str) -> bool:
    """In the same time whatever the salt is, and before anything is looked up but the round."""
    right = leaves.salt_of(salt_key, "checked_in" if kind == "packet" else kind, uid)
    return hmac.compare_digest(right.encode(), salt.encode())


async def _found(
    store: Store, round_: Recorded, kind: Kind, uid: int, rank: int, tree: dict[str, Any]
) -> tuple[int, list[str]] | None:
    """The index of a leaf, and the leaves of its tile."""
    if kind == "stake":
        tile = _tile_of(_uids(tree["firsts"]), uid, round_.rules.shards)
    else:
        index = await _place(store, round_, uid) + rank - 1
        tile = index // TILE
    if kind == "packet":
        return index, await _packets(store, round_, tile)
    uids = await _users(store, round_.day, kind, tile)
    if uid not in uids:
        return None
    texts = await _texts(store, round_, kind, uids)
    return tile * TILE + uids.index(uid), texts


def _tile_of(firsts: Sequence[int], uid: int, shards: int) -> int:
    """In which tile a member's leaf is: the last one that begins no later."""
    wanted, low, high = (shard_of(uid, shards), uid), 0, len(firsts)
    while low < high:
        middle = (low + high) // 2
        if (shard_of(firsts[middle], shards), firsts[middle]) <= wanted:
            low = middle + 1
        else:
            high = middle
    return max(0, low - 1)


async def _place(store: Store, round_: Recorded, uid: int) -> int:
    """How many winners are before those of the user's shard."""
    before = await _first_places(store, round_)
    return before[shard_of(uid, round_.rules.shards)]


async def _first_places(store: Store, round_: Recorded) -> list[int]:
    closed = await store.all("closed_shards", day=round_.day)
    return list(accumulate((row["winners"] for row in closed), initial=0))


async def _users(store: Store, day: date, kind: Kind, tile: int) -> list[int]:
    length = TILE * UID_BYTES
    row = await store.one("users_of_tile", day=day, kind=kind, start=tile * length + 1, length=length)
    return _uids(row["uids"]) if row else []


async def _texts(store: Store, round_: Recorded, kind: Kind, uids: list[int]) -> list[str]:
    """The leaves of these users, in this order."""
    shards = round_.rules.shards
    if kind == "stake":
        found = await store.page("stakes_among", day=round_.day, uids=uids)
        texts = {
            uid: stake_leaf(round_, shard_of(uid, shards), uid, row["order_no"], row["stake_fen"])
            for row in found
            for uid in (row["uid"],)
        }
    else:
        found = await store.page("checked_in_among", day=round_.day, uids=uids)
        texts = {
            uid: checked_in_leaf(round_, shard_of(uid, shards), row["rank"], uid, row["at_ms"])
            for row in found
            for uid in (row["uid"],)
        }
    return [texts[uid] for uid in uids]


async def _packets(store: Store, round_: Recorded, tile: int) -> list[str]:
    first, day = tile * TILE, round_.day
    found = await store.all("packets_page", day=day, limit=TILE, offset=first)
    before, texts, shard = await _first_places(store, round_), [], 0
    for place, row in enumerate(found, first):
        while place >= before[shard + 1]:
            shard += 1
        texts.append(leaves.packet(day.isoformat(), shard, place - before[shard] + 1, row["fen"]))
    return texts


def _parts(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def _uids(content: bytes) -> list[int]:
    return [int.from_bytes(part, "big") for part in _parts(content, UID_BYTES)]
