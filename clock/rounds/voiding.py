"""Voiding a round before its draw is known: every stake is owed back, and a bonus goes back to the house.

open, closed ──▶ voiding ──▶ void

A round with a beacon can be voided until its draw is out, also when it is sealed, and not from then on, whatever its
state. One that was opened before there were statements can be voided until its packets are published.
"""

from datetime import date

import structlog

from clock.books import ledger
from clock.books.store import rows
from clock.books.telling import tell
from clock.domain.rounds import PUBLISHED_STATES
from clock.domain.webhooks import RoundVoid
from clock.game import keys
from clock.proofs import statements
from clock.proofs.statements import Signing
from clock.rounds.ending import Ending
from clock.rounds.recorded import Recorded
from clock.rounds.refunding import refund
from clock.rounds.standings import Standings

log = structlog.get_logger()

PAGE = 20_000
"""Packets that are deleted in one transaction."""


class Voiding:
    """Every step is idempotent and may run in several processes."""

    def __init__(self, ending: Ending, standings: Standings, signing: Signing) -> None:
        self._ending = ending
        self._store = ending.store
        self._standings = standings
        self._signing = signing

    async def void(self, day: date, reason: str) -> str:
        """Void the round. Answers ``ok``, ``round_drawn``, ``round_settled`` or ``round_not_found``. Raises
        :class:`~clock.rounds.ending.BooksDiffer` and :class:`Unavailable`."""
        async with self._ending.alone(day) as round_:
            if round_ is None:
                return "round_not_found"
            if round_.state == "void":
                return "ok"
            if round_.state in PUBLISHED_STATES or (round_.state != "voiding" and await self._claiming(round_)):
                return "round_settled"
            if round_.state != "voiding" and not await self._begin(round_, reason):
                return "round_drawn"
            await self._give_back(round_)
            return "ok"

    async def _begin(self, round_: Recorded, reason: str) -> bool:
        """From here on the round can only be void, which V states; False where its draw is known."""
        now_ms = await self._now_ms(round_)
        async with self._store.transaction() as connection:
            if not await rows(connection, "start_voiding", day=round_.day, reason=reason, now_ms=now_ms):
                return False
            if round_.salt_key:
                await statements.write_void(self._signing, connection, round_, now_ms, reason)
            self._ending.require_before_draw(round_, now_ms)
        return True

    async def _now_ms(self, round_: Recorded) -> int:
        """The instant of V. Three clocks have to agree that a draw is not out."""
        ending = self._ending
        return ending.time.now_ms() if round_.draw_ms is None else await ending.clocks.agreed_now_ms()

    async def _claiming(self, round_: Recorded) -> bool:
        """Whether claiming is open in Redis: books that went back may not know it."""
        names = [keys.name(round_.day, shard, "round") for shard in round_.shards]
        return any([await self._ending.redis.hget(name, "state") in (b"settled", b"finished") for name in names])

    async def _give_back(self, round_: Recorded) -> None:
        day = round_.day
        figures = await self._ending.close_shards(round_, "void")
        await self._standings.alert(day)
        await self._drop_manifest(round_)
        now_ms = self._ending.time.now_ms()
        await refund(self._store, day, "voiding", "void", now_ms, everybody=True)
        async with self._store.transaction() as connection:
            await rows(connection, "give_carried_back", day=day)
            for row in await rows(connection, "mark_void", day=day, **figures):
                fact = RoundVoid(round=day.isoformat(), reason=row["void_reason"], **figures)
                await tell(self._store, connection, day, fact, now_ms)
            await ledger.post_settlement(connection, day)
        log.info("round_voided", day=str(day))

    async def _drop_manifest(self, round_: Recorded) -> None:
        day = round_.day
        for shard in round_.shards:
            page = {"day": day, "shard": shard, "after": -1}
            while (last := (await self._store.page("packets_last", **page, limit=PAGE))[0]["last"]) is not None:
                await self._store.page("drop_packets", **page, last=last)
                page["after"] = last
