"""Every Redis key, and how long it lives.

A key of a round is ``clock:{<tag>}:<day>:<noun>``: all keys of one verb share a hash tag, so that one script call
touches one slot of a cluster. They live until :data:`KEEP_MS` after the round is finished and its events are in
Postgres (``finish.lua``). A shard has the same tag in every round, so it stays on the node where an operator puts it.
"""

import binascii
from collections.abc import Sequence
from datetime import date
from functools import cache
from itertools import count

NOUNS = ("round", "members", "totals", "payments", "packets", "outbox", "position", "checking")
"""round: hash, rules and state · members: hash uid → state and order · totals: hash, counts and sums ·
payments: hash, what refused payments were answered · packets: lists of fen (:data:`PIECE`) ·
outbox: stream of what happened · position: string, how far Postgres has the outbox · checking: hash, refused
payments of unpaid orders: ``<tail>:<SHA-1 of the body>`` → 1, or 0 once decided; ``<tail>`` → how many are not."""

USER_NOUNS = ("flags", "outbox", "position", "limits")
"""Of users, not of a round, for ever: ``clock:{<tag>}:users:<noun>``. flags: hash uid → switch and latest result
(``flags.lua``) · limits: hash, expires by itself: a provider's endpoint → when its next call is due (``limit.lua``)."""

Day = date | None
"""A round's, or none: of users, who have :data:`USER_SHARDS`."""

USERS: Day = None

USER_SHARDS = 8
"""Into so many shards users are divided for what outlives a round. Never changed: their keys would have to move."""

KEEP_MS = 14 * 24 * 3600 * 1000

HEARTBEAT = "clock:worker:heartbeat"
"""String, expires by itself: the worker lives."""

WORKS = "clock:worker:works:"
"""Prefix of strings that expire by themselves: a worker of the host with this name does its jobs."""

REWRITTEN = "clock:worker:rewritten"
"""String, expires by itself: Redis was asked to rewrite its append-only file for this morning."""

DIFFERING = "clock:worker:differing"
"""String, expires by itself: JSON of where Redis and the books count differently (:mod:`clock.audit.counts`)."""

DIFFERING_MS = 180_000

CLOCKS = "clock:worker:clocks"
"""String, expires by itself: JSON of how far Redis', Postgres' and a worker's clock are apart
(:class:`clock.game.gametime.Verdict`)."""

CLOCKS_MS = 10_000

SILENT = "clock:worker:silent:"
"""Prefix of strings that expire by themselves: for so many seconds a payment channel has not answered a worker."""

LIVE = "clock:live"
"""Hash, expires by itself: process → what it did in the last moment (:mod:`clock.operators.live`)."""

LIVE_MS = 60_000

DEV_TIME = "clock:dev:time"
"""String ``<version> <offset_ms>``: how far development has moved the game's clock. Never in production."""

DEV_SEEN = "clock:dev:seen:"
"""Prefix of strings that expire by themselves: the version of the moved clock that a process is on."""


PIECE = 500
"""Packets of a shard are in lists of so many, under the key of ``packets`` with ``:<number of the piece>``."""


def pieces(packets: str, count: int) -> list[str]:
    """The keys of the lists in which a shard's first ``count`` packets are."""
    return [piece(packets, number) for number in range((count + PIECE - 1) // PIECE)]


def piece(packets: str, number: int) -> str:
    return f"{packets}:{number}"


GOLDEN = 0x9E3779B97F4A7C15
"""2**64 times the golden ratio's fraction: multiples of it, modulo 2**64, lie evenly however many there are (Knuth vol.
3, 6.4)."""


def shard_of(uid: int, shards: int) -> int:
    """A stable hash of ``uid`` over ``shards``."""
    return ((uid * GOLDEN & 0xFFFFFFFFFFFFFFFF) >> 32) % shards


def user_shard(uid: int) -> int:
    """Where a user's flags are."""
    return shard_of(uid, USER_SHARDS)


SLOTS = 16_384
"""Of a cluster."""

FIRST_SLOT = SLOTS * 3 // 5
"""Of shard 0. From here the shards 0 to n - 1 share n nodes of equal ranges best (docs/decisions/0057)."""

NEAR = 16
"""By how many slots a tag may miss its place: one that hits it takes some thirty times as many tries."""


@cache
def tag(shard: int) -> str:
    """The hash tag of a shard: its number, and what makes its slot lie where it should."""
    wanted = (FIRST_SLOT + ((shard * GOLDEN & 0xFFFFFFFFFFFFFFFF) >> 50)) % SLOTS
    tags = (f"{shard}.{salt}" for salt in count())
    return next(one for one in tags if (slot_of(one.encode()) - wanted + NEAR) % SLOTS <= 2 * NEAR)


def slot_of(name: bytes) -> int:
    """The slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it where it has none."""
    start = name.find(b"{")
    end = name.find(b"}", start + 1) if start >= 0 else -1
    return binascii.crc_hqx(name[start + 1 : end] if end > start + 1 else name, 0) % SLOTS


def name(day: Day, shard: int, noun: str) -> str:
    return names(day, shard, (noun,))[0]


def names(day: Day, shard: int, nouns: Sequence[str]) -> list[str]:
    prefix = f"clock:{{{tag(shard)}}}:{'users' if day is None else day.isoformat()}:"
    return [prefix + noun for noun in nouns]


MARK_MS = 60_000


def mark(beside: str) -> str:
    """With the tag of another key: written so that a replica can be waited for; expires by itself."""
    return f"{beside[: beside.index('}') + 1]}:mark"
