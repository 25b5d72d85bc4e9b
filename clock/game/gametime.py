"""The game's clock as a process sees it: an estimate of Redis' ``TIME``, moved in development.

Only scripts decide by the clock. A process uses its estimate to choose the round's keys and for countdowns.
"""

import asyncio
import os
from time import monotonic

import structlog
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

from clock.game import keys
from clock.game.commands import Commands

log = structlog.get_logger()

SYNC_SECONDS = 5.0
UNKNOWN_SECONDS = 0.2
"""Interval of queries while the time is unknown."""
FOLLOW_SECONDS = 0.02
SEEN_MS = 2_000
SEEN_AGAIN_SECONDS = 0.5

NEXT_MOVE = """
local version = tonumber(string.match(redis.call('GET', KEYS[1]) or '0', '^%d+')) + 1
redis.call('SET', KEYS[1], version .. ' ' .. ARGV[1])
return version
"""


class GameTime:
    def __init__(self) -> None:
        self._ahead_ms = 0.0
        """Redis' clock minus this process' monotonic clock, moves included."""
        self.setting = ""
        """The scripts' argument ``clock``: empty, ``+ms`` moved, ``=ms`` stopped (tests)."""
        self.known = False
        """Whether Redis has answered. A process may start while Redis is down."""
        self.follows = True
        """Development: whether the process has read the moved clock."""

    def now_ms(self) -> int:
        return self.at_ms(monotonic())

    def at_ms(self, instant: float) -> int:
        """The game's time at a ``time.monotonic()`` instant. Raises a ``RedisError`` while Redis' time is unknown:
        a guess would choose the wrong rounds."""
        if self.setting.startswith("="):
            return int(self.setting[1:])
        if not (self.known and self.follows):
            raise NoConnection("Redis has not said yet what time it is")
        return int(instant * 1000 + self._ahead_ms)

    def stop_at(self, now_ms: int) -> None:
        """Tests only: stop the clock."""
        self.setting = f"={now_ms}"

    def move(self, offset_ms: int) -> None:
        old = int(self.setting) if self.setting else 0
        self.setting = f"+{offset_ms}" if offset_ms > 0 else str(offset_ms) if offset_ms else ""
        self._ahead_ms += offset_ms - old

    async def sync(self, redis: Commands) -> None:
        """Read Redis' time; half the round trip is taken as the age of the answer."""
        before = monotonic()
        seconds, micros = await redis.time()
        middle = (before + monotonic()) / 2
        offset = int(self.setting) if self.setting and self.setting[0] != "=" else 0
        self._ahead_ms = seconds * 1000 + micros / 1000 + offset - middle * 1000
        self.known = True

    async def keep_in_sync(self, redis: Commands) -> None:
        """Runs as long as the process, also without traffic, so that the estimate does not drift."""
        while True:
            try:
                await self.sync(redis)
            except (RedisError, OSError) as error:
                log.warning("clock_not_synced", error=str(error))
            await asyncio.sleep(SYNC_SECONDS if self.known else UNKNOWN_SECONDS)


class MovedTime:
    """Development only: a clock offset in Redis for all processes; each reports the version that it uses."""

    def __init__(self, redis: Commands, time: GameTime, process: str = "") -> None:
        self._redis = redis
        self._time = time
        time.follows = False
        self._process = process or f"{os.getpid()}-{os.urandom(4).hex()}"
        self._version = -1
        self._said_at = 0.0

    async def follow_once(self) -> None:
        """Apply the newest move and report its version."""
        text = await self._redis.get(keys.DEV_TIME)
        version, offset_ms = (int(part) for part in text.split()) if text else (0, 0)
        if version != self._version:
            self._time.move(offset_ms)
            self._version = version
            self._time.follows = True
        elif monotonic() - self._said_at < SEEN_AGAIN_SECONDS:
            return
        await self._redis.set(keys.DEV_SEEN + self._process, version, px=SEEN_MS)
        self._said_at = monotonic()

    async def follow(self) -> None:
        """Runs as long as the process."""
        while True:
            try:
                await self.follow_once()
            except (RedisError, OSError) as error:
                log.warning("moved_time_not_followed", error=str(error))
                await asyncio.sleep(0.5)
            await asyncio.sleep(FOLLOW_SECONDS)

    async def set(self, now_ms: int | None) -> None:
        """Move the clock to ``now_ms`` (``None``: back to the real time); returns when every process uses it."""
        seconds, micros = await self._redis.time()
        offset_ms = 0 if now_ms is None else now_ms - seconds * 1000 - micros // 1000
        version = await self._redis.eval(NEXT_MOVE, 1, keys.DEV_TIME, offset_ms)
        while True:
            await self.follow_once()
            names = [name async for name in self._redis.scan_iter(keys.DEV_SEEN + "*", count=1000)]
            seen = await self._redis.mget(names)
            if all(one is None or int(one) >= version for one in seen):
                return
            await asyncio.sleep(FOLLOW_SECONDS)
