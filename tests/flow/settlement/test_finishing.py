"""Finishing: winners who did not claim are credited, and the keys expire."""

import asyncio

import pytest

from clock.books import outbox
from clock.config import Settings
from clock.game import keys
from clock.game.totals import read
from clock.rounds.ending import BooksDiffer
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import (
    CROWD,
    STAKE,
    Crowd,
    finished,
    pay,
    play,
    query,
    refunds,
    settled,
    stop,
)
from tests.model.world import arrived, forgetful, new_world
from tests.raw import raw


async def test_unclaimed_winners_are_credited_at_midnight_and_not_before(process: Service) -> None:
    await settled(process, DAY, CROWD)
    claimed = await process.verbs.claim(1, arrived())
    stop(process, DAY, "24:00", -1)
    assert not await process.finishing.finish(DAY)
    assert (await read(process.redis, DAY, 2)).claimed == 1
    claims = await finished(process, DAY)
    assert {claim["uid"]: claim["by"] for claim in claims} == {1: "user", 2: "system", 3: "system", 4: "system"}
    mine = next(claim for claim in claims if claim["uid"] == 1)
    assert mine["packet_fen"] == claimed.data["assign"]["money"]
    assert not await process.finishing.finish(DAY)


async def test_more_winners_than_one_call_credits_are_all_credited(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, shards=2) as service:
        await settled(service, DAY, Crowd(winners=620, sleepers=30))
        claims = await finished(service, DAY)
        assert len(claims) == 620
        assert sum(claim["packet_fen"] for claim in claims) == 30 * STAKE


async def test_a_claim_that_the_books_do_not_have_stops_finishing_loudly(process: Service) -> None:
    await settled(process, DAY, CROWD)
    await process.verbs.claim(1, arrived())
    for shard in range(2):
        await outbox.drain(process.store, process.redis, DAY, shard)
    await query(process, "DELETE FROM claims WHERE day = %s AND uid = 1", DAY)
    stop(process, DAY, "24:00")
    async with asyncio.timeout(60):
        with pytest.raises(BooksDiffer):
            await process.finishing.finish(DAY)


async def test_a_payment_into_an_ended_round_keeps_its_keys_no_longer_than_its_outbox_is_read(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the payment after it would be answered, and its refund never owed."""
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.2)
    numbers = await play(process, DAY, Crowd(winners=1))
    stop(process, DAY, "08:05")
    assert await process.settling.settle(DAY) == "settled"
    await finished(process, DAY)
    await query(process, "UPDATE rounds SET finished_at = now() - interval '10 days' WHERE day = %s", DAY)
    shard = keys.shard_of(1, 2)
    outbox_, round_ = keys.names(DAY, shard, ("outbox", "round"))
    assert await pay(process, 1, numbers[1], f"{DAY} 20:00:00", "T-second") == "refund_due"
    assert await raw(process.redis).pttl(outbox_) == -1
    await worker.drain({"service": process})
    assert await refunds(process, DAY) == [1]
    left_ms = keys.KEEP_MS - 10 * 24 * 3_600_000
    for name in (outbox_, round_):
        assert left_ms - 60_000 < await raw(process.redis).pttl(name) <= left_ms
