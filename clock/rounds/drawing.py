"""The draw of a round's beacon: asked for when the round is sealed and the draw is out, decided once, and kept.

Relays are asked without the round's lock: they may be silent for seconds. What is decided first counts, whoever did.
"""

from collections.abc import Mapping
from datetime import date

import structlog
from redis.exceptions import RedisError

from clock import logs
from clock.beacon.relays import Beacon, fetch
from clock.beacon.rule import standing
from clock.books.store import Store
from clock.domain.outcomes import Unavailable
from clock.fair.statements import Opened
from clock.game.client.commands import Commands
from clock.proofs import statements
from clock.rounds import recorded, stated
from clock.rounds.clocks import Clocks

log = structlog.get_logger()


class Drawing:
    """Repeatable, in several processes at once."""

    def __init__(self, store: Store, redis: Commands, clocks: Clocks, beacons: Mapping[str, Beacon]) -> None:
        """``beacons``: those that can be asked, by the hash of their chain."""
        self._store = store
        self._redis = redis
        self._clocks = clocks
        self._beacons = beacons

    async def decide(self, day: date) -> bool:
        """Whether it is decided what P says of the draw. Raises :class:`Unavailable`; may take as long as relays may.

        Three clocks have to agree when it is judged whether the draw is out and whether it was had in time.
        """
        try:
            return await self._decide(day)
        except (RedisError, OSError) as error:
            raise Unavailable(f"the draw of {day}: {error}") from error

    async def _decide(self, day: date) -> bool:
        round_ = await recorded.find(self._store, day)
        if round_ is None or round_.state != "sealed" or round_.draw_ms is None:
            return False
        if round_.draw is not None:
            return True
        said = await statements.find(self._store, day)
        opened, closed = said.opened, said.closed
        before = await stated.kept(self._redis, round_)
        if before and before.draw and before.closed == said.texts["closed"]:  # packets were drawn with it
            await self._store.all("decide_draw", day=day, draw=before.draw)
            log.warning("draw_found_again", day=str(day), draw=before.draw)
            return True
        stands = standing(round_.draw_ms, closed.closed_ms, await self._clocks.agreed_now_ms())
        signature = None
        if stands == "out" and (signature := await self._signature(opened)) is not None:
            stands = standing(round_.draw_ms, closed.closed_ms, await self._clocks.agreed_now_ms())
        if stands == "awaited" or (stands == "out" and signature is None):
            return False
        draw = "late" if stands == "closed_late" else "missing"
        if stands == "out":
            assert signature is not None
            draw = signature.hex()
        if await self._store.all("decide_draw", day=day, draw=draw):
            tell = log.info if stands == "out" else log.error
            tell("draw_decided" if stands == "out" else "draw_failed", day=str(day), draw=draw)
        return True

    async def _signature(self, opened: Opened) -> bytes | None:
        """Of the draw that O names, from the relays of its chain. A chain that no setting names cannot be asked."""
        assert opened.draw is not None
        chain_hash, number = opened.draw
        beacon = self._beacons.get(chain_hash)
        if beacon is None:
            if logs.is_news("chain_unknown", chain_hash):
                log.error("chain_unknown", day=opened.round, beacon=opened.beacon)
            return None
        return await fetch(beacon, number)
