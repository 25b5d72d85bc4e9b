"""Users' standings after a round: streaks, talents, incomes. Counted once, a page of users at a time.

*tally*, when the round is settled: a check-in extends the streak, a missed one ends it, and every member has a result
to see. Rounds are tallied in the order of their days, since a streak follows from the round before. A void round counts
for nothing, but its members have a result to see as well: their stakes come back.

*credit*, when every packet has been claimed: the packets count as income. Not earlier: the board would change with
each claim.
"""

from collections import defaultdict
from datetime import date
from functools import partial

import structlog

from clock.books import outbox
from clock.books.store import by_key, one, rows
from clock.domain import progress
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import day_number
from clock.game import keys, totals
from clock.game.client.calls import call
from clock.game.scripts import Value, load
from clock.rounds.ending import Ending
from clock.rounds.recorded import Recorded, recorded

log = structlog.get_logger()

ALERT = load("alert")

PAGE = 10_000
CHUNK = 100
"""Users per call. Few, because Redis blocks longer while a hash of a million users' flags grows
(docs/decisions/0026)."""

MOST_EARLIER = 400
"""Rounds that are looked through for members whom the standings lack. Rounds wait for each other: there are a few."""


class Standings:
    """The caller of ``tally`` and ``credit`` holds the round's lock; ``count`` takes it."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._store = ending.store
        self._redis = ending.redis
        self._time = ending.time

    async def count(self, day: date) -> None:
        """Tally and credit a settled round, as far as it is due. Resumable."""
        async with self._ending.alone(day) as round_:
            if round_ is None:
                return
            await self.tally(day)
            if await self._all_given(day):
                await self.credit(day)

    async def tally(self, day: date) -> bool:
        """Carry a settled round into the streaks, from where an earlier attempt ended; ``False`` while it must wait for
        an earlier round."""
        round_ = await self._round(day)
        if round_.tallied_at is not None:
            return True
        if waits_for := await self._untallied_before(day):
            log.info("tally_waits", day=str(day), waits_for=str(waits_for))
            return False
        previous = (await self._store.all("round_before", day=day))[0]["day"]
        after, done = round_.tallied_uid, 0
        while page := await self._store.page("tally_page", day=day, after=after, limit=PAGE):
            uids = [row["uid"] for row in page]
            await self._alert(day, uids)
            async with self._store.transaction() as connection:
                await by_key(connection)
                await rows(connection, "tally", day=day, after=after, last=uids[-1], previous=previous)
                await rows(connection, "save_tally", day=day, last=uids[-1])
            after = uids[-1]
            done += len(uids)
            progress.at("standings", done)
        async with self._store.transaction() as connection:
            await rows(connection, "save_talents", day=day)
            await rows(connection, "mark_tallied", day=day)
        log.info("round_tallied", day=str(day))
        return True

    async def _untallied_before(self, day: date) -> date | None:
        """The first earlier round with members that is not in the standings yet."""
        for row in await self._store.all("untallied_before", day=day, limit=MOST_EARLIER):
            played = await self._store.one("has_members", day=row["day"])
            if played is not None and played["found"]:
                return date.fromisoformat(str(row["day"]))
        return None

    async def alert(self, day: date) -> None:
        """Every member of a round has a result to see. Repeatable."""
        after = 0
        while page := await self._store.page("tally_page", day=day, after=after, limit=PAGE):
            uids = [row["uid"] for row in page]
            await self._alert(day, uids)
            after = uids[-1]

    async def _alert(self, day: date, uids: list[int]) -> None:
        """First Redis, then the books, so that repeating a page flags no user twice."""
        shards: dict[int, list[int]] = defaultdict(list)
        for uid in uids:
            shards[keys.user_shard(uid)].append(uid)
        await self._ending.each(
            [
                partial(self._flag, day, shard, own[start : start + CHUNK])
                for shard, own in shards.items()
                for start in range(0, len(own), CHUNK)
            ]
        )

    async def _flag(self, day: date, shard: int, uids: list[int]) -> None:
        names = keys.names(keys.USERS, shard, ALERT.nouns)
        args: list[Value] = [self._time.setting, day_number(day), *uids]
        _, word = await call(self._redis, ALERT, names, args)
        if word == b"no_flags":
            await self._ending.opener.open_flags()
            _, word = await call(self._redis, ALERT, names, args)
        if word != b"alerted":
            raise Unavailable("the flags of users do not open")

    async def _all_given(self, day: date) -> bool:
        """Whether every packet of a settled round has been claimed, according to the books."""
        round_ = await self._round(day)
        if round_.credited_at is not None or round_.finished_at is not None:
            return True
        shards = round_.rules.shards
        live = await totals.read(self._redis, day, shards)
        if live.claimed < round_.winners or await outbox.depth(self._redis, day, shards):
            return False
        claims = await self._store.all("count_claims", day=day)
        return bool(claims[0]["claims"] == round_.winners)

    async def credit(self, day: date) -> None:
        """Add a round's packets to the incomes, from where an earlier attempt ended."""
        round_ = await self._round(day)
        if round_.credited_at is not None:
            return
        after, done = round_.credited_uid, 0
        while page := await self._store.page("credit_page", day=day, after=after, limit=PAGE):
            last = page[-1]["uid"]
            async with self._store.transaction() as connection:
                await by_key(connection)
                await rows(connection, "credit", day=day, after=after, last=last)
                await rows(connection, "save_credit", day=day, last=last)
            after = last
            done += len(page)
            progress.at("incomes", done)
        async with self._store.transaction() as connection:
            await rows(connection, "save_luckiest", day=day)
            await rows(connection, "mark_credited", day=day)
        log.info("round_credited", day=str(day))

    async def _round(self, day: date) -> Recorded:
        async with self._store.transaction() as connection:
            return recorded(await one(connection, "get_round", day=day))
