"""A round that goes as far as it is asked to, what Redis holds of it, and its loss."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from clock.audit import packets
from clock.books import outbox
from clock.channels.platform import PaymentCallback, PaymentExtra
from clock.domain.outcomes import Unavailable
from clock.domain.shapes import Extra
from clock.game import keys
from clock.operators import quarantine
from clock.rounds.settling import Settling
from tests.conftest import DAY
from tests.flow.stage import IN_TIME, NEXT_DAY, People
from tests.payments import paid

USERS = range(1, 21)
"""1 to 9 win, 10 to 14 sleep, 15 and 16 are late and 15 wakes, 17 and 18 only ordered, 19 paid twice and wins, 20's
money came too late."""


async def joining(people: People) -> None:
    await people.service.home.summary(1, Extra(nickname="早起 " * 20), time.monotonic())
    for uid in (1, 2, 10):
        await people.service.flags.remind(uid, True, time.monotonic())
    await people.service.flags.remind(2, False, time.monotonic())
    await people.join(*(uid for uid in USERS if uid != 17))
    paying = [*range(1, 15), 19]
    assert set(await asyncio.gather(*(people.pay(uid, paid_at=IN_TIME) for uid in paying))) == {"paid"}
    assert await people.pay(19, "second", paid_at=IN_TIME) == "refund_due"
    await people.join(17)
    for amount in (1, 2):
        callback = PaymentCallback(people.orders[18], PaymentExtra(amount=amount, transactionId=f"wrong {amount}"))
        raw = msgspec.json.encode(callback)
        assert (
            await people.service.incoming.pay(paid(callback, raw), "platform", time.monotonic())
        ).word == "amount_mismatch"
    await people.drain()
    [row] = await people.rows("SELECT encode(digest, 'hex') AS id FROM quarantine ORDER BY raw LIMIT 1")
    await quarantine.release(people.service, row["id"], "dismiss", "looked", "operator 99")


async def waiting(people: People) -> None:
    await joining(people)
    people.it_is("00:30", 1)
    assert await people.pay(20, paid_at=f"{NEXT_DAY} 00:10:00") == "refund_due"


async def checking_in(people: People) -> None:
    await waiting(people)
    people.it_is("06:00", 1)
    await people.check_in(*range(1, 5))
    assert [await people.pay(uid, paid_at=IN_TIME) for uid in (15, 16)] == ["paid", "paid"]
    await people.check_in(*range(5, 10), 15, 19)


def stopped_before(step: str) -> Callable[[People], Awaitable[None]]:
    """Settlement comes as far as the step before ``step``."""

    async def stop(*_: Any) -> str:
        raise Unavailable("the power is out")

    async def play(people: People) -> None:
        await checking_in(people)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Settling, step, stop)
            with pytest.raises(Unavailable):
                await people.settle()

    return play


async def settled(people: People) -> None:
    await checking_in(people)
    await people.settle()


async def half_claimed(people: People) -> None:
    await settled(people)
    await people.claim(3, 1, 19, 15)
    for uid in (1, 2, 16, 18):
        await people.service.flags.ack_alert(uid, time.monotonic())


async def finished(people: People) -> None:
    await half_claimed(people)
    await people.finish()
    assert await people.pay(18, paid_at=IN_TIME) == "refund_due"
    await people.drain()
    finished_at = (await people.rows("SELECT finished_at FROM rounds WHERE day = %s", DAY))[0]["finished_at"]
    await people.service.finishing.expire_again(DAY, people.service.settings.shards, finished_at)


async def void(people: People) -> None:
    await checking_in(people)
    assert await people.service.voiding.void(DAY, "an outage") == "ok"
    assert await people.pay(18, paid_at=IN_TIME) == "refund_due"


async def void_and_finished(people: People) -> None:
    await void(people)
    await people.finish()


MOMENTS: dict[str, Callable[[People], Awaitable[None]]] = {
    "joining": joining,
    "waiting": waiting,
    "checking in": checking_in,
    "closed": stopped_before("_seal"),
    "sealed": stopped_before("_split"),
    "split": stopped_before("_publish"),
    "published": stopped_before("_open_claiming"),
    "settled": settled,
    "half claimed": half_claimed,
    "finished": finished,
    "void": void,
    "void and finished": void_and_finished,
}


async def memory(people: People) -> dict[str, Any]:
    """Every key of the round and of users; a counter of 0 is the same as none. Outboxes are drained."""
    redis: Any = people.service.redis
    found: dict[str, Any] = {}
    for shard in range(people.service.settings.shards):
        for noun in keys.NOUNS:
            name = keys.name(DAY, shard, noun)
            if noun == "packets":
                found[name] = await packets.read(redis, DAY, shard)
            elif noun in ("outbox", "position"):
                assert not await outbox.waiting(redis, DAY, shard, 1)
            else:
                found[name] = await redis.hgetall(name)
                for other in (b"server", b"touched_ms"):
                    found[name].pop(other, None)
            if noun == "totals":
                found[name] = {field: count for field, count in found[name].items() if count != b"0"}
    for shard in range(keys.USER_SHARDS):
        users = keys.name(keys.USERS, shard, "flags")
        found[users] = await redis.hgetall(users)
    return {name: value for name, value in found.items() if value}


async def lose(people: People, *shards: int) -> None:
    """Everything, or everything of some shards."""
    redis: Any = people.service.redis
    if not shards:
        await redis.flushall()
    for shard in shards:
        for noun in keys.NOUNS:
            await redis.delete(keys.name(DAY, shard, noun))
