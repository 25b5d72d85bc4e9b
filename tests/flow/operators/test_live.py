"""Live figures of all processes together."""

import asyncio
import time
from bisect import bisect_left
from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.game import keys
from clock.game.client.calls import connect
from clock.metrics import BOUNDS_MS, Answered, Recent
from clock.operators import live
from clock.operators.live import Said
from clock.operators.watch import watcher
from clock.operators.watch.seen import Watched
from clock.service import end
from tests.conftest import Api, at
from tests.flow.operators.stage import operate
from tests.raw import Redis, raw


async def test_however_many_ask_it_is_looked_once_in_a_while(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "FRESH_SECONDS", 60.0)
    looker, looks = watcher.Watch(api.service), []
    look = looker._look

    async def counted() -> Watched:
        looks.append(1)
        return await look()

    monkeypatch.setattr(looker, "_look", counted)
    await asyncio.gather(*(looker.look() for _ in range(20)))
    assert len(looks) == 1


def busy(at_s: float, seconds: float, count: int, ms: float, failed: int = 0) -> bytes:
    """What a process said: so many check-ins, each within the bound above ``ms``."""
    within = [0] * (len(BOUNDS_MS) + 1)
    within[next(i for i, bound in enumerate(BOUNDS_MS) if bound >= ms)] = count
    recent = Recent({"check_in": Answered(count, failed, within)}, 10, 10 * count, count)
    return msgspec.msgpack.encode(Said(at_s, seconds, recent))


async def test_the_figures_of_all_processes_are_added_up_and_those_of_the_dead_are_not(redis: Redis) -> None:
    """Without an API process, which would say what it did meanwhile."""
    now = (await redis.time())[0]
    said = {"a": busy(now, 2.0, 200, 5), "b": busy(now, 4.0, 400, 50, failed=8), "dead": busy(now - 61, 2.0, 9_999, 5)}
    said |= {"silent": busy(now - 8, 2.0, 9_999, 5), "early": busy(now + 30, 2.0, 9_999, 5)}
    await redis.hset(keys.LIVE, mapping=said)
    figures = await live.traffic(redis)
    assert (figures["processes"], figures["per_second"], figures["failed_per_second"]) == (2, 200.0, 2.0)
    assert (figures["batches_per_second"], figures["batch_users"], figures["largest_batch"]) == (7.5, 300.0, 400)
    assert 5 < figures["latency_ms"]["p50"] <= 64
    assert 45 < figures["latency_ms"]["p99"] <= 64
    assert figures["verbs"]["check_in"]["per_second"] == 200.0
    assert [await redis.hexists(keys.LIVE, name) for name in said] == [True, True, False, True, True]


@pytest.mark.parametrize("off_s", [-90.0, 90.0])
async def test_the_clocks_of_hosts_do_not_matter(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    """One host says what it did, another with a clock 90 s off shows it, and the other way round."""
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(live, "COUNT_SECONDS", 0.02)
    client, real = connect(settings.redis_url), time.time
    for says, shows in ((off_s, 0.0), (0.0, off_s)):
        await redis.delete(keys.LIVE)
        monkeypatch.setattr(time, "time", lambda off=says: real() + off)
        saying = asyncio.create_task(live.keep_saying(client))
        while not await redis.hlen(keys.LIVE):
            await asyncio.sleep(0.02)
        await end([saying])
        monkeypatch.setattr(time, "time", lambda off=shows: real() + off)
        assert (await live.traffic(client))["processes"] == 1
        assert await redis.hlen(keys.LIVE) == 1
    await client.aclose()


def test_percentiles_are_those_of_the_values_that_were_counted() -> None:
    values = [(i + 0.5) / 10 for i in range(10_000)]  # 0.05 … 1000 ms, evenly
    within = [0] * (len(BOUNDS_MS) + 1)
    for one in values:
        within[bisect_left(BOUNDS_MS, one)] += 1
    found = live.percentiles(within)
    for percent in live.PERCENTILES:
        value = found[f"p{percent}"]
        assert value is not None
        assert abs(value / (10 * percent) - 1) < 0.1, percent  # bounds are a quarter apart
    assert live.percentiles([0] * len(within)) == {"p50": None, "p95": None, "p99": None}
    within = [0] * len(BOUNDS_MS) + [7]
    assert live.percentiles(within)["p99"] == round(BOUNDS_MS[-1], 1)


async def test_a_process_says_what_it_did_and_only_that(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await asyncio.gather(*(api.member(uid) for uid in range(1, 21)))
    said: dict[str, Any] = {}
    for _ in range(60):
        said = (await operate(api, "GET", "/ops/live"))[1]["data"]["traffic"]
        if "join" in said["verbs"]:
            break
        await asyncio.sleep(0.1)
    assert said["processes"] == 1
    assert 0 < said["verbs"]["join"]["per_second"] <= 20 / live.EVERY_SECONDS
    assert said["verbs"]["join"]["latency_ms"]["p99"] > 0
    assert said["largest_batch"] >= 1
    assert await raw(api.service.redis).pttl(keys.LIVE) > 0
