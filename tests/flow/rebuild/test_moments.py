"""At every moment of a round every key is what it was, every verb answers as before, and the round goes on."""

import time
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from clock.audit.rebuild import rebuild_lost
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.domain.shapes import Extra
from clock.game import keys
from clock.rounds.ending import Ending
from tests.conftest import DAY, at
from tests.flow.rebuild.stage import MOMENTS, USERS, checking_in, lose, memory
from tests.flow.stage import ALL_USERS, IN_TIME, People, forget
from tests.model.world import new_world


async def lifetimes(people: People) -> set[str]:
    """The keys of the round that expire, but for the streams, which a rebuild leaves empty."""
    redis: Any = people.service.redis
    names = [name async for name in redis.scan_iter(f"clock:{{*}}:{DAY}:*")]
    return {
        name.decode() for name in names if not name.endswith((b":outbox", b":position")) and await redis.pttl(name) > 0
    }


async def answers(people: People) -> dict[str, Any]:
    """What every user is told by every verb, at this moment of the game's clock. Changes nothing."""
    asking = people.service.asking
    verbs = people.service.verbs
    home = people.service.home
    said: dict[str, Any] = {}

    async def ask(name: str, call: Awaitable[Any]) -> None:
        answer = await call
        data = msgspec.to_builtins(answer.data)
        if "summary" in data:
            del data["summary"]["server_time"]
        said[name] = (answer.word, data)

    for uid in USERS:
        now = time.monotonic()
        extra = Extra(mobile="13800000000", nickname="x", openId=f"open-{uid}")
        asking.totals = type(asking.totals)(people.service.redis)
        await ask(f"{uid} status", verbs.check_in_status(uid, now))
        await ask(f"{uid} summary", home.summary(uid, None, now))
        if people.service.time.now_ms() < at("00:00", 1):
            await ask(f"{uid} join", verbs.join(uid, extra, now))
        elif not at("05:00", 1) <= people.service.time.now_ms() < at("08:00", 1):
            await ask(f"{uid} check_in", verbs.check_in(uid, now))
        if people.service.time.now_ms() < at("08:05", 1):
            await ask(f"{uid} claim", verbs.claim(uid, now))
    for payment in await people.rows("SELECT uid, transaction_id FROM payments"):
        said[f"{payment['uid']} pay"] = await people.pay(payment["uid"], payment["transaction_id"])
    return said


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_every_key_is_what_it_was_and_every_verb_answers_as_before(
    shared: Settings, moment: str, shards: int
) -> None:
    async with new_world(shared, shards=shards, fee_bps=1000) as service:
        people = People(service)
        await MOMENTS[moment](people)
        await people.drain()
        told = await answers(people)
        await people.drain()
        before, expiring = await memory(people), await lifetimes(people)
        await lose(people)
        forget(people)
        with pytest.raises(Unavailable):
            await people.pay(1)
        rebuilt = await rebuild_lost(service)
        assert rebuilt == [*(f"{DAY}.{shard}" for shard in range(shards)), *ALL_USERS]
        assert await memory(people) == before
        assert await lifetimes(people) == expiring
        assert await answers(people) == told
        await people.drain()
        assert await memory(people) == before
        assert await rebuild_lost(service) == []


@pytest.mark.parametrize("moment", ["checking in", "closed", "sealed", "split", "published", "half claimed"])
async def test_a_rebuilt_round_goes_on_to_its_end(shared: Settings, moment: str) -> None:
    async with new_world(shared, shards=3) as service:
        people = People(service)
        await MOMENTS[moment](people)
        await people.drain()
        await lose(people)
        await rebuild_lost(service)
        if moment == "checking in":
            await people.check_in(10)
        await people.settle()
        [packet] = await people.claim(2)
        assert packet >= 0
        await people.finish()
        [row] = await people.rows("SELECT * FROM rounds WHERE day = %s", DAY)
        assert row["state"] == "finished"
        claims = await people.rows("SELECT packet_fen FROM claims WHERE day = %s", DAY)
        assert len(claims) == row["winners"]
        assert sum(claim["packet_fen"] for claim in claims) == row["pot_fen"]
        assert await service.store.all("stray_claims", day=DAY, limit=1) == []
        assert await people.balance(f"pool:{DAY}") == 0
        ranks = await people.rows("SELECT uid, rank FROM check_ins ORDER BY uid")
        per_shard = [[r["rank"] for r in ranks if keys.shard_of(r["uid"], 3) == shard] for shard in range(3)]
        assert [sorted(found) for found in per_shard] == [list(range(1, len(found) + 1)) for found in per_shard]


@pytest.mark.parametrize(("step", "word"), [("close_shards", "paid"), ("drain", "refund_due")])
async def test_a_voiding_that_redis_was_lost_in_comes_to_its_end(
    shared: Settings, monkeypatch: pytest.MonkeyPatch, step: str, word: str
) -> None:
    """Before its shards were closed, or after: what was closed takes nobody any more."""

    async def stop(*_: Any) -> None:
        raise Unavailable("the power is out")

    async with new_world(shared) as service:
        people = People(service)
        await checking_in(people)
        await people.drain()
        with monkeypatch.context() as patch:
            patch.setattr(Ending, step, stop)
            with pytest.raises(Unavailable):
                await service.voiding.void(DAY, "an outage")
        await people.drain()
        await lose(people)
        await rebuild_lost(service)
        assert await people.pay(18, paid_at=IN_TIME) == word
        assert await service.voiding.void(DAY, "an outage") == "ok"
        assert await people.balance(f"pool:{DAY}") == 0
        assert (await service.verbs.check_in(10, time.monotonic())).word == "voided"
