"""Three clocks must agree before anything is done that cannot be taken back (docs/rules.md, *Clocks*): Redis',
Postgres' and this process' own. One of them that is wrong closes, settles, credits and pays nothing.

Clocks are compared as they are, also in development, where the game's clock is moved for all of them.
"""

import os
import socket
from time import monotonic, time

import msgspec

from clock.books.store import Store, one
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.game.client.commands import Commands
from clock.game.gametime import GameTime, Verdict

OWN = f"{socket.gethostname()}-{os.getpid()}"


class Clocks:
    """``skew_ms`` is how far the clocks may be apart (``CLOCK_SKEW_MS``)."""

    def __init__(self, store: Store, redis: Commands, game: GameTime, skew_ms: int) -> None:
        self._store = store
        self._redis = redis
        self._game = game
        self._skew_ms = skew_ms

    async def agreed_now_ms(self) -> int:
        """The game's time by Redis' clock, once the three agree. Raises :class:`Unavailable`, which names the clock
        that is off, and a ``RedisError``."""
        verdict = await self.compare()
        if verdict.off:
            raise Unavailable(f"the clocks differ: {said(verdict)}")
        return self._game.of_redis_ms(verdict.at_ms)

    async def compare(self) -> Verdict:
        """Read the three clocks. Half of what an answer took counts as its error. Of several Redis servers, the one
        speaks for all that is farthest from Postgres."""
        error_ms, of_nodes = 0.0, []
        for node in await self._redis.nodes():
            asked = monotonic()
            seconds, micros = await node.time()
            had = monotonic()
            of_nodes.append(seconds * 1000 + micros / 1000 - (asked + had) * 500)
            error_ms = max(error_ms, (had - asked) * 500)
        async with self._store.transaction() as connection:
            asked = monotonic()
            postgres_ms = (await one(connection, "clock_ms"))["ms"]
            had = monotonic()
        postgres_ms -= (asked + had) * 500
        redis_ms = max(of_nodes, key=lambda ms: abs(ms - postgres_ms))
        error_ms += (had - asked) * 500
        own_ms = time() * 1000 - monotonic() * 1000
        apart = {"redis": redis_ms, "postgres": postgres_ms, "worker": own_ms}
        at_ms = round(redis_ms + monotonic() * 1000)
        return judged(apart, at_ms, error_ms, self._skew_ms)

    async def announce(self) -> Verdict:
        """Compare, and say so to all API processes. What another worker says against it stays until that expires."""
        verdict = await self.compare()
        known = await self._redis.get(keys.CLOCKS)
        other = msgspec.json.decode(known, type=Verdict) if known else None
        if verdict.off or other is None or other.by == OWN or not other.off:
            await self._redis.set(keys.CLOCKS, msgspec.json.encode(verdict), px=keys.CLOCKS_MS)
        return verdict


def judged(apart: dict[str, float], at_ms: int, error_ms: float, skew_ms: int) -> Verdict:
    """Compare three readings of one instant, in ms. The one that is alone is off; where none has company, all are."""
    ordered = sorted(apart, key=lambda name: apart[name])
    low, middle, high = (apart[name] for name in ordered)
    off = []
    if high - low + error_ms > skew_ms:
        pairs = [(high - middle, ordered[0]), (middle - low, ordered[2])]
        off = [alone for between, alone in pairs if between + error_ms <= skew_ms]
        if len(off) != 1:
            off = ordered
    ahead_ms = {name: round(apart[name] - middle) for name in apart}
    return Verdict(by=OWN, at_ms=at_ms, ahead_ms=ahead_ms, off=off)


def said(verdict: Verdict) -> str:
    """Which clock is off, and by how much."""
    return ", ".join(f"{name} {verdict.ahead_ms[name] / 1000:+.1f} s" for name in verdict.off)
