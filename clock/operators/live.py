"""Live figures of all API processes: each says every two seconds in Redis what it did, any of them adds that up.

How old that is, is judged by Redis' TIME alone: the clocks of two hosts may differ by more than it is shown for.
"""

import asyncio
import os
import socket
import time
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from clock import metrics
from clock.game import keys
from clock.game.client.commands import Commands
from clock.metrics import BOUNDS_MS, Answered, Recent

log = structlog.get_logger()

COUNT_SECONDS = 0.25
"""Answers are counted so often: a few thousand at once, which holds the process for less than a millisecond."""
EVERY_SECONDS = 2.0
FRESH_SECONDS = 7.0
"""What a process said is shown for so long: a process that died is gone then."""
DEAD_SECONDS = 60.0
"""What a process said is removed after so long. Not sooner: after a failover Redis may have another clock."""

PERCENTILES = (50, 95, 99)


class Said(msgspec.Struct):
    """``at_s``: Redis' TIME when it was said, ``seconds``: how long the process counted. ``ahead_ms``: how far the
    process' own clock is ahead of Redis'."""

    at_s: float
    seconds: float
    recent: Recent
    host: str = ""
    ahead_ms: int = 0


async def keep_saying(redis: Commands) -> None:
    """Runs as long as an API process."""
    process = f"{os.getpid()}-{os.urandom(4).hex()}"
    began = time.monotonic()
    metrics.take_recent()
    while True:
        while (now := time.monotonic()) < began + EVERY_SECONDS:
            metrics.count()
            await asyncio.sleep(COUNT_SECONDS)
        seconds, recent = now - began, metrics.take_recent()
        began = now
        try:
            at_s = await _time(redis)
            said = Said(at_s, seconds, recent, socket.gethostname(), round((time.time() - at_s) * 1000))
            await redis.hset(keys.LIVE, process, msgspec.msgpack.encode(said))
            await redis.pexpire(keys.LIVE, keys.LIVE_MS)
        except (RedisError, OSError) as error:
            log.warning("live_not_said", error=str(error))


async def _time(redis: Commands) -> float:
    """Redis' clock, in seconds; the game's clock may be moved."""
    seconds, micros = await redis.time()
    return seconds + micros / 1_000_000


async def traffic(redis: Commands) -> dict[str, Any]:
    """Rates a second, latency in ms by verb and over all, and batch sizes, of all processes in the last moment."""
    said = {
        process: msgspec.msgpack.decode(text, type=Said) for process, text in (await redis.hgetall(keys.LIVE)).items()
    }
    now = await _time(redis)
    age = {process: abs(now - one.at_s) for process, one in said.items()}
    dead = [process for process in said if age[process] > DEAD_SECONDS]
    if dead:
        await redis.hdel(keys.LIVE, *dead)
    return add_up([one for process, one in said.items() if age[process] <= FRESH_SECONDS])


def add_up(said: list[Said]) -> dict[str, Any]:
    rates: dict[str, float] = {}
    verbs: dict[str, Answered] = {}
    total = Answered()
    failed = batches = 0.0
    for one in said:
        for verb, answered in one.recent.verbs.items():
            rates[verb] = rates.get(verb, 0.0) + answered.count / one.seconds
            failed += answered.failed / one.seconds
            for sum_ in (verbs.setdefault(verb, Answered()), total):
                sum_.count += answered.count
                sum_.within = [a + b for a, b in zip(sum_.within, answered.within, strict=True)]
        batches += one.recent.batches / one.seconds
    calls = sum(one.recent.batches for one in said)
    users = sum(one.recent.batched_users for one in said)
    return {
        "processes": len(said),
        "per_second": round(sum(rates.values()), 1),
        "failed_per_second": round(failed, 2),
        "latency_ms": percentiles(total.within),
        "verbs": {
            verb: {"per_second": round(rates[verb], 1), "latency_ms": percentiles(verbs[verb].within)}
            for verb in sorted(verbs)
        },
        "batches_per_second": round(batches, 1),
        "batch_users": round(users / calls, 1) if calls else 0,
        "largest_batch": max((one.recent.largest_batch for one in said), default=0),
        "connections": sum(one.recent.connections for one in said),
        "fullest": max((fullness(one.recent) for one in said), default=0.0),
        "bad_signatures": sum(one.recent.bad_signatures for one in said),
        "ahead_ms": {one.host: one.ahead_ms for one in sorted(said, key=lambda one: abs(one.ahead_ms))},
    }


def fullness(recent: Recent) -> float:
    """The part of the connections that a process can take that is in use."""
    return round(recent.connections / recent.connections_most, 2) if recent.connections_most else 0.0


def percentiles(within: list[int]) -> dict[str, float | None]:
    """``p50``, ``p95``, ``p99`` in ms, from how many answers lie within each of ``BOUNDS_MS``: straight lines between
    the bounds, as Prometheus' ``histogram_quantile`` draws them; ``None`` where nothing was answered."""
    return {f"p{percent}": _percentile(within, percent) for percent in PERCENTILES}


def _percentile(within: list[int], percent: int) -> float | None:
    rank = sum(within) * percent / 100
    below = 0
    for bound, count in enumerate(within):
        if count and below + count >= rank:
            if bound == len(BOUNDS_MS):
                return round(BOUNDS_MS[-1], 1)
            low = BOUNDS_MS[bound - 1] if bound else 0.0
            return round(low + (BOUNDS_MS[bound] - low) * (rank - below) / count, 1)
        below += count
    return None
