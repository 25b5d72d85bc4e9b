"""Two workers end different rounds at the same time, and the same round once."""

import asyncio
from datetime import date
from typing import Any

import pytest

from clock.config import Settings
from clock.runtime.jobs import shown
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import BEFORE, CROWD, Crowd, audited, finished, play, published, row_of, stop
from tests.model.world import service_with

DAYS = [BEFORE, DAY]


@pytest.fixture
def held_up(process: Service, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """The first process waits in the middle of settling the round before: it has begun, it may go on."""
    begun, may_go_on = asyncio.Event(), asyncio.Event()
    seal = process.settling._seal

    async def waits(round_: Any) -> str:
        if round_.day == BEFORE:
            begun.set()
            await may_go_on.wait()
        return await seal(round_)

    monkeypatch.setattr(process.settling, "_seal", waits)
    return begun, may_go_on


async def settles(service: Service) -> None:
    """As the worker's job does."""
    for day in DAYS:
        await shown(service, "settle", service.settling.settle, day)


async def counts(service: Service) -> None:
    for day in DAYS:
        await shown(service, "count", service.standings.count, day)


async def state(service: Service, day: date) -> str:
    return str((await row_of(service, day))["state"])


async def test_a_second_worker_ends_the_next_round_meanwhile(
    process: Service, settings: Settings, held_up: tuple[asyncio.Event, asyncio.Event]
) -> None:
    """What the earlier round carries is in the pot of whichever is sealed next, and its members are counted first."""
    begun, may_go_on = held_up
    await play(process, BEFORE, Crowd(sleepers=3))
    await play(process, DAY, CROWD)
    async with asyncio.timeout(60), service_with(settings, shards=2) as other:
        for service in (process, other):
            stop(service, DAY, "08:05")
        first = asyncio.create_task(settles(process))
        await begun.wait()
        assert [await other.ending.is_free(day) for day in DAYS] == [False, True]
        await settles(other)
        assert [await state(other, day) for day in DAYS] == ["closed", "settled"]
        assert (await row_of(other, DAY))["tallied_at"] is None
        may_go_on.set()
        await first
        assert [await state(other, day) for day in DAYS] == ["settled", "settled"]
        await counts(other)
    for day in DAYS:
        row = await audited(process, day)
        assert row["carried_in_fen"] == 0 and row["tallied_at"] is not None
    await finished(process, DAY)


async def test_both_at_once_do_everything_once(process: Service, settings: Settings) -> None:
    await play(process, BEFORE, Crowd(winners=2, sleepers=3))
    await play(process, DAY, CROWD)
    async with asyncio.timeout(60), service_with(settings, shards=2) as other:
        for service in (process, other):
            stop(service, DAY, "08:05")
        while [await state(process, day) for day in DAYS] != ["settled", "settled"]:
            await asyncio.gather(*(settles(service) for service in (process, other)))
        while not all([(await row_of(process, day))["tallied_at"] for day in DAYS]):
            await asyncio.gather(*(counts(service) for service in (process, other)))
    for day in DAYS:
        row = await audited(process, day)
        assert len(await published(process, day)) == row["winners"]
    await finished(process, DAY)
