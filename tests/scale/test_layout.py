"""Four hundred days: what users ask, what a payment and a new round cost, touches a handful of partitions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from clock.audit.accounts import differing_accounts
from clock.books import ledger
from clock.books.accounts import history_months
from clock.books.partitions import add_partitions, last_of, months_ahead, partition_of
from clock.books.store import Connection, Store
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.http.players import me, public
from clock.operators import money, people, quarantine
from clock.payments import outgoing
from clock.service import Service
from tests.conftest import DAY, Servers
from tests.flow.stage import People, Scripted, one_database
from tests.model.world import service_with
from tests.raw import Redis
from tests.scale.days import make_rows

DAYS = 400
FIRST = DAY - timedelta(DAYS + 3)

MOST_LOCKS = 24
"""Tables and indexes that one transaction of a user's request may touch; with the system's own they fit into Postgres'
fast path or hardly exceed it."""


@pytest.fixture(scope="module")
async def played(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("layout")) as settings:
        store = Store(settings.database_url)
        await store.open()
        await add_partitions(store, [months_ahead(FIRST, months) for months in range(15)])
        await store.close()
        async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
            await make_rows(connection, settings, FIRST, DAYS)
            await connection.execute("ANALYZE")
        yield settings


@pytest.fixture
async def at_work(played: Settings, redis: Redis) -> AsyncIterator[Service]:
    async with service_with(played) as service:
        await People(service).rows("DELETE FROM outbox_positions RETURNING day")  # Redis is empty, and not lost
        yield service


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tables and indexes each transaction of a store had locked when it ended."""
    seen: list[int] = []
    transaction = Store.transaction

    @asynccontextmanager
    async def counted(self: Store) -> AsyncIterator[Connection]:
        async with transaction(self) as connection:
            yield connection
            found = await connection.execute(
                "SELECT count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
                " AND relation <> 'pg_locks'::regclass"
            )
            [row] = await found.fetchall()
            seen.append(row["locks"])

    monkeypatch.setattr(Store, "transaction", counted)
    return seen


REQUESTS: dict[str, tuple[int, Callable[[Service], Awaitable[Any]]]] = {
    "me": (4, lambda service: me.info(service, 2)),
    "history": (4, lambda service: me.history(service, 2, 1, 20, "zh")),
    "a late page of history": (5, lambda service: me.history(service, 2, 15, 100, "zh")),
    "place": (3, lambda service: me.place(service, 2, DAY - timedelta(100))),
    "board": (2, lambda service: public.board(service, 1, 20)),
    "talents": (1, lambda service: public.talents(service)),
    "figures": (3, lambda service: public.figures(service, DAY - timedelta(100))),
    "packets": (3, lambda service: public.packets(service, DAY - timedelta(100), 1, 100)),
    "finding a person": (25, lambda service: people.find(service, "T202601052", True)),
    "failed payouts": (3, lambda service: money.outgoing(service.store, "failed", 1, 5)),
    "payouts on their way": (3, lambda service: money.outgoing(service.store, "owed", 1, 50)),
    "quarantine": (3, lambda service: quarantine.quarantined(service.store, service.channels, 1, 20)),
    "sending": (3, lambda service: outgoing.send_some(service.store, service.channels)),
}
"""What is asked, and the most transactions that it may take."""


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_locks_a_handful_of_tables(at_work: Service, locks: list[int], name: str) -> None:
    most, request = REQUESTS[name]
    locks.clear()
    await request(at_work)
    assert 0 < len(locks) <= most, locks
    assert max(locks) <= MOST_LOCKS, locks


async def test_a_story_locks_two_months(at_work: Service, locks: list[int]) -> None:
    answer = await people.story(at_work, 2, 3, True)
    assert len(answer.data["rounds"]) == people.ROUNDS_A_PAGE
    assert max(locks) <= 2 * MOST_LOCKS, locks


async def test_a_payment_and_a_new_round_lock_a_handful_of_tables(at_work: Service, locks: list[int]) -> None:
    """The drain of an order and its payment touches their tables once, and what they post and keep."""
    day = People(at_work)
    await at_work.opener.prepare(DAY)
    locks.clear()
    await at_work.opener.open_round(DAY)
    assert max(locks) <= MOST_LOCKS + 4, locks  # O waits for the log, too
    await day.members(2)
    locks.clear()
    await day.drain()
    assert max(locks) <= 2 * MOST_LOCKS, locks
    [row] = await day.rows("SELECT tableoid::regclass::text AS name FROM members WHERE day = %s AND uid = 2", DAY)
    assert row["name"] == partition_of("members", DAY)


async def test_a_withdrawal_locks_a_handful_of_tables(at_work: Service, locks: list[int]) -> None:
    """Out of the balance, on its way, and shown to its user."""
    day = People(at_work)
    day.use(Scripted())
    posted = "INSERT INTO transfers VALUES (%s, 'made_good', '3:9', 3, 'made_good', 'user:3', 5000, 0)"
    await day.rows(posted, DAY)
    for word in ("withdrawing", "withdrawing"):
        locks.clear()
        assert (await at_work.withdrawals.withdraw(3, DAY)).word == word
        assert max(locks) <= 2 * MOST_LOCKS, locks
    locks.clear()
    assert (await me.info(at_work, 3)).data["withdraw"]["open"]["no"] == "W3N1"
    assert max(locks) <= MOST_LOCKS, locks


async def test_a_refund_locks_a_handful_of_tables(at_work: Service, locks: list[int]) -> None:
    """It is written where the books have its payment."""
    day = People(at_work)
    await day.members(5)
    await day.drain()
    assert await day.pay(5, "another") == "refund_due"
    locks.clear()
    await day.drain()
    assert max(locks) <= 2 * MOST_LOCKS, locks
    assert await day.rows("SELECT uid FROM refunds WHERE day = %s AND uid = 5", DAY) == [{"uid": 5}]


async def test_money_that_is_due_is_taken_whatever_its_round(at_work: Service, locks: list[int]) -> None:
    tested, days = People(at_work), [FIRST, FIRST + timedelta(200)]
    of = "day = ANY(%s) AND uid = 1"
    await tested.rows(f"UPDATE outgoing SET state = 'owed' WHERE {of}", days)
    locks.clear()
    taken = await outgoing.take(at_work.store)
    assert max(locks) <= 3 * MOST_LOCKS + 5, locks  # unsent and withdrawals are in it, too
    assert sorted((row["day"], row["was"], row["open_id"], row["channel"]) for row in taken if row["uid"] == 1) == [
        (day, "owed", "open-1", "platform") for day in days
    ]
    assert await outgoing.take(at_work.store) == [], "they are leased"
    assert {row["state"] for row in await tested.rows(f"SELECT state FROM outgoing WHERE {of}", days)} == {"unknown"}
    await tested.rows(f"UPDATE outgoing SET next_at = now() WHERE {of}", days)
    assert len(await outgoing.take(at_work.store)) == 2, "the lease is over"
    await tested.rows(f"UPDATE outgoing SET state = 'done' WHERE {of}", days)


async def test_writers_that_meet_in_a_deadlock_try_again(at_work: Service) -> None:
    """Two post for the same users in opposite order. Postgres ends one, which does it again; both are counted."""
    tested, ready = People(at_work), [asyncio.Event(), asyncio.Event()]
    balances = "SELECT uid, balance_fen FROM accounts WHERE uid IN (1, 3) ORDER BY uid"
    before = await tested.rows(balances)

    async def post(number: int) -> None:
        async with at_work.store.transaction() as connection:
            for uid in ((1, 3), (3, 1))[number]:
                await connection.execute(
                    "INSERT INTO transfers VALUES (%s, 'refund_failed', %s, %s, 'owed:refund', %s, 10, 0)",
                    [DAY, f"deadlock {number} {uid}", uid, f"user:{uid}"],
                )
                ready[number].set()
                await ready[1 - number].wait()

    async def until_posted(number: int) -> int:
        for failures in range(3):
            try:
                await post(number)
                return failures
            except Unavailable:
                continue
        return 3

    assert 0 < sum(await asyncio.gather(until_posted(0), until_posted(1))) < 3
    after = await tested.rows(balances)
    assert [new["balance_fen"] - old["balance_fen"] for new, old in zip(after, before, strict=True)] == [20, 20]


async def test_an_account_that_counts_another_number_of_lines_is_found(at_work: Service) -> None:
    tested, day = People(at_work), FIRST + timedelta(300)
    assert await differing_accounts(at_work.store, day, 0) == ([], None)
    last = last_of(day)
    await tested.tamper("DELETE FROM transfers WHERE day = %s AND kind = 'packet' AND uid = 2", day)
    found, _ = await differing_accounts(at_work.store, day, 0)
    assert [(row["uid"], row["kept"] - row["posted"]) for row in found] == [(2, 1)]
    assert (await differing_accounts(at_work.store, last + timedelta(1), 0))[0] == [], "of that month alone"
    await tested.tamper("INSERT INTO transfers VALUES (%s, 'packet', '2', 2, %s, 'user:2', 60, 0)", day, f"pool:{day}")


async def test_sums_and_history_are_those_of_all_days(at_work: Service) -> None:
    """Page by page it is every line of the ledger once, the months newest first."""
    tested = People(at_work)
    [ledgered] = await tested.rows(
        "SELECT sum(lines_of(kind))::int AS lines,"
        " sum(amount_fen) FILTER (WHERE kind = 'packet')::int AS packets,"
        " count(*) FILTER (WHERE kind = 'payout_failed') AS failed FROM transfers WHERE uid = 2"
    )
    info = (await me.info(at_work, 2)).data["info"]
    assert (info["income_money"], info["balance"]) == (ledgered["packets"], ledgered["failed"] * 160)
    items: list[dict[str, Any]] = []
    for page in range(1, ledgered["lines"] // 100 + 2):
        items += (await me.history(at_work, 2, page, 100, "zh")).data["items"]
    assert len(items) == ledgered["lines"]
    assert sum(one["money"] for one in items) == info["balance"]
    months = [one["round"][:7] for one in items]
    assert months == sorted(months, reverse=True)
    assert len(await history_months(at_work.store, 2)) == len(set(months))


async def test_python_and_sql_agree_about_lines(at_work: Service) -> None:
    """The trigger counts the lines that users are shown, of every kind that the ledger has."""
    kinds = {rule.kind for rule in ledger.RULES}
    assert me.LINES.keys() <= kinds
    found = await People(at_work).rows("SELECT kind, lines_of(kind) AS lines FROM unnest(%s::text[]) AS kind", [*kinds])
    assert {row["kind"]: row["lines"] for row in found} == {kind: len(me.LINES.get(kind, ())) for kind in kinds}


async def test_what_is_kept_of_money_on_its_way_is_what_is_not_done(at_work: Service) -> None:
    tested = People(at_work)
    columns = "no, day, kind, state, amount_fen, attempts, next_at, created_at, handled"
    kept = await tested.rows(f"SELECT {columns} FROM unsent ORDER BY no")
    assert kept == await tested.rows(f"SELECT {columns} FROM outgoing WHERE state <> 'done' ORDER BY no")
    assert len(kept) > 12


async def test_one_statement_with_several_inserts_is_kept_once(at_work: Service) -> None:
    """And rows that are there already are not counted."""
    tested = People(at_work)
    before = await tested.rows("SELECT * FROM accounts WHERE uid = 3")
    lines = sum(of_month for _, of_month in await history_months(at_work.store, 3))
    post = "INSERT INTO transfers VALUES (%(day)s, 'refund_failed', '{0}', 3, 'owed:refund', 'user:3', {0}, 0)"
    statement = f"WITH a AS ({post.format(5)}), b AS ({post.format(7)}), c AS ({post.format(9)}) SELECT"
    async with tested.service.store.transaction() as connection:
        await connection.execute(statement.encode(), {"day": DAY})
        await connection.execute((post.format(7) + " ON CONFLICT DO NOTHING").encode(), {"day": DAY})
    [after] = await tested.rows("SELECT * FROM accounts WHERE uid = 3")
    assert after["balance_fen"] - before[0]["balance_fen"] == 5 + 7 + 9
    assert sum(of_month for _, of_month in await history_months(at_work.store, 3)) == lines + 3
