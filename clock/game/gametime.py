"""The game's clock as a process sees it: an estimate of Redis' ``TIME``, moved in development.

Only scripts decide by the clock. A process uses its estimate to choose the round's keys and for countdowns, and tells
it to the scripts: where their clock is further from it than the allowed skew, nobody is refused by time (docs/rules.md,
*Clocks*). The estimate goes on by the monotonic clock where Redis' time jumps, until it comes back or a worker has seen
that three clocks agree.
"""

import asyncio
import os
from time import monotonic

import msgspec
import structlog
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

from clock.game import keys
from clock.game.client.commands import Commands

log = structlog.get_logger()

SYNC_SECONDS = 5.0
UNKNOWN_SECONDS = 0.2
"""Interval of queries while the time is unknown or in doubt."""
FOLLOW_SECONDS = 0.02
SEEN_MS = 2_000
SEEN_AGAIN_SECONDS = 0.5

NEXT_MOVE = """
local version = tonumber(string.match(redis.call('GET', KEYS[1]) or '0', '^%d+')) + 1
redis.call('SET', KEYS[1], version .. ' ' .. ARGV[1])
return version
"""


SKEW_MS = 5_000


class Verdict(msgspec.Struct, frozen=True):
    """What a worker has found when it compared three clocks."""

    by: str
    at_ms: int
    """By Redis' clock."""
    ahead_ms: dict[str, int]
    """How far ``redis``, ``postgres`` and ``worker`` are ahead of the one in the middle."""
    off: list[str]
    """Clocks that stand alone; empty where all agree."""


class GameTime:
    """``skew_ms``: by how much Redis' time may move against the monotonic clock (``CLOCK_SKEW_MS``)."""

    def __init__(self, skew_ms: int = SKEW_MS) -> None:
        self.skew_ms = skew_ms
        self._ahead_ms = 0.0
        """Redis' clock minus this process' monotonic clock."""
        self._moved_ms = 0
        """Development: how far the game's clock is ahead of Redis'."""
        self._doubted: bytes | None = None
        """While Redis' time has jumped: the verdict of before."""
        self._off = False
        """Whether a worker says that Redis' clock is off."""
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
        return int(instant * 1000 + self._ahead_ms + self._moved_ms)

    def expected_ms(self) -> int:
        """What a script's clock should say now; 0 where Redis' clock is known to be wrong."""
        return 0 if self._off and not self.setting.startswith("=") else self.now_ms()

    def agrees(self, now_ms: int) -> bool:
        """Whether a script's clock was where it is expected."""
        return abs(now_ms - self.expected_ms()) <= self.skew_ms

    def of_redis_ms(self, at_ms: int) -> int:
        """The game's time at an instant of Redis' clock."""
        return int(self.setting[1:]) if self.setting.startswith("=") else at_ms + self._moved_ms

    def stop_at(self, now_ms: int) -> None:
        """Tests only: stop the clock."""
        self.setting = f"={now_ms}"

    def move(self, offset_ms: int) -> None:
        self.setting = f"+{offset_ms}" if offset_ms > 0 else str(offset_ms) if offset_ms else ""
        self._moved_ms = offset_ms

    async def sync(self, redis: Commands) -> None:
        """Read Redis' time, half the round trip being the answer's age, and what a worker says of the clocks."""
        before = monotonic()
        seconds, micros = await redis.time()
        after = monotonic()
        said = await redis.get(keys.CLOCKS)
        ahead_ms = seconds * 1000 + micros / 1000 - (before + after) * 500
        self._take(ahead_ms, (after - before) * 500, said)

    def _take(self, ahead_ms: float, error_ms: float, said: bytes | None) -> None:
        verdict = msgspec.json.decode(said, type=Verdict) if said else None
        self._off = verdict is not None and "redis" in verdict.off
        jumped_ms = ahead_ms - self._ahead_ms
        if self.known and abs(jumped_ms) > self.skew_ms + error_ms:
            if self._doubted is None:
                log.error("clock_jumped", ms=round(jumped_ms))
                self._doubted = said or b""
            # A verdict of before the jump says nothing about it.
            if verdict is None or verdict.off or said == self._doubted:
                return
            if abs(verdict.at_ms - (monotonic() * 1000 + ahead_ms)) > self.skew_ms:
                return
            log.warning("clock_followed", ms=round(jumped_ms))
        self._doubted, self._ahead_ms, self.known = None, ahead_ms, True

    @property
    def in_doubt(self) -> bool:
        """Whether Redis' time has jumped, or is known to be wrong."""
        return self._doubted is not None or self._off

    async def keep_in_sync(self, redis: Commands) -> None:
        """Runs as long as the process, also without traffic, so that the estimate does not drift."""
        while True:
            try:
                await self.sync(redis)
            except (RedisError, OSError) as error:
                log.warning("clock_not_synced", error=str(error))
            await asyncio.sleep(SYNC_SECONDS if self.known and not self.in_doubt else UNKNOWN_SECONDS)


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
            seen = [await self._redis.get(name.decode()) for name in names]
            if all(one is None or int(one) >= version for one in seen):
                return
            await asyncio.sleep(FOLLOW_SECONDS)
