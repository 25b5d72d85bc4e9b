"""Finishing a round: unclaimed packets are credited, the pool must be empty, and the keys in Redis expire.

settled ──▶ finished, void ──▶ void with ``finished_at``
"""

from datetime import UTC, date, datetime
from functools import partial

import structlog

from clock.domain import progress
from clock.game import keys
from clock.game.scripts import load, of_users
from clock.rounds.ending import BooksDiffer, Ending
from clock.rounds.recorded import Recorded
from clock.rounds.refunding import refund
from clock.rounds.standings import Standings

log = structlog.get_logger()

CLAIM, FINISH = load("claim"), load("finish")

CREDIT_CHUNK = 100
"""Winners in one call: more would hold Redis for longer than five milliseconds on a slow core."""
PAGE = 10_000
"""Winners, or unpaid orders, that are looked through at once."""


class Finishing:
    """Every step is idempotent and may run in several processes."""

    def __init__(self, ending: Ending, standings: Standings) -> None:
        self._ending = ending
        self._store = ending.store
        self._standings = standings

    async def finish(self, day: date) -> bool:
        """Credit winners who did not claim, and let the keys expire; whether it is complete. Raises
        :class:`BooksDiffer` and :class:`Unavailable`."""
        async with self._ending.alone(day) as round_:
            if round_ is None or round_.state not in ("settled", "void"):
                return False
            if await self._ending.clocks.agreed_now_ms() < round_.at.claim_closes_ms:
                return False
            return await self._finish(round_)

    async def expire_again(self, day: date, shards: int, finished_at: datetime) -> None:
        """Restore the expiry of a finished round's keys, once late entries of its outbox are drained. The keys expire
        at the original time, because :func:`clock.service.live_rounds` does not include the round after that."""
        over_ms = int((datetime.now(UTC) - finished_at).total_seconds() * 1000)
        await self._forget_unpaid(day)
        for shard in range(shards):
            await self._ending.word(FINISH, day, shard, max(1, keys.KEEP_MS - over_ms))

    async def _finish(self, round_: Recorded) -> bool:
        day = round_.day
        await self._ending.drain(round_)
        if round_.state == "settled":
            await self._credit_unclaimed(round_)
            await self._standings.credit(day)
        else:
            # what was paid into it after its voiding, because Redis had forgotten it
            await refund(self._store, day, "void", "void", self._ending.time.now_ms(), everybody=True)
        left_fen = (await self._store.all("pool_balance", day=day))[0]["fen"]
        if left_fen:
            raise BooksDiffer(f"the pool of {day} still holds {left_fen} fen")
        for shard in round_.shards:
            word = await self._ending.word(FINISH, day, shard, keys.KEEP_MS)
            if word == "undrained":
                return False
            if word != "finished":
                raise BooksDiffer(f"shard {shard} of {day} does not finish: {word}")
        await self._forget_unpaid(day)
        await self._store.all("mark_finished", day=day)
        log.info("round_finished", day=str(day))
        return True

    async def _forget_unpaid(self, day: date) -> None:
        """The channel is not asked about the orders of a round that has ended."""
        after = 0
        while last := (await self._store.page("unpaid_last", day=day, after=after, limit=PAGE))[0]["last"]:
            await self._store.page("forget_unpaid", day=day, after=after, last=last)
            after = last

    async def _credit_unclaimed(self, round_: Recorded) -> None:
        """Claim for every winner without a claim, page by page; then the books have a claim of every winner."""
        day, after, credited = round_.day, 0, 0
        while (page := (await self._store.page("unclaimed", day=day, after=after, limit=PAGE))[0])["last"]:
            if page["uids"]:
                await self._credit(day, round_.rules.shards, page["uids"])
                await self._ending.drain(round_)
            after, credited = page["last"], credited + len(page["uids"])
            progress.at("credits", credited)
        missing = (await self._store.all("missing_claims", day=day))[0]
        if missing["winners"]:
            raise BooksDiffer(
                f"the books of {day} miss claims of {missing['winners']} winners, {missing['uid']} among them"
            )

    async def _credit(self, day: date, shards: int, uids: list[int]) -> None:
        by_shard: dict[int, list[int]] = {}
        for uid in uids:
            by_shard.setdefault(keys.shard_of(uid, shards), []).append(uid)
        await self._ending.each(
            [
                partial(self._claim, day, shard, own[start : start + CREDIT_CHUNK])
                for shard, own in by_shard.items()
                for start in range(0, len(own), CREDIT_CHUNK)
            ]
        )

    async def _claim(self, day: date, shard: int, uids: list[int]) -> None:
        waited_ms, time = 0, self._ending.time
        fixed = (time.expected_ms(), time.skew_ms, "system")
        await self._ending.reply(CLAIM, day, shard, *fixed, *of_users(CLAIM, [(uid, waited_ms) for uid in uids]))
