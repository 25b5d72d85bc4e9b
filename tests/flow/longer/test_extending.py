"""An operator makes a check-in longer: over HTTP, by command, once, in all shards, within an hour."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clock.audit.mend import mend
from clock.audit.rebuild import rebuild_lost
from clock.config import Settings
from clock.game import keys
from clock.operators import acts
from clock.rounds import ending
from clock.service import Service
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import clock, operate
from tests.flow.stage import People
from tests.model.world import new_world

MINUTE_MS = 60_000


async def closes(service: Service) -> set[int]:
    """Of all shards, by how many minutes later than the rules say."""
    base = (await service.asking.round(DAY)).at.check_in_closes_ms
    names = [keys.name(DAY, shard, "round") for shard in range(service.settings.shards)]
    return {(int(await service.redis.hget(name, "check_in_closes_ms") or 0) - base) // MINUTE_MS for name in names}


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared, shards=8) as service:
        people = People(service)
        await people.members(*range(1, 17))
        people.it_is("07:50", 1)
        yield people


async def extend(people: People, minutes: int, reason: str = "power cut") -> str:
    return await people.service.extending.extend(DAY, minutes, reason, "operator 9")


async def test_all_shards_are_open_until_then_and_settlement_waits(people: People) -> None:
    service = people.service
    assert await extend(people, 20) == "extended"
    assert await closes(service) == {20}
    people.it_is("08:19", 1)
    await people.check_in(*range(1, 9))
    service.time.stop_at(at("08:20", 1, 5_000))  # at most, by which a request counts as earlier
    assert (await service.verbs.check_in(9, time.monotonic())).word == "too_late"
    for time_of_day, word in (("08:05", "not_due"), ("08:24", "not_due"), ("08:25", "settled")):
        people.it_is(time_of_day, 1)
        assert await service.settling.settle(DAY) == word
    shown = await people.rows("SELECT shard, cause, by_ms, reason, by_whom FROM extensions ORDER BY shard")
    assert [row["shard"] for row in shown] == list(range(8))
    told = {(row["cause"], row["by_ms"], row["reason"], row["by_whom"]) for row in shown}
    assert told == {("operator", 20 * MINUTE_MS, "power cut", "operator 9")}


async def test_the_same_again_is_the_same_and_an_hour_is_the_most(people: People) -> None:
    assert await asyncio.gather(*(extend(people, 20) for _ in range(4))) == ["extended"] * 4
    assert await closes(people.service) == {20}
    assert await extend(people, 41, "more") == "too_long"
    assert await extend(people, 40, "more") == "extended"
    assert await closes(people.service) == {60}
    assert await extend(people, 1, "even more") == "too_long"


async def test_what_is_closed_is_not_opened_again(people: People) -> None:
    people.it_is("08:00", 1)
    assert await extend(people, 5) == "check_in_closed"
    assert await closes(people.service) == {0}
    await people.settle()
    assert await extend(people, 5) == "check_in_closed"
    assert await people.service.extending.extend(DAY.replace(year=2027), 5, "x", "y") == "round_not_found"


async def test_one_that_dies_half_way_is_completed_by_who_asks_again(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception):
        pass

    word, calls = ending.Ending.word, 0

    async def dies(self: Any, script: Any, day: Any, shard: int, *args: Any) -> str:
        nonlocal calls
        calls += script.verb == "extend" and args[2] == "extend"
        if calls == 4:
            raise Died
        return await word(self, script, day, shard, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ending.Ending, "word", dies)
        with pytest.raises(Died):
            await extend(people, 20)
    assert await closes(people.service) == {0, 20}
    people.it_is("07:59", 1)
    assert await extend(people, 20) == "extended"
    assert await closes(people.service) == {20}


async def test_a_longer_check_in_stays_so_when_redis_is_rebuilt_or_had_forgotten_it(people: People) -> None:
    service = people.service
    assert await extend(people, 20) == "extended"
    redis: Any = service.redis
    for shard in range(8):
        base = str((await service.asking.round(DAY)).at.check_in_closes_ms)
        name = keys.name(DAY, shard, "round")
        await redis.hset(name, mapping={"check_in_closes_ms": base, "extended_ms": 0})
    assert await closes(service) == {0}
    await mend(service, DAY)
    assert await closes(service) == {20}
    await people.drain()
    await redis.flushall()
    assert len(await rebuild_lost(service)) >= 8
    assert await closes(service) == {20}


async def test_over_http_and_by_command(api: Api) -> None:
    await api.send("PUT", "/dev/time", {"now": "2026-11-22T20:00:00+08:00"})
    await api.member(1)
    path, body = f"/ops/rounds/{DAY}/extend", {"minutes": 7, "reason": "the network was cut"}
    assert (await api.send("POST", path, body, api.token(1)))[0] == 403
    for wrong in ({"minutes": 0, "reason": "x"}, {"minutes": 61, "reason": "x"}, {"minutes": 7, "reason": ""}, {}):
        assert (await operate(api, "POST", path, wrong))[1]["code"] == "bad_request"
    status, said = await operate(api, "POST", path, body)
    assert (status, said["code"], said["status"]) == (200, "extended", 1)
    rules = (await api.post("/api/summary", 1))["data"]["summary"]["rules"]
    assert rules["extended_s"] == 7 * 60
    status, text = await clock(api.settings, "extend", str(DAY), "--minutes", "3", "--reason", "and again")
    assert (status, '"code": "extended"' in text) == (0, True), text
    figures = (await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]
    assert [(one["by_ms"], one["reason"], one["by_whom"]) for one in figures["extensions"]] == [
        (7 * MINUTE_MS, "the network was cut", figures["extensions"][0]["by_whom"]),
        (3 * MINUTE_MS, "and again", acts.command_line().who),
    ]
    assert (await operate(api, "POST", "/ops/rounds/2027-01-01/extend", body))[0] == 404
