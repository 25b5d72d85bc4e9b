"""Whoever holds a lock vanishes from the network: the next one gets it soon. Who lives keeps it, however long."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from clock.books import leases, outbox, store
from clock.books.leases import held
from clock.books.partitions import PARTITION_LOCK
from clock.books.store import OUTBOX_LOCK, RELEASE_LOCK, SETTLEMENT_LOCK, Connection, Store, one, rows
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.payments import outgoing
from clock.runtime import worker
from clock.service import Service, end
from tests.conftest import DAY
from tests.flow.pair import Address
from tests.flow.switch.stage import seconds_until

MOST_SECONDS = 30.0

Take = Callable[[Connection], Awaitable[object]]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for takes a tenth of its time."""
    monkeypatch.setattr(store, "IDLE_SECONDS", 2)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.5)


async def a_shards_lease(connection: Connection) -> None:
    lease = await one(connection, "try_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(DAY, 0))
    if not lease["ours"]:
        raise LockNotAvailable


async def the_wait_for_a_lease(connection: Connection) -> None:
    await rows(connection, "wait_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(DAY, 0))


async def settlement(connection: Connection) -> None:
    await rows(connection, "lock_settlement", lock=SETTLEMENT_LOCK)


async def releases(connection: Connection) -> None:
    await rows(connection, "lock_releases", lock=RELEASE_LOCK)


async def partitions(connection: Connection) -> None:
    await rows(connection, "lock_partitions", lock=PARTITION_LOCK)


async def due_money(connection: Connection) -> None:
    if not await outgoing.lock_due(connection):
        raise LockNotAvailable


async def a_round(connection: Connection) -> None:
    await connection.execute("SELECT FROM rounds WHERE day = %s FOR UPDATE", [DAY])


@asynccontextmanager
async def open_stores(*urls: str) -> AsyncIterator[list[Store]]:
    stores = [Store(url) for url in urls]
    for each in stores:
        await each.open()
    yield stores
    for each in stores:
        await each.close()


async def holding(holder: Store, take: Take) -> "asyncio.Task[None]":
    """Somebody who has taken it, and does nothing more."""
    taken = asyncio.Event()

    async def hold() -> None:
        async with holder.transaction() as connection:
            await take(connection)
            taken.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await taken.wait()
    return task


def taken_by(other: Store, take: Take) -> Callable[[], Awaitable[bool]]:
    async def taken() -> bool:
        try:
            async with other.transaction() as connection:
                await take(connection)
        except Unavailable:
            return False
        return True

    return taken


async def vanishes(settings: Settings, direct_url: str, address: Address, take: Take) -> float:
    """After how many seconds the next one has what the vanished one has held."""
    async with open_stores(settings.database_url, direct_url) as (holder, other):
        task = await holding(holder, take)
        address.forget()
        waited = await seconds_until(taken_by(other, take), MOST_SECONDS)
        address.cut()
        await end([task])
    print(take.__name__, round(waited, 1), "s")
    return waited


@pytest.fixture
async def due(service: Service) -> None:
    """A round, and a payout that is due."""
    await service.opener.open_round(DAY)
    async with service.store.transaction() as connection:
        await connection.execute(
            "INSERT INTO outgoing (day, no, kind, uid, amount_fen) VALUES (%s, 'P1', 'payout', 1, 100)", [DAY]
        )


LOCKS = (a_shards_lease, the_wait_for_a_lease, settlement, releases, partitions, due_money, a_round)


@pytest.mark.parametrize("take", LOCKS, ids=lambda take: take.__name__)
async def test_who_vanished_loses_every_lock(
    settings: Settings, direct_url: str, address: Address, due: None, short: None, take: Take
) -> None:
    assert 1 < await vanishes(settings, direct_url, address, take) < 10


@pytest.mark.long
async def test_who_vanished_loses_its_lock_within_half_a_minute(
    settings: Settings, direct_url: str, address: Address
) -> None:
    assert await vanishes(settings, direct_url, address, settlement) < MOST_SECONDS


async def test_who_died_while_postgres_worked_loses_its_lock(
    settings: Settings, direct_url: str, address: Address
) -> None:
    async def and_works(connection: Connection) -> None:
        await settlement(connection)
        asyncio.get_running_loop().call_later(0.5, address.cut)
        await connection.execute("SELECT pg_sleep(60)")

    async with open_stores(settings.database_url, direct_url) as (holder, other):
        with pytest.raises(Unavailable):
            await holding_until_cut(holder, and_works)
        assert await seconds_until(taken_by(other, settlement), MOST_SECONDS) < 10


async def holding_until_cut(holder: Store, take: Take) -> None:
    async with holder.transaction() as connection:
        await take(connection)


async def stands_still_while_it_sends(connection: Connection) -> None:
    """The first messages of a statement are sent, and the one that ends it is not."""
    await settlement(connection)
    connection.pgconn.enter_pipeline_mode()
    connection.pgconn.send_query_params(b"SELECT $1::int", [b"1"])
    while connection.pgconn.flush():
        await asyncio.sleep(0)


async def test_who_stands_still_in_the_middle_of_a_message_is_ended(
    service: Service, settings: Settings, direct_url: str, short: None
) -> None:
    """And nobody else: neither who is asked nothing, nor who takes his time with a COPY."""
    async with open_stores(settings.database_url, direct_url) as (holder, other):
        task = await holding(holder, stands_still_while_it_sends)
        async with other.transaction() as copying, copying.cursor() as cursor:
            await copying.execute("CREATE TEMPORARY TABLE slow (n int) ON COMMIT DROP")
            async with cursor.copy("COPY slow FROM STDIN") as copy:
                await asyncio.sleep(store.IDLE_SECONDS + 1)
                assert not await taken_by(service.store, a_free_settlement)()
                await worker.beat({"service": service})
                assert await seconds_until(taken_by(service.store, a_free_settlement), MOST_SECONDS) < 5
                await copy.write("1\n")
        with suppress(Unavailable, psycopg.Error):
            await end([task])


async def a_free_settlement(connection: Connection) -> None:
    found = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS ours", [SETTLEMENT_LOCK])
    if await found.fetchone() != {"ours": True}:
        raise Unavailable("it is held")


async def test_nobody_stands_behind_a_lock_for_long(
    settings: Settings, direct_url: str, due: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_SECONDS", 1)
    async with open_stores(settings.database_url, direct_url) as (holder, other):
        task = await holding(holder, a_round)
        began = time.monotonic()
        assert not await taken_by(other, a_round)()
        assert 0.9 < time.monotonic() - began < 8
        await end([task])
        assert await taken_by(other, a_round)()


async def test_who_lives_keeps_the_lock(service: Service, direct_url: str, short: None) -> None:
    async with open_stores(direct_url) as (other,):
        async with service.settling._ending.alone(DAY):
            for _ in range(8):
                await asyncio.sleep(store.IDLE_SECONDS / 4)
                async with other.transaction() as connection:
                    free = await one(connection, "try_lease", lock=OUTBOX_LOCK, shard=0)
                    assert free["ours"]
                    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS ours", [SETTLEMENT_LOCK])
                    assert await cursor.fetchone() == {"ours": False}
        assert await taken_by(other, settlement)()


async def test_a_long_statement_under_the_lock_is_not_cut(service: Service, short: None) -> None:
    async with service.store.transaction() as connection:
        await settlement(connection)
        async with held(connection):
            await connection.execute("SELECT pg_sleep(%s)", [3 * leases.LEASE_SECONDS])


async def test_who_is_cut_off_stops_before_another_begins(
    service: Service, direct_url: str, address: Address, short: None
) -> None:
    """It lives, and does not reach Postgres any more: its other connections may."""
    stopped: list[float] = []

    async def work() -> None:
        try:
            async with service.settling._ending.alone(DAY):
                address.forget()
                try:
                    await asyncio.sleep(60)
                finally:
                    stopped.append(time.monotonic())
        except Unavailable:
            pass

    async with open_stores(direct_url) as (other,):
        working = asyncio.create_task(work())
        while not address._forgotten:
            await asyncio.sleep(0.01)
        await seconds_until(taken_by(other, settlement), MOST_SECONDS)
        assert stopped and stopped[0] < time.monotonic()
        await asyncio.wait_for(working, 5)


async def test_the_urls_own_parameters_win(direct_url: str) -> None:
    given = {"keepalives_idle": "77", "tcp_user_timeout": "7000", "connect_timeout": "9"}
    url = direct_url + "".join(f"&{name}={value}" for name, value in given.items())
    async with open_stores(url, direct_url) as stores:
        for each, expected in zip(stores, (given, {"keepalives_idle": "10", "tcp_user_timeout": "20000"}), strict=True):
            async with each.transaction() as connection:
                used = {option.keyword.decode(): option.val for option in connection.pgconn.info}
                assert {name: (used[name] or b"").decode() for name in expected} == expected
                assert used["keepalives_interval"] == b"5"
