"""Calls a second that a provider allows, shared by all processes (``limit.lua``)."""

import asyncio
import zlib

from redis.exceptions import RedisError

from clock.channels import TooManyCalls
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.game.client.calls import call
from clock.game.client.commands import Commands
from clock.game.gametime import GameTime
from clock.game.scripts import Value, load

LIMIT = load("limit")

MOST_WAIT_MS = 3_000
"""Whoever would have to wait longer comes back another time."""

BURST_SECONDS = 0.1
"""So much of a second's calls may come at once."""


class Limits:
    def __init__(self, redis: Commands, time: GameTime) -> None:
        self._redis = redis
        self._time = time

    async def wait(self, endpoint: str, per_second: float) -> None:
        """Return when one more call to the endpoint is within its limit. Raises :class:`TooManyCalls`, also where Redis
        cannot say."""
        shard = zlib.crc32(endpoint.encode()) % keys.USER_SHARDS
        names = keys.names(keys.USERS, shard, LIMIT.nouns)
        burst = max(1, int(per_second * BURST_SECONDS))
        try:
            args: list[Value] = [self._time.setting, endpoint, f"{1000 / per_second:.3f}", burst, MOST_WAIT_MS]
            _, word, wait_ms = await call(self._redis, LIMIT, names, args, may_be_lost=True)
        except (RedisError, OSError, Unavailable) as error:
            raise TooManyCalls(f"{endpoint}: {type(error).__name__}") from error
        if word == b"too_many":
            raise TooManyCalls(endpoint)
        await asyncio.sleep(wait_ms / 1000)
