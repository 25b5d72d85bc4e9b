"""While people play, Redis and the books are read at different instants: what agrees is not named, what differs is."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from clock.audit import hashes
from clock.audit.reconcile import reconcile
from clock.channels.platform import PaymentCallback, PaymentExtra
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import keys
from tests.conftest import DAY
from tests.flow.reconcile.stage import named
from tests.flow.stage import People
from tests.model.world import new_world
from tests.payments import paid
from tests.raw import raw


@asynccontextmanager
async def playing(people: People) -> AsyncIterator[list[int]]:
    """One after the other joins, pays, pays again and, at six, checks in; the users who are there so far."""
    came: list[int] = []
    stopped = asyncio.Event()

    async def play() -> None:
        while not stopped.is_set():
            uid = 1_000 + len(came)
            people.it_is("20:00")
            await people.members(uid)
            assert await people.pay(uid, "again") == "refund_due"
            people.it_is("06:00", 1)
            await people.check_in(uid)
            came.append(uid)

    task = asyncio.create_task(play())
    yield came
    stopped.set()
    await task


async def test_while_people_play_nothing_differs_that_agrees(shared: Settings) -> None:
    async with new_world(shared, shards=2) as service:
        people = People(service)
        await people.members(1)
        async with playing(people) as came:
            for _ in range(4):
                before = len(came)
                report = await reconcile(service, DAY)
                assert report is not None
                assert report.differences == []
                assert len(came) > before, "nobody played meanwhile"


async def test_while_people_play_what_differs_is_named_and_nothing_else(shared: Settings) -> None:
    async with new_world(shared, shards=2) as service:
        people, redis = People(service), raw(service.redis)
        await people.members(1, 2, 3)
        await people.drain()
        records = {uid: keys.name(DAY, keys.shard_of(uid, 2), "members") for uid in (1, 2, 99)}
        await redis.hset(records[1], 1, b"C" + (await redis.hget(records[1], 1) or b"")[1:])
        await redis.hdel(records[2], "2")
        await redis.hset(records[99], 99, b"M")
        async with playing(people) as came:
            report = await reconcile(service, DAY)
            assert came
        assert report is not None
        assert named(report) == {("user_state", f"user {uid}") for uid in (1, 2, 99)}


async def test_a_callback_that_is_not_looked_into_any_more_is_named(shared: Settings) -> None:
    """Its order looks open to the user, who could pay again."""
    async with new_world(shared) as service:
        people = People(service)
        await people.join(1, 2)
        for uid in (1, 2):
            callback = PaymentCallback(people.orders[uid], PaymentExtra(amount=uid, transactionId=f"T{uid}"))
            body = msgspec.json.encode(callback)
            assert (
                await service.incoming.pay(paid(callback, body), "platform", time.monotonic())
            ).word == "amount_mismatch"
        await people.drain()
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.differences == []
        checking = keys.name(DAY, 0, "checking")
        fields = [field.decode() for field in await raw(service.redis).hkeys(checking) if b":" in field]
        await raw(service.redis).hset(checking, fields[0], 0)
        report = await reconcile(service, DAY)
        assert report is not None
        assert named(report) == {("payment_looked_into", fields[0])}


async def test_without_a_drain_nothing_is_said(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else drains the shard and does not get on: what differs may only be on its way."""

    async def stuck(*_: Any) -> None:
        return None

    async with new_world(shared) as service:
        people = People(service)
        await people.members(1)
        with monkeypatch.context() as patch:
            patch.setattr(hashes, "DRAIN_SECONDS", 0.2)
            patch.setattr("clock.books.outbox.drain_some", stuck)
            with pytest.raises(Unavailable):
                await reconcile(service, DAY)
        assert await people.rows("SELECT * FROM reconciliations") == []
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.differences == []
