"""A process that dies at any call to a server changes nothing of where the money goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest

from clock.config import Settings
from clock.rounds import settling
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import (
    AFTER,
    BEFORE,
    CROWD,
    RICH,
    Crash,
    Crowd,
    audited,
    carried_then_played,
    expect_rich,
    expect_void,
    finished,
    manifest,
    opened_by_an_earlier_version,
    published,
    query,
    row_of,
    settle_until,
    settled,
    stop,
)
from tests.model.world import Kept, arrived, forgetful, new_world, service_with


class Fuse:
    """Kills the process at the ``at``-th call to a server: a command is not sent, a transaction not committed.

    That is every moment at which dying can make a difference: what is lost after a call is lost before the next.
    """

    def __init__(self, service: Service, at: int) -> None:
        self.calls, self.burnt, self._at = 0, False, at
        redis: Any = service.redis
        self._command, self._transaction = redis.execute_command, service.store.transaction
        service.redis.execute_command = self.command  # type: ignore[method-assign]
        service.store.transaction = self.transaction  # type: ignore[method-assign]

    def _is_hit(self) -> bool:
        self.calls += 1
        return self.calls == self._at

    def _burn(self) -> None:
        self.burnt = True
        raise Crash

    async def command(self, *args: Any, **options: Any) -> Any:
        """Any but TIME, which the process' own clock asks for in the background."""
        if args[0] != "TIME" and self._is_hit():
            self._burn()
        return await self._command(*args, **options)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        hit = self._is_hit()
        async with self._transaction() as connection:
            yield connection
            if hit:
                self._burn()


Act = Callable[[Service], Awaitable[object]]


async def dies(settings: Settings, living: Service, act: Act, at: int, **rules: Any) -> bool:
    """Whether a process of its own died on the way, at the ``at``-th call."""
    async with service_with(settings, **rules) as victim:
        victim.time.setting = living.time.setting
        fuse = Fuse(victim, at)
        with suppress(Crash):
            await act(victim)
        return fuse.burnt


@pytest.mark.long
async def test_settlement_resumes_after_dying_at_any_call(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PAGE", 2)
    monkeypatch.setattr(settling, "CHUNK", 1)
    async with new_world(settings, **RICH) as service:
        await carried_then_played(service)
    played = await Kept.now(settings)
    for at in count(1):
        async with forgetful(settings), played.world(**RICH) as service:
            stop(service, DAY, "08:05")
            died = await dies(settings, service, lambda victim: victim.settling.settle(DAY), at, **RICH)
            drawn = await manifest(service, DAY)
            taps = await asyncio.gather(*(service.verbs.claim(uid, arrived()) for uid in CROWD.awake))
            assert {tap.word for tap in taps} <= {"claimed", "not_settled"}
            assert await service.settling.settle(DAY) == "settled"
            expect_rich(await audited(service, DAY))
            assert not drawn or drawn == await manifest(service, DAY)
            assert await published(service, DAY) == await manifest(service, DAY)
            await finished(service, DAY)
        if not died:
            break
    assert at > 30


@pytest.mark.long
async def test_crediting_resumes_after_dying_at_any_call(settings: Settings) -> None:
    async with new_world(settings, shards=2) as service:
        await settled(service, DAY, CROWD)
        await service.verbs.claim(1, arrived())
    claimed = await Kept.now(settings)
    for at in count(1):
        async with forgetful(settings), claimed.world(shards=2) as service:
            stop(service, DAY, "24:00")
            died = await dies(settings, service, lambda victim: victim.finishing.finish(DAY), at, shards=2)
            if (await row_of(service, DAY))["state"] == "settled":
                await finished(service, DAY)
            assert (await row_of(service, DAY))["state"] == "finished"
            claims = await query(service, "SELECT uid FROM claims WHERE day = %s ORDER BY uid", DAY)
            assert [claim["uid"] for claim in claims] == list(CROWD.awake)
        if not died:
            break
    assert at > 20


@pytest.mark.long
async def test_voiding_resumes_after_dying_at_any_call_and_gives_back_what_was_carried(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_world(settings, **RICH) as service:
        await carried_then_played(service)
        await opened_by_an_earlier_version(service, DAY)
        await settle_until(service, monkeypatch, "split")
        assert (await row_of(service, BEFORE))["carried_to"] == DAY
    drawn = await Kept.now(settings)
    for at in count(1):
        async with forgetful(settings), drawn.world(**RICH) as service:
            stop(service, DAY, "08:05")
            died = await dies(settings, service, lambda victim: victim.voiding.void(DAY, "rain"), at, **RICH)
            assert await service.voiding.void(DAY, "rain") == "ok"
            await expect_void(service, CROWD)
            assert (await row_of(service, BEFORE))["carried_to"] is None
            assert (await settled(service, AFTER, Crowd(winners=2)))["carried_in_fen"] == 270
        if not died:
            break
    assert at > 15
