"""What the Redis server must be: its version, its role, and settings under which it loses nothing acknowledged."""

import re
from collections.abc import Mapping
from typing import Any

from redis.exceptions import AuthenticationError, ConnectionError, ResponseError

from clock.config import BadSetting, Settings
from clock.game.client.commands import Commands
from clock.operators import older_keys

DURABLE = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "no-appendfsync-on-rewrite": "no",
}
"""What Redis must be set to, to lose nothing that it acknowledged."""

UNKNOWN = "unknown"
"""A setting that Redis does not show."""

OLDEST = {"Redis": (7, 0), "Valkey": (7, 2)}
WAITAOF = {"Redis": (7, 2), "Valkey": (7, 2)}
"""The first versions with the command that ``CLOCK_DURABILITY=replica`` needs."""


async def durability_of(redis: Commands) -> dict[str, str]:
    """What Redis is set to, of :data:`DURABLE`. Where CONFIG is forbidden: what INFO says, the rest ``unknown``."""
    try:
        config = await redis.config_get(*DURABLE)
    except ResponseError:  # no right to it, renamed, or not offered
        config = {}
    if not config.keys() >= DURABLE.keys():
        persistence, memory = await redis.info("persistence"), await redis.info("memory")
        said = {
            "appendonly": {0: "no", 1: "yes"}.get(persistence.get("aof_enabled", -1), UNKNOWN),
            "maxmemory-policy": str(memory.get("maxmemory_policy", UNKNOWN)),
        }
        config = said | config
    return {name: str(config.get(name, UNKNOWN)) for name in DURABLE}


async def require_redis(redis: Commands, settings: Settings) -> None:
    """Raises :class:`BadSetting` for a server that the service cannot use; in production also for one that may forget.
    Of a cluster, for any of its primaries. Raises a ``RedisError`` or an ``OSError`` where one does not answer."""
    try:
        for node in await redis.nodes():
            await _require_primary(node, "CLOCK_REDIS_URL", clustered=settings.clustered)
            await _require_version(node, settings)
            if settings.env == "prod":
                await _require_durability(node, settings)
        if not settings.clustered:
            await older_keys.require_none(redis)
    except (ConnectionError, ResponseError) as error:
        raise _refused("CLOCK_REDIS_URL", error) from None


async def require_queue(redis: Commands) -> None:
    """The same for arq's own server, which may forget."""
    try:
        await _require_primary(redis, "CLOCK_QUEUE_URL")
    except (ConnectionError, ResponseError) as error:
        raise _refused("CLOCK_QUEUE_URL", error) from None


def _refused(name: str, error: Exception) -> Exception:
    """What to raise for it: a connection that is not made is a server that is away, unless TLS or the login fails."""
    if isinstance(error, ConnectionError) and not isinstance(error, AuthenticationError):
        return BadSetting(f"TLS with the server of {name} fails: {error}") if "SSL" in str(error) else error
    if "cluster support disabled" in str(error):
        return BadSetting(f"{name} names a cluster, and leads to a server by itself: write redis://HOST:PORT")
    return BadSetting(
        f"Redis refuses the user or a command of {name}: {error}; docs/servers.md has the rights it needs"
    )


async def _require_primary(redis: Commands, name: str, *, clustered: bool = False) -> None:
    server, replication = await redis.info("server"), await redis.info("replication")
    if "sentinel" in (server.get("redis_mode"), server.get("server_mode")):  # Valkey has the second name
        raise BadSetting(
            f"{name} leads to a Sentinel, which holds no data: name the primary, or write "
            "redis+sentinel://HOST:PORT,HOST:PORT/NAME"
        )
    if (await redis.info("cluster")).get("cluster_enabled") and not clustered:
        other = "name a server of its own" if name == "CLOCK_QUEUE_URL" else "write redis+cluster://HOST:PORT,HOST:PORT"
        raise BadSetting(f"{name} leads to a cluster (cluster_enabled is 1): {other}")
    if replication.get("role") != "master":
        primary = f"{replication.get('master_host')}:{replication.get('master_port')}"
        raise BadSetting(
            f"{name} leads to a replica, which takes no writes: name its primary ({primary}), or an address that "
            "follows it"
        )


async def _require_version(redis: Commands, settings: Settings) -> None:
    kind, text = version_of(await redis.info("server"))
    if _numbers(text) < OLDEST[kind]:
        raise BadSetting(
            f"{kind} is version {text}; clock needs Redis 7.0, Valkey 7.2 or newer: upgrade the server, or set "
            "CLOCK_REDIS_URL to another"
        )
    if settings.durability != "replica":
        return
    if _numbers(text) < WAITAOF[kind]:
        raise BadSetting(
            f"CLOCK_DURABILITY=replica needs the command WAITAOF, which came with Redis 7.2; this is {kind} {text}: "
            "upgrade the server, or set CLOCK_DURABILITY=fsync"
        )
    for command in (("WAIT", 0, 1), ("WAITAOF", 0, 0, 1)):
        try:
            await redis.execute_command(*command)
        except ResponseError as error:
            raise BadSetting(
                f"CLOCK_DURABILITY=replica needs the command {command[0]}, and Redis refuses it ({error}): allow it to "
                "the user of CLOCK_REDIS_URL, or set CLOCK_DURABILITY=fsync"
            ) from None


async def _require_durability(redis: Commands, settings: Settings) -> None:
    found = await durability_of(redis)
    for name, wanted in DURABLE.items():
        if found[name] not in (wanted, UNKNOWN):
            raise BadSetting(
                f"Redis has {name}={found[name]!r}, and may lose what it acknowledged; it must be {wanted!r} "
                f"(redis.conf, or CONFIG SET {name} {wanted})"
            )
    hidden = [f"{name} {wanted}" for name, wanted in DURABLE.items() if found[name] == UNKNOWN]
    if hidden and settings.redis_durability != "trusted":
        raise BadSetting(
            "Redis does not show its settings (CONFIG is forbidden): allow +config|get to the user of "
            f"CLOCK_REDIS_URL, or set CLOCK_REDIS_DURABILITY=trusted if you know that it has {', '.join(hidden)}"
        )


def version_of(server: Mapping[str, Any]) -> tuple[str, str]:
    """``Redis`` or ``Valkey``, and its version, from the section ``server`` of INFO. Valkey also says the
    ``redis_version`` that it stands in for."""
    if "valkey_version" in server or server.get("server_name") == "valkey":
        return "Valkey", str(server.get("valkey_version", server.get("redis_version")))
    return "Redis", str(server.get("redis_version"))


def _numbers(version: str) -> tuple[int, int]:
    """Major and minor; (0, 0) for a version without numbers."""
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
