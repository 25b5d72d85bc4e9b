"""The end of a day of a million members: settling, finishing with forgotten claims, voiding, each against a bare COPY
of the rows that it writes; and the gate before settlement with half a million unpaid orders and a silent provider.

The books are made in SQL, and Redis is filled from them. Each step runs in a process of its own, as in the worker.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psycopg
from psycopg import sql

from bench.check_in import ratios
from bench.measure import Result, Scale, spread, target
from bench.scene import FIRST_UID, SETTLED, Scene, staged
from bench.settler import ended
from clock.audit.rebuild import rebuild_lost
from clock.books import ledger, owed
from clock.domain import order_no
from clock.game import keys

OVER = {**SETTLED, "claim_closes": "00:04"}
"""Yesterday's round can be settled, and claiming has closed."""


@dataclass(frozen=True)
class Crowd:
    """How many there are of each; their uids follow each other in this order."""

    winners: int
    late_sleepers: int
    sleepers: int
    unpaid: int

    @property
    def members(self) -> int:
        return self.winners + self.late_sleepers + self.sleepers


BOOKS = (
    "INSERT INTO orders SELECT %(day)s, %(first)s + n, 'TTC' || lpad((%(first)s + n)::text, 29, '0'),"
    " %(first_order_id)s + n, 100, 'oLVPpjqs9Bhvzw' || lpad(n::text, 14, '0'), %(at_ms)s"
    " FROM generate_series(0, %(members)s + %(unpaid)s - 1) AS n",
    "INSERT INTO unpaid (day, uid, order_no, next_at_ms) SELECT day, uid, order_no, at_ms FROM orders"
    " WHERE day = %(day)s AND uid >= %(first)s + %(members)s",
    "INSERT INTO payments SELECT day, order_no, '42000027' || lpad(uid::text, 20, '0'), uid, 100, at_ms, at_ms,"
    " CASE WHEN uid >= %(late_from)s AND uid < %(late_to)s THEN 'paid_late' ELSE 'paid' END, 'platform',"
    " repeat('x', 120) FROM orders WHERE day = %(day)s AND uid < %(first)s + %(members)s",
    "INSERT INTO members SELECT day, uid, 100, outcome = 'paid_late', at_ms FROM payments WHERE day = %(day)s",
    "INSERT INTO check_ins SELECT day, uid, at_ms, uid - %(first)s + 1 FROM members"
    " WHERE day = %(day)s AND uid < %(late_from)s",
    "INSERT INTO outbox_positions (day, shard, last_id) VALUES (%(day)s, 0, '1-0')",
)

CLAIMS = (
    "INSERT INTO claims SELECT c.day, c.uid, 0, p.index, p.fen, 100, 'user', c.at_ms FROM check_ins c"
    " JOIN packets p ON p.day = c.day AND p.shard = 0 AND p.index = c.rank - 1"
    " WHERE c.day = %(day)s AND c.uid < %(forgotten_from)s"
)

PARTS = {
    "close": ("begun", "closed"),
    "seal": ("closed", "sealed"),
    "split": ("sealed", "split"),
    "refund and publish": ("split", "published"),
    "open claiming": ("published", "settled"),
    "tally": ("settled", "done"),
}
"""Of settlement, each between two states."""

REFUNDED = {"refunds": "true", "transfers": "kind = 'refund'", "outgoing": "kind = 'refund'"}
SETTLING = {**REFUNDED, "packets": "true", "standings": "true"}
"""The rows that a step writes, by table."""


async def run(scale: Scale) -> Result:
    size, repetitions = scale.of(1_000_000, 100_000), scale.of(2, 1)
    crowd = Crowd(winners=size * 7 // 10, late_sleepers=size // 10, sleepers=size // 5, unpaid=size // 20)
    took: dict[str, list[float]] = {name: [] for name in ("settle", "finish", "void")}
    bare: dict[str, list[float]] = {name: [] for name in took}
    parts: dict[str, list[float]] = {name: [] for name in PARTS}
    holds, sizes, gates = [], [], []
    for _ in range(repetitions):
        async with _evening(crowd) as scene:
            done = await ended(scene, "settle")
            swept_s = await _swept(scene)
            took["settle"].append(done.states["done"] - swept_s)
            for name, (before, after) in PARTS.items():
                seconds = done.states[after] - done.states.get(before, 0.0)
                parts[name].append(seconds - swept_s * (name == "seal"))
            bare["settle"].append(await _bare(scene, SETTLING))
            sizes.append(done.most_mib)
            await _claims(scene, FIRST_UID + crowd.winners - size // 5)
            done = await ended(scene, "finish")
            took["finish"].append(done.states["done"])
            bare["finish"].append(await _bare(scene, _finishing(FIRST_UID + crowd.winners - size // 5)))
            sizes.append(done.most_mib)
            holds.append(await _longest_hold(scene))
        async with _evening(crowd) as scene:
            done = await ended(scene, "void")
            took["void"].append(done.states["done"])
            bare["void"].append(await _bare(scene, REFUNDED))
            sizes.append(done.most_mib)
            holds.append(await _longest_hold(scene))
        gates.append(await _gate(size // 2))
    names = {
        "settle": f"settling a day of {size:,} members, without the gate",
        "finish": f"finishing it with {size // 5:,} forgotten claims",
        "void": "voiding it",
    }
    return Result(
        name="day",
        targets=[
            *(
                target(text, "bare COPY of the rows it writes", ratios(took[name], bare[name]), "<=", 3.0)
                for name, text in names.items()
            ),
            target("the worker's largest size", "–", sizes, "<=", 300.0, "MiB"),
            target("the longest hold of Redis", "–", holds, "<=", 5.0, "ms"),
            target(f"settling with {size // 2:,} unpaid orders and a silent provider", "–", gates, "<=", 30.0, "s"),
        ],
        figures={
            **{f"{name}, s": spread(seconds) for name, seconds in took.items()},
            **{f"settle, {name}, s": spread(seconds) for name, seconds in parts.items()},
            **{f"bare COPY of what {name} writes, s": spread(seconds) for name, seconds in bare.items()},
        },
    )


def _finishing(forgotten_from: int) -> dict[str, str]:
    return {
        "claims": "by = 'system'",
        "transfers": f"kind IN ('stake_back', 'packet', 'payout') AND uid >= {forgotten_from}",
        "outgoing": f"kind = 'payout' AND uid >= {forgotten_from}",
        "incomes": "true",
    }


@asynccontextmanager
async def _evening(crowd: Crowd, **changes: Any) -> AsyncIterator[Scene]:
    """Yesterday's round as its day has left it; it is due for settlement."""
    async with staged(**OVER, **changes) as scene:
        await _books(scene, crowd)
        await _redis(scene)
        await scene.redis.config_set("slowlog-log-slower-than", 200)
        await scene.redis.config_set("slowlog-max-len", 100_000)
        await scene.redis.slowlog_reset()
        yield scene


async def _books(scene: Scene, crowd: Crowd) -> None:
    day, late_from = scene.yesterday, FIRST_UID + crowd.winners
    given = {
        "day": day,
        "first": FIRST_UID,
        "first_order_id": order_no.first_order_id(day, 0),
        "at_ms": scene.at(day).join_opens_ms + 1,
        "members": crowd.members,
        "unpaid": crowd.unpaid,
        "late_from": late_from,
        "late_to": late_from + crowd.late_sleepers,
    }
    async with scene.service.store.transaction() as connection:
        for statement in BOOKS:
            await connection.execute(statement.encode(), given)
        await ledger.post(connection, "payments", day)
    await _at_rest(scene)


async def _redis(scene: Scene) -> None:
    """What the books have."""
    nouns = ("round", "members", "totals", "payments", "checking")
    await scene.redis.delete(*keys.names(scene.yesterday, 0, nouns))
    assert f"{scene.yesterday}.0" in await rebuild_lost(scene.service)


async def _claims(scene: Scene, forgotten_from: int) -> None:
    """Every winner before this uid has claimed."""
    given = {"day": scene.yesterday, "forgotten_from": forgotten_from}
    async with scene.service.store.transaction() as connection:
        await connection.execute(CLAIMS.encode(), given)
        await ledger.post(connection, "claims", scene.yesterday)
        for debt in owed.owed("claims", sql.Identifier("claims"), scene.yesterday):
            await connection.execute(debt)
    await _at_rest(scene)
    await _redis(scene)
    await scene.redis.slowlog_reset()


async def _at_rest(scene: Scene) -> None:
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


async def _swept(scene: Scene) -> float:
    """Seconds that the gate took."""
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url) as connection:
        statement = "SELECT extract(epoch FROM swept_at - sweep_began_at)::float8 FROM rounds WHERE day = %s"
        found = await (await connection.execute(statement, [scene.yesterday])).fetchone()
    assert found
    return float(found[0])


async def _longest_hold(scene: Scene) -> float:
    """Duration of the longest script call in ms."""
    slow = await scene.redis.slowlog_get(100_000)
    return float(max([0, *(one["duration"] for one in slow if one["command"].startswith(b"EVAL"))]) / 1000)


async def _bare(scene: Scene, written: dict[str, str]) -> float:
    """Seconds for a COPY of these rows, from prepared bytes into tables of the same shape, in one transaction."""
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url) as connection:
        prepared = []
        for table, condition in written.items():
            source, bare = sql.Identifier(table), sql.Identifier(f"bare_{table}")
            await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(bare))
            await connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(bare, source))
            rows = f"COPY (SELECT * FROM {table} WHERE {condition}) TO STDOUT (FORMAT BINARY)"
            async with connection.cursor().copy(rows.encode()) as copy:
                prepared.append((bare, b"".join([bytes(part) async for part in copy])))
        await connection.commit()
        began = monotonic()
        for bare, data in prepared:
            async with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(bare)) as copy:
                await copy.write(data)
        await connection.commit()
        return monotonic() - began


async def _gate(unpaid: int) -> float:
    """Seconds to settle a round with so many unpaid orders, where the provider takes questions and answers none."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    crowd = Crowd(winners=1_000, late_sleepers=0, sleepers=1_000, unpaid=unpaid)
    async with server, _evening(crowd, platform_url=f"http://127.0.0.1:{port}") as scene:
        return (await ended(scene, "settle")).states["done"]
