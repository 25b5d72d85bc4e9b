"""Keys of the older layout are refused at the start, and moved by one command that may be killed."""

import asyncio
import re
import time
from itertools import chain, count
from typing import Any

import msgspec
import pytest
from redis.exceptions import ConnectionError

from clock.audit.reconcile import reconcile
from clock.books.outbox import number
from clock.config import BadSetting, Settings
from clock.game import events, keys
from clock.operators import live, older_keys
from clock.runtime.start_check import start_check
from clock.service import end
from tests.conftest import DAY
from tests.flow.operators.stage import clock
from tests.flow.stage import IN_TIME, People, forget
from tests.model.world import new_world
from tests.raw import Redis, raw

NEWER = re.compile(r"clock:\{(\d+)\.\d+\}:(\d{4}-\d\d-\d\d|users):(.+)")
REMINDED = range(1, 25)


async def make_older(redis: Redis, drained: bytes) -> None:
    """What the older version would have: all users in one place, drained up to that entry."""
    entries = []
    for name in [name.decode() async for name in redis.scan_iter("clock:{*}:*", count=1_000)]:
        shard, of, noun = NEWER.fullmatch(name).groups()  # type: ignore[union-attr]
        if of != "users":
            await redis.rename(name, f"clock:{{{of}.{shard}}}:{noun}")
            continue
        if noun == "flags":
            await redis.hset(older_keys.FLAGS, mapping=await redis.hgetall(name))
        elif noun == "outbox":
            entries += await redis.xrange(name)
        await redis.delete(name)
    await redis.delete(older_keys.OUTBOX)
    last = (0, 0)
    for entry_id, fields in sorted(entries, key=lambda entry: number(entry[0])):
        last = max(number(entry_id), (last[0], last[1] + 1))  # two shards may have used the same
        await redis.execute_command("XADD", older_keys.OUTBOX, f"{last[0]}-{last[1]}", "e", fields[b"e"])
    await redis.set(older_keys.POSITION, drained + b" 1")


async def names(redis: Redis) -> set[str]:
    return {name.decode() async for name in redis.scan_iter("clock:{*}:*", count=1_000)}


class Dying:
    """A connection that is cut at its n-th command."""

    def __init__(self, redis: Redis, left: int) -> None:
        self._redis = redis
        self._left = left

    def __getattr__(self, name: str) -> Any:
        if name not in ("scan_iter", "hscan_iter"):
            if not self._left:
                raise ConnectionError("killed")
            self._left -= 1
        return getattr(self._redis, name)


async def evening(people: People) -> bytes:
    """Half of a day, users' switches among it, some of both not drained; the last entry of users that is."""
    service, redis = people.service, raw(people.service.redis)
    for uid in REMINDED:
        await service.flags.remind(uid, True, time.monotonic())
    await people.members(*range(1, 13))
    await people.drain()
    last = [await redis.xrevrange(keys.name(keys.USERS, shard, "outbox"), count=1) for shard in range(keys.USER_SHARDS)]
    drained = max((entries[0][0] for entries in last if entries), key=number)
    while await now_ms(redis) <= number(drained)[0]:  # the next entries come later
        pass
    for on in (False, True, False):
        for uid in REMINDED[::2]:
            await service.flags.remind(uid, on, time.monotonic())
    await people.join(*range(13, 16))
    people.it_is("06:00", 1)
    await touched(redis)
    await people.check_in(*range(1, 5))
    assert await people.pay(13, paid_at=IN_TIME) == "paid"
    return drained


async def touched(redis: Redis) -> None:
    """However long the test takes: nobody could not check in."""
    for name in [name.decode() async for name in redis.scan_iter("clock:{*}:*:round", count=1_000)]:
        await redis.hset(name, "touched_ms", await now_ms(redis))


async def now_ms(redis: Redis) -> int:
    seconds, micros = await redis.time()
    return seconds * 1000 + micros // 1000


async def to_the_end(people: People) -> None:
    await touched(raw(people.service.redis))
    await people.check_in(5, 6, 13)
    await people.settle()
    await people.claim(1, 2, 3, 4, 5, 6, 13)
    await people.service.flags.ack_alert(1, time.monotonic())
    await people.finish()
    await people.drain()


async def test_a_half_played_day_is_moved_however_often_that_is_killed_and_played_on(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(older_keys, "PAGE", 2)
    async with new_world(shared, touched=False, shards=3) as service:
        people, redis = People(service), raw(service.redis)
        settings = msgspec.structs.replace(service.settings, env="dev")  # whose Redis may forget
        drained = await evening(people)
        flags = [keys.name(keys.USERS, shard, "flags") for shard in range(keys.USER_SHARDS)]
        before = [await redis.dump(name) for name in sorted(await names(redis)) if ":users:" not in name]
        users = [await redis.hgetall(name) for name in flags]
        written = await entries(redis)
        lives = await redis.pexpire(keys.name(DAY, 1, "members"), 10**9)
        await make_older(redis, drained)
        assert lives and not any(map(NEWER.fullmatch, await names(redis)))
        for left in chain(range(0, 240, 7), count(300, 300)):
            with pytest.raises(BadSetting, match="clock move-keys"):
                await start_check(settings)
            try:
                await older_keys.move(Dying(redis, left))
                break
            except ConnectionError:
                assert left < 10_000
        await start_check(settings)
        assert await older_keys.move(redis) == 0
        assert all(map(NEWER.fullmatch, await names(redis)))
        assert [await redis.dump(name) for name in sorted(await names(redis)) if ":users:" not in name] == before
        assert 0 < await redis.pttl(keys.name(DAY, 1, "members")) <= 10**9
        assert [await redis.hgetall(name) for name in flags] == users
        assert await entries(redis) == written
        forget(people)
        await to_the_end(people)
        report = await reconcile(service, DAY)
        assert report is not None
        assert [one for one in report.differences if one.what != "bill_missing"] == []
        switches = {row["uid"]: row["remind"] for row in await people.rows("SELECT uid, remind FROM flags")}
        assert [switches[uid] for uid in REMINDED] == [uid not in REMINDED[::2] for uid in REMINDED]


async def entries(redis: Redis) -> list[list[Any]]:
    """What the outbox of each shard of users says, without the ids."""
    streams = [await redis.xrange(keys.name(keys.USERS, shard, "outbox")) for shard in range(keys.USER_SHARDS)]
    return [[events.decode(fields[b"e"]) for _, fields in stream] for stream in streams]


async def test_an_entry_of_users_of_several_shards_is_divided_in_the_order_of_its_rows(shared: Settings) -> None:
    async with new_world(shared) as service:
        redis = raw(service.redis)
        rows = [(uid, day) for day in (14_000, 14_001) for uid in range(1, 40)]
        text = msgspec.msgpack.encode(events.Acknowledged(5, rows))
        for entry in (text, b"\xc1", text):
            await redis.xadd(older_keys.OUTBOX, {"e": entry})
        await older_keys.move(redis)
        for shard in range(keys.USER_SHARDS):
            found = [fields[b"e"] for _, fields in await redis.xrange(keys.name(keys.USERS, shard, "outbox"))]
            own = [row for row in rows if keys.user_shard(row[0]) == shard]
            assert own and [events.decode(one) for one in found if one != b"\xc1"] == [events.Acknowledged(5, own)] * 2
            assert found.count(b"\xc1") == (shard == 0)


@pytest.mark.parametrize("who", ["a worker", "an API process"])
async def test_nothing_is_moved_while_a_process_lives(
    shared: Settings, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(older_keys, "ENDED_SECONDS", 0.0)
    async with new_world(shared) as service:
        redis = raw(service.redis)
        await redis.hset(older_keys.FLAGS, "open", 1)
        if who == "a worker":
            await redis.set(keys.HEARTBEAT, 1)
        else:
            saying = asyncio.create_task(live.keep_saying(redis))
            while not await redis.exists(keys.LIVE):
                await asyncio.sleep(0.01)
            await end([saying])
        with pytest.raises(BadSetting, match="still run"):
            await older_keys.move(redis)
        await redis.delete(keys.HEARTBEAT, keys.LIVE)
        assert await older_keys.move(redis) == 1


async def test_a_key_that_is_there_under_both_names_is_left_to_a_person(shared: Settings) -> None:
    async with new_world(shared) as service:
        redis = raw(service.redis)
        old, new = f"clock:{{{DAY}.0}}:totals", keys.name(DAY, 0, "totals")
        await redis.hset(old, "members", 1)
        await redis.hset(new, "members", 2)
        with pytest.raises(BadSetting, match=re.escape(f"Redis has {old} and {new}")):
            await older_keys.move(redis)
        assert (await redis.hget(old, "members"), await redis.hget(new, "members")) == (b"1", b"2")


@pytest.mark.long
async def test_other_commands_refuse_and_the_command_moves(settings: Settings, redis: Redis) -> None:
    await redis.hset(older_keys.FLAGS, "open", 1)
    status, said = await clock(settings, "rebuild")
    assert status == 2 and "clock move-keys" in said
    status, said = await clock(settings, "move-keys")
    assert status == 0 and said.endswith("keys moved: 1\n")
    assert await redis.hget(keys.name(keys.USERS, 7, "flags"), "open") == b"1"
