"""Whether a process should get traffic."""

import asyncio
from typing import Any

import structlog
from redis.exceptions import RedisError

from clock.books import outbox
from clock.books.migrations import UNFIT, schema_fits
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import Calendar, previous
from clock.game import keys
from clock.operators.redis_check import durability_of
from clock.service import Service

log = structlog.get_logger()

PING_SECONDS = 2.0
"""Timeout of the ping to Postgres: a load balancer does not wait much longer."""


async def around(service: Service) -> list[tuple[keys.Day, int]]:
    """Everything with an outbox now, as day and number of shards: users, the rounds of yesterday and today.
    Raises :class:`Unavailable` if one of the rounds is not in Redis."""
    today = Calendar(service.settings.timezone).day_at(service.time.now_ms())
    rounds = [await service.asking.round(day) for day in (previous(today), today)]
    for one in rounds:
        if not await service.redis.exists(keys.name(one.day, 0, "round")):
            raise Unavailable(f"round {one.day} is not in Redis")
    return [(keys.USERS, 1), *((one.day, one.rules.shards) for one in rounds)]


async def readiness(service: Service) -> tuple[bool, dict[str, Any]]:
    """Redis, Postgres and the worker, the durability in force, and whether the database's migrations are exactly this
    version's.

    Only Redis decides: check-ins go on while Postgres or the worker is away, and the outbox keeps what happened.
    """
    parts: dict[str, Any] = {"redis": False, "postgres": False, "schema": False, "worker": False, "durability": {}}
    try:
        async with asyncio.timeout(PING_SECONDS):
            parts["schema"] = await schema_fits(service.store)
            parts["postgres"] = True
    except (Unavailable, TimeoutError) as error:
        log.warning("postgres_not_ready", error=str(error))
    try:
        mode = service.settings.durability
        replicas = (await service.redis.info("replication"))["connected_slaves"]
        parts["durability"] = {"mode": mode, "replicas": replicas, **await durability_of(service.redis)}
        parts["outbox"] = await outbox.backlog(service.redis, await around(service))
        parts["redis"] = mode == "fsync" or replicas > 0
        parts["worker"] = bool(await service.redis.exists(keys.HEARTBEAT))
    except (RedisError, OSError, Unavailable, UNFIT) as error:  # UNFIT: a round that is not in Redis was looked up
        log.warning("redis_not_ready", error=str(error))
    ready = parts["redis"]
    return ready, {"ready": ready, **parts}
