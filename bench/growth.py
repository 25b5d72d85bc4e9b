"""A thousand days of books against three: what users and strangers ask, a payment, opening a day, and taking a
statement into the log must cost the same.

Both services run side by side, each on servers of its own, and are asked in turns. Of the old one's users most have
played a few rounds; a hundred have played every day, and it is they who ask.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date, timedelta
from statistics import quantiles
from time import monotonic
from typing import Any

import psycopg

from bench.check_in import ratios
from bench.measure import Result, Scale, Spread, spread, target
from bench.scene import SETTLED, Scene, staged
from clock.books import outbox
from clock.books.partitions import add_partitions
from clock.books.store import Connection, Store
from clock.fair.statements import Tree
from clock.fair.trees import EMPTY
from clock.http.players import me, public
from clock.proofs import growing, paths, statements
from clock.rounds.recorded import find
from clock.service import Service
from clock.tlog import reading, sequencer

HANDS = 100
"""Users who have played every day; their uids are the first."""
ROUNDS_EACH = 2
NEW_DAYS = 3
BATCH = 2_000

FILL = (
    "CREATE TEMP TABLE played ON COMMIT DROP AS SELECT uid, 'N' || %(n)s || 'U' || uid AS order_no, 'T' || %(n)s || 'U'"
    " || uid AS tid FROM (SELECT generate_series(1, %(hands)s) AS uid UNION SELECT (u * %(days)s + %(n)s) %% %(users)s"
    " + %(hands)s + 1 FROM generate_series(0, %(each)s * %(users)s / %(days)s) AS u) AS of_day",
    "INSERT INTO rounds (day, rules, seed, seed_hash, salt_key, state, members, winners, tallied_at, credited_at,"
    " settled_at, finished_at) SELECT %(day)s, rules, seed, seed_hash, salt_key, 'finished', p.members, p.members,"
    " now(), now(), now() - interval '30 days', now() - interval '30 days'"
    " FROM rounds, (SELECT count(*) AS members FROM played) AS p WHERE day = %(like)s",
    "INSERT INTO orders SELECT %(day)s, uid, order_no, uid, 100, 'open-' || uid, %(at_ms)s FROM played",
    "INSERT INTO payments SELECT %(day)s, order_no, tid, uid, 100, %(at_ms)s, %(at_ms)s, 'paid', 'platform', '{}'"
    " FROM played",
    "INSERT INTO members SELECT %(day)s, uid, 100, false, %(at_ms)s FROM played",
    "INSERT INTO check_ins SELECT %(day)s, uid, %(at_ms)s, row_number() OVER () FROM played",
    "INSERT INTO claims SELECT %(day)s, uid, 0, row_number() OVER () - 1, 30, 100, 'user', %(at_ms)s FROM played",
    "INSERT INTO transfers SELECT %(day)s, kind, CASE kind WHEN 'stake' THEN order_no || ':' || tid ELSE uid::text END,"
    " uid, CASE kind WHEN 'stake' THEN 'channel:platform' WHEN 'payout' THEN 'user:' || uid ELSE 'pool:' || %(day)s"
    " END,"
    " CASE kind WHEN 'stake' THEN 'pool:' || %(day)s WHEN 'payout' THEN 'owed:payout' ELSE 'user:' || uid END,"
    " CASE kind WHEN 'packet' THEN 30 WHEN 'payout' THEN 130 ELSE 100 END, %(at_ms)s"
    " FROM played CROSS JOIN unnest('{stake,stake_back,packet,payout}'::text[]) AS kind",
    "INSERT INTO outgoing (day, no, kind, uid, amount_fen, state, ended_at)"
    " SELECT %(day)s, 'P' || %(n)s || 'U' || uid, 'payout', uid, 130, 'done', now() FROM played",
)
"""The rows of a day: everybody has checked in and was paid out."""

SUM_UP = (
    "INSERT INTO standings SELECT uid, %(last)s, 1, stakes, stakes FROM accounts",
    "INSERT INTO incomes SELECT uid, income_fen FROM accounts",
    "INSERT INTO profiles SELECT uid, 'open-' || uid, '138' || lpad(uid::text, 8, '0'), 'user', 0 FROM accounts",
    "INSERT INTO log_cosignatures SELECT %(witness)s, size, repeat('x', 120), 0 FROM log_checkpoints",
)

WITNESS = "witness.example.org/w1+443ac403+BBdFU7RW3d/GkI7KscEB/mqyHiuqBhd5W31DpjSCmT/V"
"""It has signed every checkpoint, and is asked for none: nobody is there."""
NO_TREE = Tree(0, EMPTY)
FIGURES = (
    *("members", "winners", "late", "pool_fen", "refunded_fen", "forfeited_fen"),
    *("fee_fen", "carried_in_fen", "bonus_fen", "pot_fen"),
)
NO_FIGURES = dict.fromkeys(FIGURES, 0)
FEW = "000.p/9"
"""As much of a tile as the log of :data:`NEW_DAYS` has."""

ASKED: dict[str, Callable[[Service, int], Awaitable[Any]]] = {
    "me": lambda service, uid: me.info(service, uid),
    "history, page 1": lambda service, uid: me.history(service, uid, 1, 20, "zh"),
    "history, page 10": lambda service, uid: me.history(service, uid, 10, 20, "zh"),
    "yesterday": lambda service, uid: service.verbs.yesterday(uid, monotonic()),
    "board": lambda service, uid: public.board(service, 1, 20),
    "a round's proof": lambda service, uid: public.proof(service, _last(service)),
    "a stake's path": lambda service, uid: paths.proof(service.store, _last(service), "stake", uid),
    "the log's checkpoint": lambda service, uid: reading.checkpoint(service.store),
    "a tile of the log": lambda service, uid: reading.at(service.store, f"0/{FEW}"),
    "entries of the log": lambda service, uid: reading.at(service.store, f"entries/{FEW}"),
    "witnesses that are due": lambda service, uid: service.witnessing.due(),
}


def _last(service: Service) -> date:
    """The last day that was played."""
    return service.asking.calendar.day_at(service.time.now_ms()) - timedelta(2)


async def run(scale: Scale) -> Result:
    days, users, times = scale.of(1_000, 120), scale.of(2_000_000, 20_000), scale.of(2_000, 200)
    changes: dict[str, Any] = {**SETTLED, "witnesses": f"{WITNESS} http://127.0.0.1:9"}
    async with staged(**changes) as old, staged(**changes) as new:
        began = monotonic()
        await _play(old, days, users)
        await _play(new, NEW_DAYS, users * NEW_DAYS // days)
        filled = monotonic() - began
        targets, figures = [], {"filling the books, s": spread([filled])}
        for name, ask in ASKED.items():
            slow, fast = await _in_turns(old, new, ask, times)
            targets.append(target(f"p99 of {name}", f"day {NEW_DAYS}", [slow / fast], "<=", 1.5))
            figures[f"p99 of {name} at day {days}, ms"] = spread([slow * 1000])
            locks, blocks = await _touched(old, ask)
            targets.append(target(f"locks of {name}", "–", [locks], "<=", 20, " locks"))
            figures[f"buffers of {name} at day {days}"] = spread([blocks])
        for name, work, most in WORKS:
            slow_s, fast_s = await _alternately(old, new, work, scale.of(15, 5))
            targets.append(target(name, f"day {NEW_DAYS}", [_middle(ratios(slow_s, fast_s))], "<=", most))
            figures[f"{name} at day {days}, s"] = spread(slow_s)
    return Result(name="growth", targets=targets, figures=figures)


def _middle(values: list[float]) -> float:
    found: Spread = spread(values)
    return found.median


async def _play(scene: Scene, days: int, users: int) -> None:
    """So many days that end the day before yesterday."""
    last = scene.yesterday - timedelta(1)
    played = [last - timedelta(days - 1 - n) for n in range(days)]
    await add_partitions(scene.service.store, played)
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url, autocommit=True) as connection:
        await connection.execute("SET synchronous_commit = off")
        for n, day in enumerate(played):
            of = {"n": n, "day": day, "like": scene.yesterday, "days": days, "users": users}
            of |= {"hands": HANDS, "each": ROUNDS_EACH, "at_ms": scene.at(day).check_in_opens_ms}
            async with connection.transaction():
                for statement in FILL:
                    await psycopg.AsyncClientCursor(connection).execute(statement.encode(), of)
        for day in played:
            await _state(scene.service, day)
        for statement in SUM_UP:
            of = {"last": last, "witness": WITNESS}
            await psycopg.AsyncClientCursor(connection).execute(statement.encode(), of)
        await connection.execute("VACUUM ANALYZE")


async def _state(service: Service, day: date) -> None:
    """O, C and P, in the log, and the trees of the last day."""
    signing, round_ = service.signing, await find(service.store, day)
    assert round_
    async with service.store.transaction() as connection:
        await signing.write(connection, day, statements.opened(round_, signing.origin, None))
        await statements.write_closed(signing, connection, round_, 0, NO_FIGURES, (NO_TREE, NO_TREE), None)
        left = {"carried_out_fen": 0, "bonus_back_fen": 0}
        await statements.write_published(signing, connection, round_, round_.seed, NO_TREE, left)
    await sequencer.take_some(service.store, signing)
    if day == _last(service):
        await growing.regrow(service.store, round_)


async def _in_turns(old: Scene, new: Scene, ask: Callable[[Service, int], Awaitable[Any]], times: int) -> list[float]:
    """The 99th percentile of both, in seconds."""
    taken: dict[str, list[float]] = {"old": [], "new": []}
    for n in range(times + times // 10):
        for name, scene in (("old", old), ("new", new)):
            began = monotonic()
            await ask(scene.service, n % HANDS + 1)
            if n >= times // 10:
                taken[name].append(monotonic() - began)
    return [quantiles(seconds, n=100)[98] for seconds in taken.values()]


@contextmanager
def _counted(seen: list[tuple[int, int]]) -> Iterator[None]:
    """Of each transaction of a store: relations that it had locked, and pages of them that it had asked for. Postgres
    counts pages of a session until it reports them, at most once a second: also those of the transactions before."""
    transaction = Store.transaction

    async def pages(connection: Connection) -> int:
        """So far. The first one makes Postgres look at every relation of this database."""
        counted = "coalesce(sum(pg_stat_get_xact_blocks_fetched(oid)), 0)::int AS blocks"
        found = await connection.execute(f"SELECT {counted} FROM pg_class WHERE oid >= 16384".encode())
        return int((await found.fetchall())[0]["blocks"])

    @asynccontextmanager
    async def counting(self: Store) -> AsyncIterator[Connection]:
        async with transaction(self) as connection:
            before = await pages(connection)
            yield connection
            locked = await connection.execute(
                "SELECT count(*) AS locks FROM pg_locks"
                " WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation >= 16384"
            )
            locks = (await locked.fetchall())[0]["locks"]
            seen.append((locks, await pages(connection) - before))

    Store.transaction = counting  # type: ignore[method-assign]
    try:
        yield
    finally:
        Store.transaction = transaction  # type: ignore[method-assign]


async def _touched(scene: Scene, ask: Callable[[Service, int], Awaitable[Any]]) -> tuple[int, int]:
    """The most locks of a transaction, and the pages of a whole request."""
    seen: list[tuple[int, int]] = [(0, 0)]
    with _counted(seen):
        await ask(scene.service, HANDS)
    return max(locks for locks, _ in seen), sum(blocks for _, blocks in seen)


async def _alternately(
    old: Scene, new: Scene, work: Callable[[Scene, int], Awaitable[float]], times: int
) -> tuple[list[float], list[float]]:
    """Seconds of both; the first time is not counted."""
    taken: tuple[list[float], list[float]] = ([], [])
    for n in range(times + 1):
        for seconds, scene in zip(taken, (old, new), strict=True):
            seconds.append(await work(scene, n))
    return taken[0][1:], taken[1][1:]


async def _batch(scene: Scene, _: int) -> float:
    await scene.members(scene.today, scene.uids(BATCH))
    return await _drained(scene, scene.today)


async def _payment(scene: Scene, _: int) -> float:
    await scene.members(scene.today, scene.uids(1))
    return await _drained(scene, scene.today)


async def _drained(scene: Scene, day: date) -> float:
    began = monotonic()
    while await outbox.drain(scene.service.store, scene.redis, day, 0):
        pass
    return monotonic() - began


async def _opening(scene: Scene, n: int) -> float:
    """A day of the months that are prepared."""
    if not n:
        await scene.service.opener.prepare(scene.today)
    began = monotonic()
    await scene.service.opener.open_round(scene.today + timedelta(n + 1))
    return monotonic() - began


async def _taking(scene: Scene, n: int) -> float:
    """O of a day that nobody plays. At day 1,000 it is read with up to 255 hashes of its tile, at day 3 with few."""
    signing, round_ = scene.service.signing, await find(scene.service.store, scene.today)
    assert round_
    async with scene.service.store.transaction() as connection:
        statement = statements.opened(round_, signing.origin, None)
        await signing.write(connection, scene.today + timedelta(10_000 + n), statement)
    began = monotonic()
    while await sequencer.take_some(scene.service.store, signing):
        pass
    return monotonic() - began


WORKS: tuple[tuple[str, Callable[[Scene, int], Awaitable[float]], float], ...] = (
    ("draining a batch", _batch, 1.1),
    ("draining a payment", _payment, 1.1),
    ("opening a day", _opening, 1.1),
    ("taking a statement into the log", _taking, 1.5),
)
