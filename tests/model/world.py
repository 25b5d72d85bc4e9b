"""A service on emptied servers, whose clock stands still and whose requests have waited exactly as long as asked."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
import structlog

from clock.config import Settings
from clock.domain.rulebook import Change
from clock.game import batch, totals
from clock.game.client.calls import connect
from clock.game.touching import Touching
from clock.service import Service, end
from tests.raw import raw

FOR_EACH_TABLE = """
SET session_replication_role = replica;
DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT relname AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
          AND relname <> 'migrations'
    LOOP {} END LOOP;
END $$;
SET session_replication_role = origin;
"""
EMPTY = FOR_EACH_TABLE.format("EXECUTE 'DELETE FROM ' || t.name;")
"""Rows go, partitions stay: making those anew for every example would take longer than all the rest."""
KEEP = "CREATE SCHEMA kept;" + FOR_EACH_TABLE.format("EXECUTE format('CREATE TABLE kept.%1$s AS TABLE %1$s', t.name);")
PUT_BACK = FOR_EACH_TABLE.format("EXECUTE format('INSERT INTO %1$s OVERRIDING SYSTEM VALUE TABLE kept.%1$s', t.name);")


def arrived(waited_ms: int = 0) -> float:
    """When a request reached the process that has waited for ``waited_ms`` under :func:`exact_waits`."""
    return -waited_ms / 1000


def exact_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batcher's clock stands still at 0, and totals are never remembered."""
    monkeypatch.setattr(batch, "monotonic", lambda: 0.0)
    monkeypatch.setattr(totals, "FRESH_SECONDS", -1.0)


@contextmanager
def quiet() -> Iterator[None]:
    """Thousands of rounds settle: only errors are worth a line."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)


@asynccontextmanager
async def forgetful(settings: Settings) -> AsyncIterator[None]:
    """No server waits for its disk: what a crash of a server would lose is not this test's question."""
    redis = raw(connect(settings.redis_url))
    database = settings.database_url.rsplit("/", 1)[1]
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
        await connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off".encode())
    await redis.config_set("appendfsync", "no")
    try:
        yield
    finally:
        await redis.config_set("appendfsync", "always")
        await redis.aclose()


async def empty(settings: Settings) -> None:
    """Both servers: Postgres as freshly migrated, but for the partitions. A round that Redis has is not opened."""
    await _execute(settings, EMPTY)
    async with raw(connect(settings.redis_url)) as redis:
        await redis.flushall()


async def _execute(settings: Settings, statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
        await connection.execute(statements.encode())


class Kept:
    """What both servers had at a moment: from there a test can go on more than once."""

    def __init__(self, settings: Settings, keys: dict[bytes, tuple[bytes, int]]) -> None:
        self._settings = settings
        self._keys = keys

    @classmethod
    async def now(cls, settings: Settings) -> "Kept":
        """Once a test."""
        await _execute(settings, KEEP)
        async with raw(connect(settings.redis_url)) as redis:
            names = await redis.keys("*")
            return cls(settings, {name: (await redis.dump(name), max(0, await redis.pttl(name))) for name in names})

    @asynccontextmanager
    async def world(self, **changes: Any) -> AsyncIterator[Service]:
        """A process that finds it."""
        await empty(self._settings)
        await _execute(self._settings, PUT_BACK)
        async with raw(connect(self._settings.redis_url)) as redis:
            for name, (value, expires_ms) in self._keys.items():
                await redis.restore(name, expires_ms, value)
        with quiet():
            async with service_with(self._settings, **changes) as service:
                yield service


@asynccontextmanager
async def service_with(settings: Settings, *, touched: bool = True, **changes: Any) -> AsyncIterator[Service]:
    """A process' parts under changed settings; nobody else moves its clock. People can check in all the time, unless
    the test says itself when it is ``touched``."""
    service = Service(msgspec.structs.replace(settings, **{"env": "prod", **changes}), answer_seconds=None)
    service.touching = Touching(service.asking, service.redis, always=True)
    await service.start()
    tasks = [asyncio.create_task(service.touching.keep_touching())] if touched else []
    try:
        yield service
    finally:
        await end(tasks)
        await service.stop()


async def plan_bonus(service: Service, first: date, bonus_fen: int) -> None:
    """From this day on for a month the house adds so much to each pot."""
    if bonus_fen:
        change = Change(first_day=first, last_day=first + timedelta(days=30), bonus_fen=bonus_fen)
        assert (await service.planning.plan(change, "the house", "a test", first)).word == "planned"


@asynccontextmanager
async def new_world(settings: Settings, *, touched: bool = True, **changes: Any) -> AsyncIterator[Service]:
    """The same on emptied servers."""
    await empty(settings)
    with quiet():
        async with service_with(settings, touched=touched, **changes) as service:
            yield service
