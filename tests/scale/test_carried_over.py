"""Books of the version whose partitions were days become those of this one, while people read and write them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from clock.books import accounts
from clock.books.migrations import migrate
from clock.books.partitions import PARTITIONED, add_partitions, attach, day_partition_of, partition_of
from clock.books.store import Store
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.runtime import merging
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, Servers
from tests.scale.days import USERS, make_old_books

FIRST, DAYS = date(2026, 1, 28), 7
"""Four days of a month, and three of one that is not over."""
LAST = FIRST + timedelta(DAYS - 1)
JANUARY = FIRST + timedelta(3)

_copies = count()


@pytest.fixture(scope="module")
async def old(servers: Servers) -> AsyncIterator[str]:
    """The name of a database of the earlier version; tests take copies."""
    await servers.admin("CREATE DATABASE olden")
    settings = Settings(env="prod", jwt_secret=JWT_SECRET, webhook_secret=WEBHOOK_SECRET, statement_key=STATEMENT_KEY)
    await make_old_books(servers.database_url("olden"), settings, FIRST, DAYS)
    yield "olden"
    await servers.admin("DROP DATABASE olden WITH (FORCE)")


@pytest.fixture
async def url(servers: Servers, old: str) -> AsyncIterator[str]:
    """A copy that ``clock migrate`` has brought to this version."""
    name = f"upgraded_{next(_copies)}"
    await servers.admin(f"CREATE DATABASE {name} TEMPLATE {old} STRATEGY file_copy")
    assert "0010_accounts" in await migrate(servers.database_url(name))
    yield servers.database_url(name)
    await servers.admin(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = Store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with opened(url) as store:
        yield store


async def ask(store: Store, statement: str, *parameters: Any) -> list[dict[str, Any]]:
    async with store.transaction() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


ADDED_UP = """
SELECT
    coalesce(sum(CASE kind WHEN 'stake' THEN amount_fen WHEN 'refund' THEN -amount_fen END), 0)::bigint AS spend_money,
    coalesce(sum(amount_fen) FILTER (WHERE kind = 'packet'), 0)::bigint AS income_money,
    coalesce(max(amount_fen) FILTER (WHERE kind = 'packet'), 0)::bigint AS max_money,
    count(*) FILTER (WHERE kind = 'stake') AS join_num,
    coalesce(sum(CASE 'user:' || uid WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen END), 0)::bigint
        AS balance,
    coalesce(sum(lines_of(kind)), 0)::bigint AS lines
FROM transfers WHERE uid = %s
"""
"""A user's sums, from all transfers."""


async def all_right(store: Store, today: date = LAST) -> None:
    """What users are shown is what the ledger adds up to."""
    for uid in range(1, USERS + 1):
        shown = await accounts.sums(store, uid, today)
        lines = sum(of_month for _, of_month in await accounts.history_months(store, uid))
        async with store.transaction() as connection:
            balance = await accounts.balance_fen(connection, uid)
        [added] = await ask(store, ADDED_UP, uid)
        assert {name: shown[name] for name in added if name != "lines"} | {"lines": lines} == added
        assert balance == added["balance"]


def pay_back(day: date, uid: int, no: str) -> tuple[str, Any]:
    return (
        "INSERT INTO transfers VALUES (%s, 'payout_failed', %s, %s, 'owed:payout', %s, 7, 0)",
        (day, no, uid, f"user:{uid}"),
    )


async def test_sums_are_right_at_every_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not carried, half carried with transfers that come meanwhile, and carried."""
    monkeypatch.setattr(accounts, "USERS_AT_ONCE", 2)
    await all_right(store)
    for step in range(4):  # the newest day's first two users, the others, its end, the next day's first two
        assert await accounts.carry_some(store)
        for uid in (1, 3):
            statement, parameters = pay_back(LAST - timedelta(1), uid, f"{step}-{uid}")
            await ask(store, statement, *parameters)
        await all_right(store)
    monkeypatch.setattr(accounts, "USERS_AT_ONCE", 1000)
    while await accounts.carry_some(store):
        pass
    await all_right(store)
    assert await ask(store, "SELECT count(*) FROM accounts") == [{"count": USERS}]
    assert await ask(store, "SELECT * FROM uncarried") == []


async def test_what_is_posted_while_a_day_is_carried_is_carried_once(store: Store, url: str) -> None:
    """A transaction has posted and is not over: whoever carries its day waits for it."""
    async with await psycopg.AsyncConnection.connect(url) as writer:
        statement, parameters = pay_back(LAST, 1, "open")
        await writer.execute(statement.encode(), parameters)
        carried = asyncio.create_task(accounts.carry_some(store))
        await asyncio.sleep(0.2)
        assert not carried.done()
        await writer.commit()
    assert await carried
    assert await accounts.carry_some(store)
    assert LAST not in [row["day"] for row in await ask(store, "SELECT day FROM uncarried")]
    await all_right(store)


async def fingerprint(store: Store) -> dict[str, Any]:
    """Every row of each table."""
    return {
        table: await ask(store, f"SELECT count(*), sum(hashtextextended({table}::text, 0)) AS hash FROM {table}")
        for table in PARTITIONED
    }


async def partitions(store: Store, table: str) -> list[str]:
    statement = (
        "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass ORDER BY 1"
    )
    return [row["name"] for row in await ask(store, statement, table)]


async def carried(store: Store) -> None:
    while await accounts.carry_some(store):
        pass


async def test_days_are_merged_into_months(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step by another process, with readers and writers meanwhile; every row is still there, in its place."""
    monkeypatch.setattr(merging, "PIECE_SECONDS", 0.02)
    assert not await merging.merge_some(store), "before all sums are in the accounts"
    await carried(store)
    await ask(store, "UPDATE rounds SET finished_at = now() - interval '1 day' WHERE day = %s", JANUARY)
    assert not await merging.merge_some(store), "while the month's last round has just ended"
    await ask(store, "UPDATE rounds SET finished_at = now() - interval '4 days' WHERE day = %s", JANUARY)
    written, more, steps = await fingerprint(store), True, 0
    while more:
        async with opened(url) as another:
            more = await merging.merge_some(another)
        steps += 1
        if steps % 5 == 0:  # a day that may have been copied already
            statement, parameters = pay_back(JANUARY, 2, f"late {steps}")
            await ask(store, statement, *parameters)
            await ask(store, "UPDATE outgoing SET reason = %s WHERE day = %s", f"said at {steps}", JANUARY)
            written = await fingerprint(store)
        assert await fingerprint(store) == written
    february = [date(2026, 2, day) for day in range(1, LAST.day + 1)]
    for table in PARTITIONED:
        assert await partitions(store, table) == [
            partition_of(table, JANUARY),
            *(day_partition_of(table, day) for day in february),
        ]
    assert await ask(store, "SELECT * FROM merged") == []
    with pytest.raises(psycopg.errors.RestrictViolation):
        await ask(store, "DELETE FROM transfers_202601")
    await all_right(store)


async def test_a_month_that_has_days_gets_a_partition_of_the_others(store: Store) -> None:
    """And both are merged when it is over."""
    await carried(store)
    assert await add_partitions(store, [LAST]) == len(PARTITIONED)
    assert await add_partitions(store, [LAST]) == 0
    later = LAST + timedelta(7)
    await ask(store, "INSERT INTO members VALUES (%s, 9, 100, false, 0), (%s, 9, 100, false, 0)", LAST, later)
    found = await ask(store, "SELECT tableoid::regclass::text AS name FROM members WHERE uid = 9 ORDER BY day")
    assert [row["name"] for row in found] == [day_partition_of("members", LAST), partition_of("members", LAST)]
    await add_partitions(store, [date(2026, 3, 1)])
    await ask(
        store,
        "INSERT INTO rounds (day, rules, seed, seed_hash, state, finished_at)"
        " SELECT '2026-03-01', rules, seed, seed_hash, state, now() FROM rounds WHERE day = %s",
        LAST,
    )
    before = await fingerprint(store)
    while await merging.merge_some(store):
        pass
    months = ["members_202601", "members_202602", "members_202603"]
    assert (await partitions(store, "members"), await fingerprint(store)) == (months, before)


async def test_the_exchange_gives_up_where_it_would_keep_others_waiting(store: Store, url: str) -> None:
    """Somebody reads orders for a long time; others read and write meanwhile, and it succeeds afterwards. Attaching
    does not look through what was copied: its check says enough."""
    said: list[str] = []

    async def listened(connection: Any, *arguments: Any) -> None:
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
        await connection.execute("SET LOCAL client_min_messages = debug1")
        await attach(connection, *arguments)

    await carried(store)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(merging, "attach", listened)
        async with await psycopg.AsyncConnection.connect(url) as reader:
            await reader.execute("SELECT count(*) FROM orders")
            assert await merging.merge_some(store), "the days are copied"
            exchange = asyncio.create_task(merging.merge_some(store))
            await asyncio.sleep(0.1)
            async with asyncio.timeout(3):
                await ask(store, "SELECT FROM orders WHERE day = %s", LAST)
            with pytest.raises(Unavailable):
                await exchange
            assert f"orders_{FIRST:%Y%m%d}" in await partitions(store, "orders")
        assert await merging.merge_some(store)
    assert (await partitions(store, "orders"))[0] == "orders_202601"
    assert [text for text in said if "implied by existing constraints" in text]


async def test_a_process_that_dies_while_it_copies_has_changed_nothing(store: Store, url: str) -> None:
    await carried(store)
    before = await fingerprint(store)
    async with await psycopg.AsyncConnection.connect(url) as writer:
        await writer.execute("UPDATE orders SET open_id = 'x' WHERE day = %s", [FIRST + timedelta(1)])  # the second day
        step = asyncio.create_task(merging.merge_some(store))
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock'"
        )
        while not await ask(store, kill):
            await asyncio.sleep(0.02)
        with pytest.raises(Unavailable):
            await step
        await writer.rollback()
    assert await ask(store, "SELECT * FROM merged") == []
    while await merging.merge_some(store):
        pass
    assert await fingerprint(store) == before
    assert (await partitions(store, "orders"))[0] == "orders_202601"


CARRY_AND_MERGE = """
import asyncio, sys
from clock.books import accounts
from clock.books.store import Store
from clock.runtime.merging import merge_some

async def run():
    accounts.USERS_AT_ONCE = 2
    store = Store(sys.argv[1])
    await store.open()
    while await accounts.carry_some(store):
        pass
    while await merge_some(store):
        pass

asyncio.run(run())
"""


@pytest.mark.long
async def test_two_hundred_days_are_carried_over_by_processes_that_are_killed(servers: Servers) -> None:
    """After each kill every user's sums are those of the ledger, and every row is where it is looked for."""
    first, days, months_over = date(2026, 1, 10), 200, 6
    last = first + timedelta(days - 1)
    await servers.admin("CREATE DATABASE long_ago")
    url = servers.database_url("long_ago")
    await make_old_books(
        url,
        Settings(env="prod", jwt_secret=JWT_SECRET, webhook_secret=WEBHOOK_SECRET, statement_key=STATEMENT_KEY),
        first,
        days,
    )
    await migrate(url)
    async with opened(url) as store:
        await ask(store, "UPDATE rounds SET finished_at = now() - interval '10 days'")
        written = await fingerprint(store)
        left = []
        for seconds in (1.0, 1.0, 1.0, 1.0, None):
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", CARRY_AND_MERGE, url)
            try:
                await asyncio.wait_for(process.wait(), seconds)
            except TimeoutError:
                process.kill()
                await process.wait()
            await all_right(store, last)
            assert await fingerprint(store) == written
            [rest] = await ask(store, "SELECT count(*) FROM uncarried")
            left.append(rest["count"] + sum([len(await partitions(store, table)) for table in PARTITIONED]))
        assert process.returncode == 0
        assert left == sorted(left, reverse=True) and len(set(left)) > 1, "some were killed in the middle"
        assert left[-1] == (months_over + last.day) * len(PARTITIONED), "the last month is not over"
    await servers.admin("DROP DATABASE long_ago WITH (FORCE)")
