"""What nobody foresaw stops its own round alone, and is said now and then."""

from datetime import date, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from clock import logs
from clock.books import outbox
from clock.config import Settings
from clock.game import keys
from clock.runtime import worker
from tests.conftest import DAY, at
from tests.flow.settlement.stage import BEFORE, Crowd, play, row_of, stop
from tests.flow.work.stage import context
from tests.model.world import new_world


def events(logged: list[Any], name: str) -> list[str]:
    return [line["day"] for line in logged if line["event"] == name]


async def test_a_broken_round_is_said_once_a_minute_and_the_others_are_settled(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_world(shared) as service:
        await play(service, BEFORE, Crowd(winners=1, sleepers=1))
        await play(service, DAY, Crowd(winners=1, sleepers=1))
        stop(service, DAY, "08:30")
        settle = service.settling.settle
        tried: list[date] = []

        async def breaks(day: date) -> str:
            tried.append(day)
            if day == BEFORE:
                raise RuntimeError("nobody foresaw this")
            return await settle(day)

        monkeypatch.setattr(service.settling, "settle", breaks)
        its = context(service)
        with capture_logs() as logged:
            for _ in range(3):
                await worker.settle(its)
        assert events(logged, "round_failed") == [str(BEFORE)]
        assert tried.count(BEFORE) == 3
        assert (await row_of(service, DAY))["state"] == "settled"
        monkeypatch.setattr(logs, "AGAIN_SECONDS", 0.0)
        with capture_logs() as logged:
            await worker.settle(its)
        assert events(logged, "round_failed") == [str(BEFORE)], "it is said again"


async def test_a_round_that_cannot_be_drained_or_opened_leaves_the_others_alone(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.3)
    async with new_world(shared) as service:
        its = context(service)
        service.time.stop_at(at("20:00"))
        await worker.beat(its)
        await play(service, DAY, Crowd(winners=1))
        drain_new = outbox.drain_new

        async def breaks(store: Any, redis: Any, day: keys.Day, shard: int) -> int:
            if day == BEFORE:
                raise RuntimeError("nobody foresaw this")
            return await drain_new(store, redis, day, shard)

        monkeypatch.setattr(outbox, "drain_new", breaks)
        with capture_logs() as logged:
            await worker.drain(its)
            await worker.drain(its)
        assert events(logged, "round_failed") == [str(BEFORE)]
        assert await outbox.depth(service.redis, DAY, 1) == 0

        open_missing = service.opener.open_missing
        next_day = DAY + timedelta(days=3)

        async def opens(day: date) -> None:
            if day == DAY + timedelta(days=1):
                raise RuntimeError("nobody foresaw this")
            await open_missing(day)

        monkeypatch.setattr(service.opener, "open_missing", opens)
        service.time.stop_at(at("20:00", 2))
        with capture_logs() as logged:
            for _ in range(3):
                await worker.beat(its)
        assert events(logged, "round_failed") == [str(DAY + timedelta(days=1))]
        assert await service.redis.exists(keys.name(next_day, 0, "round"))


async def test_a_job_that_breaks_is_said_once_a_minute(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with new_world(shared) as service:

        async def breaks(*_: Any, **__: Any) -> None:
            raise RuntimeError("nobody foresaw this")

        monkeypatch.setattr(service.store, "all", breaks)
        its = context(service)
        with capture_logs() as logged:
            for _ in range(3):
                await worker.compare(its)
        assert [(line["event"], line["job"]) for line in logged] == [("job_failed", "compare")]
