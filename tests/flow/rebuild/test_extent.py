"""How much is lost: a shard, everything, a round that nobody had used; until it is back, verbs are unavailable."""

import time
from typing import Any

import msgspec
import pytest

from clock.audit.rebuild import rebuild_lost
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import keys
from tests.conftest import DAY, WEBHOOK_SECRET, Api
from tests.flow.rebuild.stage import half_claimed, lose, memory
from tests.flow.stage import ALL_USERS, IN_TIME, STAKE, People, forget
from tests.model.world import new_world


async def test_one_lost_shard_is_completed_and_the_others_are_left_alone(shared: Settings) -> None:
    async with new_world(shared, shards=8) as service:
        people = People(service)
        await half_claimed(people)
        await people.drain()
        before = await memory(people)
        lost = keys.shard_of(3, 8)
        await lose(people, lost)
        redis: Any = service.redis
        other = (lost + 1) % 8
        await redis.hset(keys.name(DAY, other, "round"), "note", "left alone")
        before[keys.name(DAY, other, "round")][b"note"] = b"left alone"
        assert await rebuild_lost(service) == [f"{DAY}.{lost}"]
        assert await memory(people) == before


async def test_what_was_rebuilt_in_part_is_rebuilt_whole(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild that dies leaves no round hash, so that nobody is served from half of it."""
    async with new_world(shared) as service:
        people = People(service)
        await half_claimed(people)
        await people.drain()
        before = await memory(people)
        await lose(people)
        with monkeypatch.context() as patch:
            patch.setattr("clock.audit.rebuild.round_fields", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await rebuild_lost(service)
        forget(people)
        with pytest.raises(Unavailable):
            await service.verbs.claim(1, time.monotonic())
        assert await rebuild_lost(service) == [f"{DAY}.0", *ALL_USERS]
        assert await memory(people) == before


async def test_a_round_that_was_never_used_opens_anew(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        rules = await service.opener.open_round(DAY)
        [before] = await people.rows("SELECT seed, seed_hash FROM rounds WHERE day = %s", DAY)
        await lose(people)
        assert await rebuild_lost(service) == []
        forget(people)
        await people.members(1)
        redis: Any = service.redis
        round_ = await redis.hgetall(keys.name(DAY, 0, "round"))
        assert round_[b"seed_hash"].decode() == before["seed_hash"].hex()
        assert msgspec.json.decode(round_[b"rules"]) == msgspec.to_builtins(rules)


async def test_verbs_and_callbacks_of_a_lost_round_are_answered_503_until_it_is_back(api: Api) -> None:
    people = People(api.service)
    await people.members(1, 2)
    await people.join(3)
    people.it_is("06:00", 1)
    await people.check_in(1)
    await people.drain()
    redis: Any = api.service.redis
    verbs = ("/api/check-in/status", "/api/check-in", "/api/claim", "/api/summary", "/api/join")

    async def everything() -> dict[str, tuple[int, str]]:
        found = {}
        for path in verbs:
            extra = {"mobile": "1", "nickname": "n", "openId": "open-1"}
            status, reply = await api.send("POST", path, {"uid": 1, "extra": extra}, api.token(1))
            found[path] = (status, reply["code"])
        for uid in (1, 3):
            body = {"amount": STAKE, "buyerId": f"open-{uid}", "notify_time": IN_TIME, "transactionId": f"T{uid}"}
            raw = msgspec.json.encode({"order_no": people.orders[uid], "extra": body})
            status, reply = await api.send("POST", "/callbacks/platform", raw, Signatures(WEBHOOK_SECRET).sign(raw))
            found[f"callback {uid}"] = (status, reply["code"])
        return found

    async def pays() -> int:
        return (await api.send("POST", "/dev/pay", {"order_no": people.orders[3]}))[0]

    for remembers in (True, False):
        await redis.flushall()
        if not remembers:
            api.service.asking.rounds.clear()
        assert set((await everything()).values()) == {(503, "unavailable")}
        assert (await pays(), (await api.send("GET", "/readyz"))[0]) == (503, 503)
        await rebuild_lost(api.service)
    assert await everything() == {
        "/api/check-in/status": (200, "ok"),
        "/api/check-in": (200, "already_checked_in"),
        "/api/claim": (200, "too_early"),
        "/api/summary": (200, "ok"),
        "/api/join": (200, "settle_first"),
        "callback 1": (200, "refund_due"),
        "callback 3": (200, "paid"),
    }
    assert (await api.send("GET", "/readyz"))[0] == 200
