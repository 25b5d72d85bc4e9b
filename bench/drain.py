"""The outbox into Postgres, postings and payouts included, against a bare COPY of the same finished rows.

The copy goes into tables like the round's partitions, indexes and all, from prepared bytes in one transaction. The
second ratio shows whether the drain keeps up: HTTP clients produce events, which are then drained; one run times both.
"""

from datetime import date
from time import monotonic

import psycopg
from psycopg import sql

from bench.check_in import CONNECTIONS, ratios
from bench.load import Job
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, SETTLED, Scene, extra, fire, staged
from clock.books import outbox

TABLES = (
    "orders",
    "payments",
    "members",
    "check_ins",
    "claims",
    "transfers",
    "outgoing",
    "profiles",
    "accounts",
    "unsent",
)
"""Not those whose rows come and go again: orders while they are not paid."""


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(40_000, 20_000), scale.of(3, 2)
    drains: list[float] = []
    copies: list[float] = []
    for _ in range(repetitions):
        async with staged(**SETTLED) as scene:
            warm = await _warmed_up(scene, users // 5)
            await _a_day(scene, users)
            seconds = await _drained(scene, scene.yesterday)
            rows, copied = await _copied(scene)
            drains.append((rows - warm) / seconds)
            copies.append(rows / copied)
    produced, taken = await _kept_up(scale)
    return Result(
        name="drain",
        targets=[
            target("draining the stream, rows/s", "bare COPY of these rows", ratios(drains, copies), ">=", 0.5),
            target("draining, events/s", "events/s over HTTP", ratios(taken, produced), ">=", 2.0),
        ],
        figures={
            "drained, rows/s": spread(drains),
            "bare COPY, rows/s": spread(copies),
            "rows of a user's day": spread([(rows - warm) / users]),
            "drained, events/s": spread(taken),
            "over HTTP, events/s (check-in, join, pay)": spread(produced),
        },
    )


async def _warmed_up(scene: Scene, users: int) -> int:
    """Drain the day of ``users`` members who do not check in, to warm the server's caches; the number of rows."""
    await scene.members(scene.yesterday, scene.uids(users))
    await _drained(scene, scene.yesterday)
    return await _rows(scene)


async def _a_day(scene: Scene, users: int) -> None:
    """Order, payment, check-in and claim of ``users`` users, all left in the outbox."""
    day, uids = scene.yesterday, scene.uids(users)
    await scene.winners(day, uids)
    await scene.settled(day, users)
    claims = ((uid, 0) for uid in uids)
    results = await scene.vectors("claim", day, claims, scene.at(day).settle_ms + 2, ["user"])
    assert {word for word, _, _ in results} == {b"claimed"}


async def _drained(scene: Scene, day: date) -> float:
    began = monotonic()
    while await outbox.drain(scene.service.store, scene.redis, day, 0):
        pass
    seconds = monotonic() - began
    assert not await outbox.depth(scene.redis, day, 1)
    return seconds


async def _copied(scene: Scene) -> tuple[int, float]:
    """How many rows there are, and how long it takes to copy them into tables of the same shape."""
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url) as connection:
        prepared = []
        for table in TABLES:
            source, bare = sql.Identifier(scene.partition(table)), sql.Identifier(f"bare_{table}")
            await connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(bare, source))
            async with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(source)) as copy:
                prepared.append((bare, b"".join([bytes(part) async for part in copy])))
        await connection.commit()
        began = monotonic()
        for bare, data in prepared:
            async with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(bare)) as copy:
                await copy.write(data)
        await connection.commit()
        seconds = monotonic() - began
    return await _rows(scene), seconds


async def _rows(scene: Scene) -> int:
    """In all tables that the drain fills."""
    tables = (sql.Identifier(scene.partition(table)) for table in TABLES)
    counts = sql.SQL(" + ").join(sql.SQL("(SELECT count(*) FROM {})").format(table) for table in tables)
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url) as connection:
        found = await (await connection.execute(sql.SQL("SELECT {}").format(counts))).fetchone()
    assert found
    return int(found[0])


async def _kept_up(scale: Scale) -> tuple[list[float], list[float]]:
    """Events a second that clients produced over HTTP, and at which they were drained."""
    users, repetitions = scale.of(20_000, 6_000), scale.of(3, 2)
    produced, taken = [], []
    async with staged(**MORNING) as scene:
        port = await scene.serve("service")
        for _ in range(repetitions):
            uids = scene.uids(users)
            await scene.members(scene.yesterday, uids)
            fresh = scene.uids(users)
            await scene.forget_outbox()
            seconds = await _fired(port, scene.of_users("/api/check-in", uids))
            seconds += await _fired(port, scene.of_users("/api/join", fresh, extra))
            payers = scene.uids(users)
            numbers = await scene.join(scene.today, payers)
            seconds += await _fired(port, scene.callbacks(numbers, payers))
            produced.append(3 * users / seconds)
            spent = sum([await _drained(scene, day) for day in (scene.yesterday, scene.today)])
            taken.append(4 * users / spent)
    return produced, taken


async def _fired(port: int, requests: list[bytes]) -> float:
    report = await fire(Job(port=port, requests=requests, count=len(requests), connections=CONNECTIONS))
    assert all(code.startswith("200") for code in report.codes), report.codes
    return report.seconds
