"""Frauds in Redis, before the books have read it: whoever holds a receipt proves them, though the books agree and every
statement is signed."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from clock.game import keys
from tests.conftest import DAY, Api, at
from tests.flow.receipts.stage import Receipt, is_kept, member, promised, proof
from tests.flow.stage import People

Event = list[Any]
MEMBERS, TOTALS, OUTBOX = (keys.name(DAY, 0, noun) for noun in ("members", "totals", "outbox"))
RANK = 4
"""Bytes at the end of a record."""


async def rewrite(redis: Any, change: Callable[[Event], Event | None]) -> None:
    """Each entry of the outbox, with the id that it has; None: it never was."""
    entries = await redis.xrange(OUTBOX)
    await redis.delete(OUTBOX)
    for name, fields in entries:
        event = change(msgspec.msgpack.decode(fields[b"e"]))
        if event is not None:
            await redis.xadd(OUTBOX, {"e": msgspec.msgpack.encode(event)}, id=name)


async def deny_the_check_in(redis: Any, uid: int) -> None:
    """The user slept. Nobody came later, so that all other ranks stay."""
    record = await redis.hget(MEMBERS, uid)
    assert record is not None
    await redis.hset(MEMBERS, uid, b"M" + record[1:-RANK] + bytes(RANK))
    await redis.hincrby(TOTALS, "winners", -1)

    def change(event: Event) -> Event | None:
        if event[0] != "checked_in":
            return event
        uids = [one for one in event[3] if one != uid]
        return [*event[:3], uids] if uids else None

    await rewrite(redis, change)


async def swap_ranks(redis: Any, uid: int, other: int) -> None:
    """Both are winners, and each has the other's packet."""
    records = {one: await redis.hget(MEMBERS, one) or b"" for one in (uid, other)}
    await redis.hset(MEMBERS, uid, records[uid][:-RANK] + records[other][-RANK:])
    await redis.hset(MEMBERS, other, records[other][:-RANK] + records[uid][-RANK:])
    place = {uid: other, other: uid}

    def change(event: Event) -> Event:
        return [*event[:3], [place.get(one, one) for one in event[3]]] if event[0] == "checked_in" else event

    await rewrite(redis, change)


async def drop_the_member(redis: Any, uid: int) -> None:
    """Joined, paid, got up: nothing of it was ever there, and the stake is in somebody's pocket."""
    await deny_the_check_in(redis, uid)
    await redis.hdel(MEMBERS, str(uid))
    for counter, by in (("orders", -1), ("members", -1), ("pool_fen", -100)):
        await redis.hincrby(TOTALS, counter, by)

    def change(event: Event) -> Event | None:
        if event[0] not in ("ordered", "payment"):
            return event
        rows = [row for row in event[2] if row[0] != uid]
        return [*event[:2], rows] if rows else None

    await rewrite(redis, change)


async def move_the_instant(redis: Any, uid: int) -> None:
    """The last was a minute earlier: it is the earliest of the day now."""

    def change(event: Event) -> Event:
        return [event[0], event[1] - 60_000, *event[2:]] if event[0] == "checked_in" and uid in event[3] else event

    await rewrite(redis, change)


FRAUDS: dict[str, tuple[Callable[[Any], Any], set[tuple[str, int]], str]] = {
    "a check-in is denied": (lambda redis: deny_the_check_in(redis, 4), {("checked_in", 4)}, "not_checked_in"),
    "two ranks are swapped": (lambda redis: swap_ranks(redis, 1, 3), {("checked_in", 1), ("checked_in", 3)}, "ok"),
    "a member is dropped": (
        lambda redis: drop_the_member(redis, 4),
        {("checked_in", 4), ("stake", 4)},
        "not_joined",
    ),
    "an instant is moved": (lambda redis: move_the_instant(redis, 4), {("checked_in", 4)}, "ok"),
    "nothing": (lambda redis: redis.ping(), set(), "ok"),
}


@pytest.mark.parametrize("fraud", FRAUDS)
async def test_whoever_holds_a_receipt_proves_what_was_done_in_redis(api: Api, redis: Any, fraud: str) -> None:
    act, expected, word = FRAUDS[fraud]
    people = People(api.service)
    held: dict[tuple[str, int], Receipt] = {}
    for uid in range(1, 7):
        held["stake", uid] = await member(api, uid)
    for minute, uid in enumerate((1, 2, 3, 4)):
        api.service.time.stop_at(at("06:00", 1, 60_000 * minute))
        reply = await api.post("/api/check-in", uid, receipt=True)
        held["checked_in", uid] = promised("checked_in", reply["data"]["receipt"])
    await act(redis)
    await people.drain()
    await people.settle()
    broken = {of for of, receipt in held.items() if not await is_kept(api, *of, receipt)}
    assert broken == expected
    said = await proof(api, "checked_in", 4, held["checked_in", 4].salt)
    assert said["code"] == word
