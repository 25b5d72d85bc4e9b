"""The reminder switch and the popup: set, shown, acknowledged, and the same after Redis was lost."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest

from clock.audit.rebuild import rebuild_lost
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.game.client.calls import call
from clock.rounds import standings
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY, Api, at
from tests.flow.stage import ALL_USERS, People, drain_users, forget
from tests.model.world import new_world
from tests.raw import raw


async def shown(service: Service, uid: int) -> tuple[int, int]:
    """``is_remind`` and ``is_alert`` on the home page."""
    summary = (await service.home.summary(uid, None, time.monotonic())).data["summary"]
    return summary["is_remind"], summary["is_alert"]


async def play(people: People, winners: list[int], sleepers: list[int]) -> None:
    people.it_is("20:00")
    await people.members(*winners, *sleepers)
    people.it_is("06:00", 1)
    await people.check_in(*winners)
    await people.settle()


async def memory(service: Service) -> dict[bytes, bytes]:
    redis: Any = service.redis
    await drain_users(service)
    found: dict[bytes, bytes] = {}
    for shard in range(keys.USER_SHARDS):
        own = await redis.hgetall(keys.name(keys.USERS, shard, "flags"))
        assert {keys.user_shard(int(uid)) for uid in own if uid != b"open"} <= {shard}
        found |= own
    return found


async def test_the_switch_and_the_popup_over_http(api: Api) -> None:
    people = People(api.service)
    await people.members(1, 2)
    assert (await api.post("/api/remind", 1))["data"] == {"is_remind": 1}
    reply = await api.post("/api/remind", 2, on=False)
    assert (reply["status"], reply["code"], reply["data"]) == (1, "ok", {"is_remind": 0})
    assert [await shown(api.service, uid) for uid in (1, 2, 3)] == [(1, 0), (0, 0), (0, 0)]
    people.it_is("06:00", 1)
    await people.check_in(1)
    assert await shown(api.service, 1) == (1, 0)
    await people.settle()
    assert [await shown(api.service, uid) for uid in (1, 2, 3)] == [(1, 1), (0, 1), (0, 0)]
    reply = await api.post("/api/alert/ack", 1)
    assert (reply["status"], reply["code"], reply["data"]) == (1, "ok", {"is_alert": 0})
    assert (await api.post("/api/alert/ack", 3))["data"] == {"is_alert": 0}
    assert [await shown(api.service, uid) for uid in (1, 2)] == [(1, 0), (0, 1)]
    _, guest = await api.send("GET", "/api/summary")
    assert (guest["data"]["summary"]["is_remind"], guest["data"]["summary"]["is_alert"]) == (0, 0)


@pytest.mark.parametrize("path", ["/api/remind", "/api/alert/ack"])
async def test_only_the_user_and_services_may_set_them(api: Api, path: str) -> None:
    for body, token, status, code in (
        ({"uid": 1}, {}, 401, "unauthenticated"),
        ({"uid": 1}, api.token(2), 403, "forbidden"),
        ({"uid": "1"}, api.token(1), 400, "bad_request"),
        ({}, api.token(1), 400, "bad_request"),
        ({"uid": 1}, api.token(9, "service"), 200, "ok"),
    ):
        got, reply = await api.send("POST", path, body, token)
        assert (got, reply["code"]) == (status, code), body
    got, reply = await api.send("POST", "/api/remind", {"uid": 1, "on": 1}, api.token(1))
    assert (got, reply["code"]) == (400, "bad_request")
    assert "on" in reply["message"]


async def test_a_result_waits_for_days_and_a_newer_one_takes_its_place(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await play(people, [1], [2])
        service.time.stop_at(at("12:00", 3))
        assert [await shown(service, uid) for uid in (1, 2)] == [(0, 1), (0, 1)]
        await service.flags.ack_alert(2, time.monotonic())
        people.day += timedelta(days=3)
        people.orders = {}
        people.it_is("20:00")
        await people.members(1, 2)
        assert [await shown(service, uid) for uid in (1, 2)] == [(0, 1), (0, 0)]  # still the one before
        people.it_is("06:00", 1)
        await people.settle()
        assert [await shown(service, uid) for uid in (1, 2)] == [(0, 1), (0, 1)]


async def test_a_void_round_is_a_result_to_see_for_who_had_paid(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.join(2)
        await people.members(1)
        await service.voiding.void(DAY, "an outage")
        assert [await shown(service, uid) for uid in (1, 2, 3)] == [(0, 1), (0, 0), (0, 0)]
        await service.voiding.void(DAY, "an outage")
        await service.flags.ack_alert(1, time.monotonic())
        await service.voiding.void(DAY, "an outage")
        assert await shown(service, 1) == (0, 0)
        await people.drain()
        assert (await people.rows("SELECT acked_day FROM flags WHERE uid = 1"))[0]["acked_day"] == DAY


async def test_the_result_of_a_void_round_outlives_redis(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.members(1, 2)
        await service.voiding.void(DAY, "an outage")
        await service.flags.ack_alert(2, time.monotonic())
        await people.drain()
        before = await memory(service)
        redis: Any = service.redis
        await redis.flushall()
        forget(people)
        with pytest.raises(Unavailable):  # and nothing is opened that would forget it
            await service.flags.of(1, time.monotonic())
        assert set(ALL_USERS) <= set(await rebuild_lost(service))
        assert await memory(service) == before
        assert [await shown(service, uid) for uid in (1, 2)] == [(0, 1), (0, 0)]


@pytest.mark.parametrize("shards", [1, 8])
async def test_they_are_the_same_after_redis_was_lost(shared: Settings, shards: int) -> None:
    async with new_world(shared, shards=shards) as service:
        people = People(service)
        flags, now = service.flags, time.monotonic()
        for uid in (1, 2, 5, 6):
            await flags.remind(uid, True, now)
        await flags.remind(6, False, now)
        await play(people, [1, 3], [2, 4])
        await flags.ack_alert(3, now)
        await flags.ack_alert(2, now)
        everybody = {uid: await shown(service, uid) for uid in range(1, 8)}
        assert everybody == {1: (1, 1), 2: (1, 0), 3: (0, 0), 4: (0, 1), 5: (1, 0), 6: (0, 0), 7: (0, 0)}
        await people.drain()
        before = await memory(service)
        redis: Any = service.redis
        await redis.flushall()
        forget(people)
        with pytest.raises(Unavailable):
            await service.flags.of(1, now)
        with pytest.raises(Unavailable):
            await service.flags.remind(1, False, now)
        assert set(ALL_USERS) <= set(await rebuild_lost(service))
        assert await memory(service) == before
        assert {uid: await shown(service, uid) for uid in range(1, 8)} == everybody
        assert await rebuild_lost(service) == []


async def test_what_waits_in_their_outbox_survives_a_lost_hash(shared: Settings) -> None:
    async with new_world(shared) as service:
        await service.flags.remind(1, True, time.monotonic())
        redis: Any = service.redis
        shard = keys.user_shard(1)
        await redis.delete(keys.name(keys.USERS, shard, "flags"))
        assert await rebuild_lost(service) == [f"users.{shard}"]
        assert await service.flags.of(1, time.monotonic()) == (1, None)


async def test_an_entry_that_is_read_again_late_does_not_turn_the_switch_back(shared: Settings) -> None:
    async with new_world(shared) as service:
        redis: Any = service.redis
        stream = keys.name(keys.USERS, keys.user_shard(1), "outbox")
        service.time.stop_at(at("20:00"))
        await service.flags.remind(1, True, time.monotonic())
        [(_, first)] = await redis.xrange(stream)
        service.time.stop_at(at("20:01"))
        await service.flags.remind(1, False, time.monotonic())
        await drain_users(service)
        await redis.xadd(stream, first)
        await drain_users(service)
        rows = await service.store.all("rebuild_flags")
        assert [(row["uid"], row["remind"]) for row in rows] == [(1, False)]


async def test_users_of_one_lost_shard_wait_and_the_others_play_on(shared: Settings) -> None:
    async with new_world(shared) as service:
        now, redis = time.monotonic(), raw(service.redis)
        ours = {shard: next(uid for uid in range(1, 200) if keys.user_shard(uid) == shard) for shard in (2, 5)}
        for uid in ours.values():
            await service.flags.remind(uid, True, now)
        before = await memory(service)
        lost = keys.name(keys.USERS, 2, "flags")
        await redis.delete(lost)
        for ask in (service.flags.of(ours[2], now), service.flags.remind(ours[2], False, now)):
            with pytest.raises(Unavailable, match=re.escape(lost)):
                await ask
        await service.flags.remind(ours[5], True, now)
        assert await service.flags.of(ours[5], now) == (1, None)
        assert await rebuild_lost(service) == ["users.2"]
        assert await memory(service) == before


async def test_an_entry_that_cannot_be_read_stops_its_own_shard_of_users_alone(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_world(shared) as service:
        bad, good = (next(uid for uid in range(1, 200) if keys.user_shard(uid) == shard) for shard in (0, 7))
        await service.redis.xadd(keys.name(keys.USERS, 0, "outbox"), {"e": b"\xc1"})
        for uid in (bad, good):
            await service.flags.remind(uid, True, time.monotonic())
        monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.1)
        while not await service.store.all("rebuild_flags"):
            await worker.drain({"service": service})
        assert [row["uid"] for row in await service.store.all("rebuild_flags")] == [good]


async def test_results_are_told_to_every_shard_a_few_users_a_call(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, list[Any]]] = []

    async def watched(redis: Any, script: Any, names: list[str], args: list[Any]) -> Any:
        told.append((names[0], args[2:]))
        return await call(redis, script, names, args)

    monkeypatch.setattr(standings, "call", watched)
    monkeypatch.setattr(standings, "CHUNK", 3)
    async with new_world(shared) as service:
        people = People(service)
        await play(people, list(range(1, 31)), list(range(31, 41)))
        assert max(len(uids) for _, uids in told) == 3
        assert {(name, uid) for name, uids in told for uid in uids} == {
            (keys.name(keys.USERS, keys.user_shard(uid), "flags"), uid) for uid in range(1, 41)
        }
        assert len({name for name, _ in told}) == keys.USER_SHARDS
        assert [await shown(service, uid) for uid in (1, 30, 40)] == [(0, 1)] * 3
        await memory(service)
