"""Whether a process should get traffic."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from clock.books import outbox
from clock.books.migrations import UNFIT, schema_fits
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import Calendar, previous
from clock.game import keys
from clock.operators.looks import look
from clock.operators.redis_check import durability_of
from clock.service import Service

log = structlog.get_logger()

LOOK_SECONDS = 1.5
"""How long Redis and Postgres are waited for, at the same time: a load balancer does not wait much longer."""


async def around(service: Service) -> list[tuple[keys.Day, int]]:
    """Everything with an outbox now, as day and number of shards: users, the rounds of yesterday and today.
    Raises :class:`Unavailable` if one of the rounds is not in Redis."""
    today = Calendar(service.settings.timezone).day_at(service.time.now_ms())
    rounds = [await service.asking.round(day) for day in (previous(today), today)]
    for one in rounds:
        if not await service.redis.exists(keys.name(one.day, 0, "round")):
            raise Unavailable(f"round {one.day} is not in Redis")
    return [(keys.USERS, keys.USER_SHARDS), *((one.day, one.rules.shards) for one in rounds)]


async def readiness(service: Service) -> tuple[bool, dict[str, Any]]:
    """Redis, Postgres and the worker, the durability in force, and whether the database's migrations are exactly this
    version's. Answers in time whichever server is silent.

    Only Redis decides: check-ins go on while Postgres or the worker is away, and the outbox keeps what happened.
    """
    parts: dict[str, Any] = {"redis": False, "postgres": False, "schema": False, "worker": False, "durability": {}}
    for seen in await asyncio.gather(_seen(service, "redis", _redis), _seen(service, "postgres", _postgres)):
        parts |= seen
    ready = parts["redis"]
    return ready, {"ready": ready, **parts}


async def _seen(service: Service, server: str, how: Callable[[Service], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """What there is to say about a server; nothing if it does not answer."""
    try:
        found: dict[str, Any] = await look(service, f"ready_{server}", lambda: how(service), LOOK_SECONDS)
    except (RedisError, OSError, Unavailable, UNFIT) as error:  # UNFIT: a round that is not in Redis was looked up
        log.warning(f"{server}_not_ready", error=str(error))
        return {}
    return found


async def _postgres(service: Service) -> dict[str, Any]:
    return {"schema": await schema_fits(service.store), "postgres": True}


async def _redis(service: Service) -> dict[str, Any]:
    """Of a cluster, one primary is enough to be ready: the users of the others get their answers, and every other host
    is as near to it."""
    mode, redis = service.settings.durability, service.redis
    nodes = await redis.nodes()
    said = await asyncio.gather(*(node.info("replication") for node in nodes), return_exceptions=True)
    replicas = [answer["connected_slaves"] for answer in said if not isinstance(answer, BaseException)]
    ready = mode == "fsync" or max(replicas, default=0) > 0
    durability = {"mode": mode, "replicas": min(replicas, default=0)}
    if replicas and len(replicas) < len(nodes):
        return {"durability": durability, "redis": ready}
    return {
        "durability": durability | await durability_of(redis),
        "outbox": await outbox.backlog(redis, await around(service)),
        "redis": ready,
        "worker": bool(await redis.exists(keys.HEARTBEAT)),
    }
