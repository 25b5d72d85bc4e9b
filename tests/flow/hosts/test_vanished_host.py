"""A worker's host vanishes: it stands still, or its network swallows everything. Nothing is closed, and nobody says so.
Another worker goes on, and the one that comes back does no harm."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import psutil
import psycopg
import pytest

from clock.books.store import OUTBOX_LOCK, ROUND_LOCK
from clock.config import Settings
from clock.domain.rounds import day_number
from clock.game import keys
from clock.service import Service
from tests.conftest import DAY
from tests.flow.hosts.stage import Network, counted, ended, rows
from tests.flow.settlement.stage import (
    RICH,
    audited,
    carried_then_played,
    finished,
    manifest,
    move_other_processes,
    published,
    row_of,
)
from tests.flow.stage import People, working
from tests.flow.switch.stage import seconds_until
from tests.raw import Redis

pytestmark = pytest.mark.long

SECONDS = 40.0
MOST_SECONDS = 15.0
"""A tenth of 30, and starting a process on a busy machine."""

WORKER = """
import asyncio, os, signal, sys
from clock.books import leases, store
from clock.cli.shell import ready_settings
from clock.rounds.settling import Settling
from clock.runtime import worker

store.IDLE_SECONDS, leases.LEASE_SECONDS, leases.RENEW_SECONDS = 2, 1.5, 0.5
write, split, how = Settling._write_manifest, Settling._split, sys.argv[1]

def stopping(packets):
    os.kill(os.getpid(), signal.SIGSTOP)
    yield from packets

async def stop(self, connection, day, closed, packets):
    await write(self, connection, day, closed, stopping(packets))

async def wait(self, round_):
    if str(round_.day) == sys.argv[2]:
        await self._redis.set("clock:waits", 1)
        await asyncio.sleep(3600)
    return await split(self, round_)

if how == "stopped":
    Settling._write_manifest = stop
if how == "swallowed":
    Settling._split = wait
asyncio.run(worker.run(ready_settings()))
"""
"""A worker that holds locks for a tenth of the time. Settling, it stands still while it writes the manifest, or waits
before it splits."""


def working_as(settings: Settings, how: str = "") -> "AbstractAsyncContextManager[Any]":
    return working(settings, command=("-c", WORKER, how, str(DAY)))


def vanishes(process: Any, network: Network, how: str) -> None:
    if how == "stopped":
        os.kill(process.pid, signal.SIGSTOP)
    else:
        network.falls_silent()


def comes_back(process: Any, network: Network, how: str) -> None:
    if how == "stopped":
        os.kill(process.pid, signal.SIGCONT)
    else:
        network.is_back()


DRAINING = (
    "relation = 'check_ins'::regclass AND NOT granted"
    " AND pid IN (SELECT pid FROM pg_locks WHERE classid = %s AND granted)"
)
"""Whoever has a shard's lease, and waits to write its check-ins."""

OURS = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"


def locked(service: Service, statement: str, *parameters: object) -> Callable[[], Any]:
    async def found() -> list[dict[str, Any]]:
        return await rows(service, f"SELECT pid FROM pg_locks WHERE {OURS} AND {statement}", *parameters)

    return found


@pytest.mark.parametrize("how", ["stopped", "swallowed"])
async def test_its_shards_are_drained_by_another(
    settings: Settings, service: Service, redis: Redis, network: Network, how: str
) -> None:
    """It vanishes with the rows of a batch written and not committed, in the middle of its lease."""
    people = People(service)
    await service.opener.open_round(DAY)
    await people.members(*range(1, 9))
    people.it_is("05:00", 1)
    await move_other_processes(service)
    async with working_as(network.of(settings)) as first:
        await seconds_until(counted(service, "members", 8), SECONDS)
        async with await psycopg.AsyncConnection.connect(settings.database_url) as other:
            await other.execute("LOCK TABLE check_ins IN SHARE MODE")
            await people.check_in(1, 2, 3, 4, 5, 6)
            await seconds_until(locked(service, DRAINING, OUTBOX_LOCK), SECONDS)
            vanishes(first, network, how)
        assert await locked(service, "classid = %s AND granted", OUTBOX_LOCK)()
        async with working_as(settings) as second:
            waited = await seconds_until(counted(service, "check_ins", 6), SECONDS)
            print(how, "drained after", round(waited, 1), "s")
            assert waited < MOST_SECONDS
            comes_back(first, network, how)
            await people.check_in(7)
            await seconds_until(counted(service, "check_ins", 7), SECONDS)
            assert await ended(second) == 0
        await people.check_in(8)
        await seconds_until(counted(service, "check_ins", 8), SECONDS)  # the first one
        assert await ended(first) == 0
    found = await rows(service, "SELECT sum(count)::int AS n FROM steps WHERE day = %s AND step = 'checked_in'", DAY)
    assert found == [{"n": 8}], "each was written once"
    people.it_is("08:05", 1)
    assert await service.settling.settle(DAY) == "settled"
    await audited(service, DAY)


@pytest.mark.parametrize("changes", [RICH])
@pytest.mark.parametrize("how", ["stopped", "swallowed"])
async def test_its_settlement_is_taken_over_by_another(
    settings: Settings, service: Service, redis: Redis, network: Network, how: str
) -> None:
    """It has written a part of the manifest, and holds what it has locked."""
    await carried_then_played(service)
    await move_other_processes(service)
    async with working_as(network.of(settings), how) as first:
        if how == "stopped":  # it does so by itself
            await seconds_until(lambda: stands_still(first.pid), SECONDS)
        else:
            await seconds_until(lambda: redis.exists("clock:waits"), SECONDS)
            vanishes(first, network, how)
        assert await locked(service, "(classid, objid) = (%s, %s) AND granted", ROUND_LOCK, day_number(DAY))()
        assert (await row_of(service, DAY))["state"] == "sealed"
        async with working_as(settings) as second:
            waited = await seconds_until(lambda: is_settled(service), SECONDS)
            print(how, "settled after", round(waited, 1), "s")
            assert waited < MOST_SECONDS
            drawn = await manifest(service, DAY)
            comes_back(first, network, how)
            await redis.delete(keys.HEARTBEAT)
            assert await ended(second) == 0
        await redis.delete(keys.HEARTBEAT)
        await seconds_until(lambda: redis.exists(keys.HEARTBEAT), SECONDS)  # the first one works
        assert await ended(first) == 0
    assert await manifest(service, DAY) == await published(service, DAY) == drawn
    await audited(service, DAY)
    await finished(service, DAY)


async def stands_still(pid: int) -> bool:
    return str(psutil.Process(pid).status()) == str(psutil.STATUS_STOPPED)


async def is_settled(service: Service) -> bool:
    return str((await row_of(service, DAY))["state"]) == "settled"
