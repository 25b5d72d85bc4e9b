"""From the last entry of the outbox to C: closing and sealing a round of a million members, six of ten of whom woke, by
steps; against draining what they did.

The books are made in SQL, in no order, as members come; the totals that Redis would have are set. Settlement reads the
same values as after a played round.
"""

from time import monotonic
from typing import Any

import psycopg

from bench.measure import Result, Scale, spread, target
from bench.scene import FIRST_UID, SETTLED, Scene, staged
from bench.settler import ended
from clock.books import outbox
from clock.domain import order_no
from clock.game import keys

SHARDS = 4
STAKE_FEN = 100

BOOKS = (
    "CREATE TEMP TABLE people ON COMMIT DROP AS SELECT uid, shard_of(uid, %(shards)s) AS shard,"
    " row_number() OVER (ORDER BY random()) AS place"
    " FROM generate_series(%(first)s::bigint, %(first)s + %(members)s - 1) AS uid",
    "INSERT INTO orders SELECT %(day)s, uid, (%(prefixes)s::text[])[shard + 1] || substr(md5(uid::text), 1, 21),"
    " (%(first_order_ids)s::bigint[])[shard + 1] + place, %(stake_fen)s, 'oLVPpjqs9Bhvzw' || lpad(uid::text, 14, '0'),"
    " %(at_ms)s FROM people ORDER BY place",
    "INSERT INTO payments SELECT %(day)s, order_no, '42000027' || lpad(uid::text, 20, '0'), uid, amount_fen, at_ms,"
    " at_ms, 'paid', 'platform', repeat('x', 120) FROM orders WHERE day = %(day)s",
    "INSERT INTO members SELECT %(day)s, uid, %(stake_fen)s, false, %(at_ms)s FROM people ORDER BY place",
    "INSERT INTO check_ins SELECT %(day)s, uid, %(woke_ms)s + place,"
    " row_number() OVER (PARTITION BY shard ORDER BY place) FROM people WHERE place <= %(awake)s ORDER BY place",
)
TOTALS = (
    "SELECT shard_of(m.uid, %(shards)s) AS shard, count(*) AS members, count(c.uid) AS winners FROM members m"
    " LEFT JOIN check_ins c ON c.day = m.day AND c.uid = m.uid WHERE m.day = %(day)s GROUP BY 1"
)


async def run(scale: Scale) -> Result:
    members, repetitions = scale.of(1_000_000, 100_000), scale.of(2, 1)
    sealed: list[float] = []
    drained: list[float] = []
    sizes: list[float] = []
    parts: dict[str, list[float]] = {}
    for _ in range(repetitions):
        async with staged(shards=SHARDS, **SETTLED) as scene:
            drained.append(await _drained(scene, scale.of(20_000, 5_000)) * members)
            await write_books(scene, members, members * 6 // 10)
            took = await ended(scene, "settle")
            sealed.append(took.states["sealed"])
            sizes.append(took.most_mib)
            for name, seconds in {**took.steps, "from open to closed": took.states["closed"]}.items():
                parts.setdefault(name, []).append(seconds)
    ratios = [one / other for one, other in zip(sealed, drained, strict=True)]
    return Result(
        name="closing",
        targets=[
            target(f"from the last entry of {members:,} members to C", "–", sealed, "<=", 10.0, "s"),
            target("the same", "draining their orders, payments and check-ins", ratios, "<=", 0.25),
        ],
        figures={
            "draining, s": spread(drained),
            **{f"{name}, s": spread(seconds) for name, seconds in parts.items() if max(seconds) >= 0.01},
            "the worker's largest size, MiB": spread(sizes),
        },
    )


async def _drained(scene: Scene, users: int) -> float:
    """Seconds for a member: order, payment, and the check-in of those who wake."""
    day, uids = scene.today, scene.uids(users)
    await scene.members(day, uids)
    await scene.check_in(day, uids[: users * 6 // 10])
    began = monotonic()
    for shard in range(SHARDS):
        while await outbox.drain(scene.service.store, scene.redis, day, shard):
            pass
    return (monotonic() - began) / users


async def write_books(scene: Scene, members: int, awake: int) -> None:
    """Orders, payments, members and check-ins of yesterday's round, and its shards' totals."""
    day, shards = scene.yesterday, scene.settings.shards
    given: dict[str, Any] = {
        "day": day,
        "shards": shards,
        "first": FIRST_UID + 1_000_000,
        "members": members,
        "awake": awake,
        "stake_fen": STAKE_FEN,
        "prefixes": [order_no.make("TTC", order_no.Place(day, shard, 1, ""))[:-9] for shard in range(shards)],
        "first_order_ids": [order_no.first_order_id(day, shard) for shard in range(shards)],
        "at_ms": scene.at(day).join_opens_ms + 60_000,
        "woke_ms": scene.at(day).check_in_opens_ms,
    }
    async with scene.service.store.transaction() as connection:
        for statement in BOOKS:
            await connection.execute(statement.encode(), given)
        found = await (await connection.execute(TOTALS.encode(), given)).fetchall()
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url, autocommit=True) as connection:
        await connection.execute("CHECKPOINT")
    for row in found:
        totals = {"orders": row["members"], "members": row["members"], "winners": row["winners"]}
        totals["pool_fen"] = row["members"] * STAKE_FEN
        await scene.redis.hset(keys.name(day, row["shard"], "totals"), mapping=totals)
