"""When a round is settled, who is told what before, and what stops it."""

import asyncio
import hashlib
from typing import Any

import pytest

from clock.books import outbox
from clock.books.store import SETTLEMENT_LOCK, Store
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.http.players import public
from clock.operators import rounds
from clock.proofs import growing
from clock.proofs.growing import Grown
from clock.rounds import settling
from clock.rounds.ending import BooksDiffer
from clock.rounds.recorded import Recorded
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import (
    AFTER,
    BEFORE,
    CROWD,
    Crowd,
    audited,
    expect_void,
    manifest,
    play,
    published,
    query,
    row_of,
    settle_until,
    settled,
    stop,
)
from tests.model.world import arrived, forgetful, new_world, service_with

# -- when


async def test_settlement_is_due_at_0805_and_not_a_millisecond_before(process: Service) -> None:
    await play(process, DAY, CROWD)
    for time_of_day, milliseconds in (("06:00", 0), ("08:00", 0), ("08:05", -1)):
        stop(process, DAY, time_of_day, milliseconds)
        assert await process.settling.settle(DAY) == "not_due"
        assert (await process.verbs.check_in(1, arrived())).word == "already_checked_in"
    assert (await row_of(process, DAY))["state"] == "open"
    stop(process, DAY, "08:05")
    assert await process.settling.settle(DAY) == "settled"


async def test_a_worker_that_starts_at_eleven_settles_what_was_due(process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "11:00")
    assert (await process.verbs.claim(1, arrived())).word == "not_settled"
    await worker.settle({"service": process})
    assert (await process.verbs.claim(1, arrived())).word == "claimed"
    await audited(process, DAY)


async def test_after_days_of_outage_everything_is_settled_and_finished_oldest_first(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, nobody="carry", shards=2) as service:
        await play(service, BEFORE, Crowd(sleepers=2))
        await play(service, DAY, Crowd(winners=1, sleepers=1))
        stop(service, AFTER, "12:00")
        await worker.settle({"service": service})
        assert [(await row_of(service, day))["state"] for day in (BEFORE, DAY)] == ["finished", "finished"]
        assert (await row_of(service, DAY))["pot_fen"] == 300
        claims = await query(service, "SELECT uid, packet_fen, by FROM claims")
        assert claims == [{"uid": 1, "packet_fen": 300, "by": "system"}]


async def test_a_day_without_a_round_is_not_found(process: Service) -> None:
    assert await process.settling.settle(DAY) == "round_not_found"
    assert await process.voiding.void(DAY, "why") == "round_not_found"
    assert not await process.finishing.finish(DAY)


async def test_packets_are_published_in_the_order_of_the_manifest_page_after_page(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PAGE", 5)
    monkeypatch.setattr(settling, "CHUNK", 2)
    monkeypatch.setattr(settling, "AT_ONCE", 2)
    async with forgetful(settings), new_world(settings, shards=2) as service:
        await settled(service, DAY, Crowd(winners=40, sleepers=30))
        assert len(await published(service, DAY)) == 40
        assert await published(service, DAY) == await manifest(service, DAY)


# -- several at once


async def test_of_two_settlers_at_once_one_settles_and_both_say_so(settings: Settings, process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    async with service_with(settings, shards=2) as other:
        other.time.setting = process.time.setting
        words = await asyncio.gather(process.settling.settle(DAY), other.settling.settle(DAY))
    assert list(words) == ["settled", "settled"]
    await audited(process, DAY)
    assert await published(process, DAY) == await manifest(process, DAY)


async def test_an_operator_who_asks_many_times_at_once_does_not_stop_settlement(process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    words = await asyncio.gather(*(process.settling.settle(DAY) for _ in range(12)))
    assert words == ["settled"] * 12
    assert await published(process, DAY) == await manifest(process, DAY)


# -- when the books differ, or a server is away


@pytest.mark.parametrize("table", ["members", "check_ins"])
async def test_books_that_differ_stop_settlement_until_they_agree(process: Service, table: str) -> None:
    await play(process, DAY, CROWD)
    for shard in range(2):
        await outbox.drain(process.store, process.redis, DAY, shard)
    lost = await query(process, f"DELETE FROM {table} WHERE day = %s AND uid = 2 RETURNING *", DAY)
    stop(process, DAY, "08:05")
    for _ in range(2):
        with pytest.raises(BooksDiffer):
            await process.settling.settle(DAY)
        assert (await row_of(process, DAY))["state"] == "open"
        assert await manifest(process, DAY) == await published(process, DAY) == []
        assert (await process.verbs.claim(1, arrived())).word == "not_settled"
    marks = ", ".join(["%s"] * len(lost[0]))
    await query(process, f"INSERT INTO {table} VALUES ({marks})", *lost[0].values())
    assert await process.settling.settle(DAY) == "settled"
    await audited(process, DAY)


async def test_claiming_opens_nowhere_while_a_packet_is_missing_somewhere(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "published")
    redis: Any = process.redis
    lists = [keys.pieces(keys.name(DAY, shard, "packets"), 1)[0] for shard in range(2)]
    assert all([await redis.llen(name) for name in lists])
    await redis.rpop(lists[1])
    with pytest.raises(BooksDiffer):
        await process.settling.settle(DAY)
    answers = await asyncio.gather(*(process.verbs.claim(uid, arrived()) for uid in CROWD.awake))
    assert {answer.word for answer in answers} == {"not_settled"}


async def test_without_postgres_settlement_waits_and_says_so(process: Service, settings: Settings) -> None:
    await play(process, DAY, CROWD)
    async with service_with(settings, shards=2, database_url=settings.database_url + "_gone") as other:
        stop(other, DAY, "08:05")
        with pytest.raises(Unavailable):
            await other.settling.settle(DAY)
    stop(process, DAY, "08:05")
    assert await process.settling.settle(DAY) == "settled"


async def test_a_settler_that_has_lost_its_lock_does_not_seal_what_another_has_voided(
    settings: Settings, process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres keeps the lock as long as the connection lives, and the settler looks at that only in the end."""
    sealing, go_on = asyncio.Event(), asyncio.Event()

    async def slow(store: Store, round_: Recorded) -> Grown:
        sealing.set()
        await go_on.wait()
        return await stakes(store, round_)

    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    stakes = growing.stakes
    monkeypatch.setattr(growing, "stakes", slow)
    async with service_with(settings, shards=2) as other:
        stop(other, DAY, "08:05")
        settling = asyncio.create_task(process.settling.settle(DAY))
        await asyncio.wait_for(sealing.wait(), 10)
        cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
        assert len(await query(other, cut, SETTLEMENT_LOCK)) == 1
        assert await other.voiding.void(DAY, "rain") == "ok"
        go_on.set()
        with pytest.raises(Unavailable):
            await settling
    await expect_void(process, CROWD)


# -- what is secret until then


@pytest.mark.parametrize("state", ["open", "closed", "sealed", "split", "published"])
async def test_nobody_is_told_the_seed_or_a_packet_before_claiming_opens(
    process: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], state: str
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, state)
    seed = bytes((await row_of(process, DAY))["seed"])
    shown = [
        await public.figures(process, DAY),
        await public.packets(process, DAY, 1, 100),
        await rounds.figures(process, DAY),
        await process.home.summary(1, None, arrived()),
        await process.verbs.claim(1, arrived()),
    ]
    assert shown[1].word == shown[4].word == "not_settled"
    assert shown[0].data["seed"] is shown[0].data["pot"] is shown[0].data["largest"] is shown[2].data["seed"] is None
    redis: Any = process.redis
    in_redis = [await redis.hgetall(keys.name(DAY, shard, "round")) for shard in range(2)]
    assert seed.hex() not in str([shown, in_redis, capfd.readouterr()])
    assert repr(seed)[2:-1] not in str([shown, in_redis])
    assert hashlib.sha256(seed).hexdigest() == shown[0].data["seed_hash"]
    assert await process.settling.settle(DAY) == "settled"
    assert (await public.figures(process, DAY)).data["seed"] == seed.hex()
