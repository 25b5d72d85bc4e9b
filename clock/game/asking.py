"""Chooses the round's keys and the shard of a request, and submits it to the batcher.

``arrived`` is the ``time.monotonic()`` instant at which the request reached the process. Errors:
:class:`~clock.domain.outcomes.Busy` and :class:`~clock.domain.outcomes.Unavailable`; a retry is safe.
"""

import time
from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol

import msgspec

from clock import metrics
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import Calendar, Rules, Windows, following, instant_ms, previous, windows
from clock.game import keys
from clock.game.batch import Asked, Batcher, Waiter
from clock.game.client.calls import call
from clock.game.client.commands import Commands
from clock.game.gametime import GameTime
from clock.game.scripts import Script, Value
from clock.game.totals import Totals, TotalsCache

ASK_AGAIN = 3
"""How often a verb may be sent to the wrong round's keys; twice can happen around midnight."""

ROUNDS_REMEMBERED = 64

ASK_ANOTHER = (b"no_round", b"wrong_round", b"clock_moved")
"""Results that are no verb's answer: a round is opened, another one is asked, or the caller is told to come back."""

MISSED_SECONDS = 1.0
"""How long a round that does not exist yet is not looked for again."""


class Round(msgspec.Struct, frozen=True):
    day: date
    rules: Rules
    at: Windows
    seed_hash: str
    """SHA-256 of the seed, in hex: public from the moment that the round is created."""
    told: dict[str, Any]
    """What clients may know of the rules that never changes: instants in ms, money in fen."""


def told_of(day: date, rules: Rules, remind_at: str) -> dict[str, Any]:
    """:attr:`Round.told`. ``remind_at`` is this service's, ``HH:MM``; empty where it sends no reminders."""
    at = windows(day, rules)
    return {
        "stake_fen": rules.stake_fen,
        "split": rules.split,
        "nobody": rules.nobody,
        "fee_bps": rules.fee_bps,
        "packet_cap_fen": rules.packet_cap_fen,
        "lucky_count": rules.lucky_count,
        "lucky_bps": rules.lucky_bps,
        "bonus_fen": rules.bonus_fen,
        "campaign": rules.campaign,
        "timezone": rules.timezone,
        "join_opens_ms": at.join_opens_ms,
        "join_closes_ms": at.join_closes_ms,
        "check_in_opens_ms": at.check_in_opens_ms,
        "claim_closes_ms": at.claim_closes_ms,
        "remind_at_ms": instant_ms(following(day), remind_at, rules.timezone) if remind_at else None,
    }


class Opens(Protocol):
    """Makes sure that a day's round exists in Postgres and in Redis. Both methods raise :class:`Unavailable`."""

    async def open_round(self, day: date) -> object: ...

    async def reopen(self, day: date) -> bool:
        """As ``open_round``, but only for a round that exists and whose keys have not expired; whether it is one."""
        ...


class Asking:
    def __init__(self, settings: Settings, redis: Commands, time: GameTime, opener: Opens) -> None:
        self._redis = redis
        self._opener = opener
        self._remind_at = settings.remind_at if settings.reminder_url else ""
        self.rounds: dict[date, Round] = {}
        """Rounds cached in this process. A verb looks here before it awaits :meth:`round`."""
        self._missed = date.min, 0.0
        """A day whose round was looked for, and until when that holds."""
        self._closes: dict[date, list[int]] = {}
        """When check-in closes in each shard, of rounds in which one closes later than the rules say."""
        self.time = time
        self.calendar = Calendar(settings.timezone)
        self.batcher = Batcher(self._call)
        self.totals = TotalsCache(redis)

    async def round(self, day: date) -> Round:
        """The round of a day with its rules, which never change once it exists. Creates the round if it does not
        exist."""
        known = self.rounds.get(day)
        if known is None:
            known = await self._read(day)
            if known is None:
                await self._opener.open_round(day)
                known = await self._read(day)
            if known is None:
                raise Unavailable(f"round {day} does not open")
            self._remember(known)
        return known

    async def if_open(self, day: date) -> Round | None:
        """The round of a day, as long as it exists. A day without one is looked for once a second."""
        known = self.rounds.get(day)
        if known is None and (self._missed[0] != day or time.monotonic() >= self._missed[1]):
            self._missed = day, time.monotonic() + MISSED_SECONDS
            known = await self._read(day)
            if known is not None:
                self._remember(known)
        return known

    def _remember(self, known: Round) -> None:
        if len(self.rounds) > ROUNDS_REMEMBERED:
            self.rounds.clear()
        self.rounds[known.day] = known

    async def _read(self, day: date) -> Round | None:
        """The round as its first shard has it."""
        text, seed_hash = await self._redis.hmget(keys.name(day, 0, "round"), ("rules", "seed_hash"))
        if text is None or seed_hash is None:
            return None
        rules = msgspec.json.decode(text, type=Rules)
        told = told_of(day, rules, self._remind_at)
        return Round(day, rules, windows(day, rules), seed_hash.decode(), told)

    def closes(self, day: date, closes_ms: list[int]) -> None:
        """Note when check-in closes in each shard of a round."""
        round_ = self.rounds.get(day)
        if round_ is not None and max(closes_ms) > round_.at.check_in_closes_ms:
            if len(self._closes) > ROUNDS_REMEMBERED:
                self._closes.clear()
            self._closes[day] = closes_ms

    def check_in_closes_ms(self, round_: Round, uid: int | None) -> int:
        """When check-in closes for this user; without one, when it closes last."""
        known = self._closes.get(round_.day)
        if known is None:
            return round_.at.check_in_closes_ms
        return max(known) if uid is None else known[keys.shard_of(uid, len(known))]

    def settle_ms(self, round_: Round) -> int:
        """When settlement is due: as long after the last shard has closed as the rules say."""
        return round_.at.settle_ms + self.check_in_closes_ms(round_, None) - round_.at.check_in_closes_ms

    async def existing(self, day: date) -> Round | None:
        """The round of a day; ``None`` if there was none or its keys have expired."""
        round_ = self.rounds.get(day)
        if round_ is None:
            known = await self._redis.exists(keys.name(day, 0, "round"))
            if not (known or await self._opener.reopen(day)):
                return None
            round_ = await self.round(day)
        return round_

    async def kept(self, day: date) -> Round | None:
        """The round of a day as far as Redis has it: nothing is opened for it."""
        return self.rounds.get(day) or await self._read(day)

    async def totals_of(self, round_: Round) -> Totals:
        """The cached totals of a round; reopens the round if Redis has lost it."""
        totals = await self.totals.get(round_.day, round_.rules.shards)
        if not totals.state:
            await self._opener.open_round(round_.day)
        return totals

    async def _call(self, script: Script, day: keys.Day, shard: int, args: Sequence[Value]) -> list[Any]:
        """Run a script for the batcher, for users: a script with an argument ``by`` gets ``user``."""
        names = keys.names(day, shard, script.nouns)
        began = time.monotonic()

        async def ask(node: Commands) -> list[Any]:
            server = await node.server()  # connects, so that it is the server to which the script is sent
            fixed: list[Value] = [self.time.setting]
            if "expected_ms" in script.fixed:
                fixed += [self.time.expected_ms(), self.time.skew_ms]
            if "by" in script.fixed:
                fixed.append("user")
            if "server" in script.fixed:
                fixed.append(server)
            return await call(node, script, names, [*fixed, *args])

        reply = await self._redis.at(names[0], ask)
        metrics.batched(script.verb, len(reply) - 1, time.monotonic() - began)
        return reply

    async def ask(
        self,
        script: Script,
        round_: Round,
        shard: int,
        args: tuple[Value, ...],
        arrived: float,
        asked: Asked | None = None,
    ) -> tuple[int, Any]:
        """One user's result and the script's time; opens the round if the shard does not have it yet. ``asked``: the
        query, where it is on its way already."""
        for _ in range(2):
            now_ms, result = await (asked or self.batcher.submit(script, round_.day, shard, args, arrived))
            asked = None
            if result == b"clock_moved":
                raise Unavailable("Redis' clock has jumped: nobody is refused by it")
            if result != b"no_round":
                return now_ms, result
            self.rounds.pop(round_.day, None)
            await self._opener.open_round(round_.day)
        raise Unavailable(f"round {round_.day} does not open")

    async def ask_user(self, script: Script, day: date, uid: int, arrived: float) -> tuple[int, Any, Round]:
        """As :meth:`ask`, on the user's shard of the round of ``day``."""
        round_ = self.rounds.get(day) or await self.round(day)
        shard = keys.shard_of(uid, round_.rules.shards)
        now_ms, result = await self.ask(script, round_, shard, (uid,), arrived)
        return now_ms, result, round_

    def known_morning(self, arrived: float) -> Round | None:
        """The round whose check-in day is today by this process' calendar, where it is cached."""
        return self.rounds.get(previous(self.calendar.day_at(self.time.at_ms(arrived))))

    def tell(self, waiter: Waiter, script: Script, round_: Round, uid: int, arrived: float) -> int:
        """Ask once about a user; whatever the result is goes to ``waiter``. The user's shard."""
        shard = keys.shard_of(uid, round_.rules.shards)
        self.batcher.tell(waiter, script, round_.day, shard, (uid,), arrived)
        return shard

    async def ask_today(self, script: Script, uid: int, arrived: float) -> tuple[int, Any, Round]:
        """The script's time, and one user's result in the round whose check-in day is today by that."""
        day = previous(self.calendar.day_at(self.time.at_ms(arrived)))
        for _ in range(ASK_AGAIN):
            now_ms, result, round_ = await self.ask_user(script, day, uid, arrived)
            if result != b"wrong_round":
                return now_ms, result, round_
            day = await self.fitting(day, now_ms - self.waited_ms(arrived), morning=True)
        raise Unavailable("no round fits the clock")

    async def fitting(self, day: date, at_ms: int, *, morning: bool) -> date:
        """The neighbour of ``day`` whose round has its check-in day (``morning``) or its joining day at that instant.
        Needed because a round keeps its time zone, so that the current calendar may choose the wrong round."""
        at = (await self.round(day)).at
        starts_ms = at.morning_starts_ms if morning else at.day_starts_ms
        return previous(day) if at_ms < starts_ms else following(day)

    async def morning(self, arrived: float) -> date:
        """The round whose check-in day is today, for scripts that never answer ``wrong_round``."""
        at_ms = self.time.at_ms(arrived)
        day = previous(self.calendar.day_at(at_ms))
        at = (await self.round(day)).at
        if at.morning_starts_ms <= at_ms < at.morning_ends_ms:
            return day
        return await self.fitting(day, at_ms, morning=True)

    def waited_ms(self, arrived: float) -> int:
        """How long the request has been in the process, in ms."""
        return max(0, self.time.now_ms() - self.time.at_ms(arrived))
