"""The verbs of a round: which round's keys, which script, what its words mean.

Every verb takes ``arrived``, the ``time.monotonic()`` instant at which the request reached the process, and
returns an :class:`~clock.domain.outcomes.Answer`. Errors: :class:`~clock.domain.outcomes.Busy` and
:class:`~clock.domain.outcomes.Unavailable`, after which asking again is safe.
"""

import base64
import re
import time
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from clock import metrics
from clock.config import Settings
from clock.domain import order_no
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import Calendar, Rules, Windows, following, previous, windows
from clock.domain.shapes import Extra, PaymentCallback
from clock.game import flags, keys
from clock.game.batch import Batcher
from clock.game.flags import Flags
from clock.game.gametime import GameTime
from clock.game.scripts import Script, Value, call, load
from clock.game.totals import Totals, TotalsCache

JOIN, PAY, CHECK_IN, CLAIM, STATUS = (load(verb) for verb in ("join", "pay", "check_in", "claim", "status"))
QUARANTINE, PROFILE, ORDER = load("quarantine"), load("profile"), load("order")

MEMBER_STATES = frozenset(b"MLCP")
CHECKED_IN_STATES = frozenset(b"CP")
QUARANTINED = frozenset(("order_not_found", "amount_mismatch", "buyer_mismatch", "transaction_missing"))
ASK_AGAIN = 3
"""How often a verb may find that it named the wrong round's keys; twice can happen around midnight."""

NO_AMOUNT_FEN = -1
"""A payment's amount that is missing, or that no order has."""

PROFILES_REMEMBERED = 100_000

INSTANT = re.compile(r"\d{4}-\d\d-\d\d([ t]\d\d:\d\d:\d\d|t\d\d:\d\d:\d\d(\.\d{1,9})?(z|[+-]\d\d:\d\d))", re.I | re.A)
"""A payment's time: a date and a time of day in the game's zone, or as RFC 3339 says."""


class Round(msgspec.Struct, frozen=True):
    day: date
    rules: Rules
    at: Windows
    seed_hash: str
    """SHA-256 of the seed, in hex: public from the moment that the round is created."""


class Order(msgspec.Struct, frozen=True):
    amount_fen: int
    open_id: str
    paid: bool


class Opens(flags.Opens, Protocol):
    """Makes sure that a day's round exists in Postgres and in Redis; all raise :class:`Unavailable`."""

    async def open_round(self, day: date) -> object: ...

    async def reopen(self, day: date) -> bool:
        """Only if the round exists and is not long over; whether it does."""
        ...


class Game:
    def __init__(self, settings: Settings, redis: Any, time: GameTime, opener: Opens) -> None:
        self._redis = redis
        self._opener = opener
        self._rounds: dict[date, Round] = {}
        self._profiles: dict[int, Extra] = {}
        self.time = time
        self.calendar = Calendar(settings.timezone)
        self.batcher = Batcher(self._call)
        self.totals = TotalsCache(redis)
        self.flags = Flags(self.batcher, opener)

    # -- rounds and calls

    async def round(self, day: date) -> Round:
        """The round of a day with its rules, which never change once it exists."""
        known = self._rounds.get(day)
        if known is None:
            fields = await self._redis.hmget(keys.name(day, 0, "round"), "rules", "seed_hash")
            if fields[0] is None:
                await self._opener.open_round(day)
                fields = await self._redis.hmget(keys.name(day, 0, "round"), "rules", "seed_hash")
            rules = msgspec.json.decode(fields[0], type=Rules)
            if len(self._rounds) > 64:
                self._rounds.clear()
            known = self._rounds[day] = Round(day, rules, windows(day, rules), fields[1].decode())
        return known

    async def _call(self, script: Script, day: date, shard: int, args: Sequence[Value]) -> list[Any]:
        fixed = (self.time.setting, "user") if script is CLAIM else (self.time.setting,)
        names = keys.names(day, shard, script.nouns)
        began = time.monotonic()
        reply = await call(self._redis, script, names, [*fixed, *args])
        metrics.batched(script.verb, len(reply) - 1, time.monotonic() - began)
        return reply

    async def _ask(
        self, script: Script, round_: Round, shard: int, args: tuple[Value, ...], arrived: float
    ) -> tuple[int, Any]:
        """One user's result and the script's time; opens the round where a shard does not know it yet."""
        for _ in range(2):
            now_ms, result = await self.batcher.submit(script, round_.day, shard, args, arrived)
            if result != b"no_round":
                return now_ms, result
            self._rounds.pop(round_.day, None)
            await self._opener.open_round(round_.day)
        raise Unavailable(f"round {round_.day} does not open")

    async def _ask_user(
        self, script: Script, day: date, uid: int, arrived: float, rest: tuple[Value, ...] = ()
    ) -> tuple[int, Any, Round]:
        round_ = self._rounds.get(day) or await self.round(day)
        shard = keys.shard_of(uid, round_.rules.shards)
        now_ms, result = await self._ask(script, round_, shard, (uid, *rest), arrived)
        return now_ms, result, round_

    async def _ask_today(self, script: Script, uid: int, arrived: float) -> tuple[Any, Round]:
        """For the round whose check-in day is today, as the script's clock sees it."""
        day = previous(self.calendar.day_at(self.time.at_ms(arrived)))
        for _ in range(ASK_AGAIN):
            now_ms, result, round_ = await self._ask_user(script, day, uid, arrived)
            if result != b"wrong_round":
                return result, round_
            day = await self._fitting(day, now_ms - self._waited_ms(arrived), morning=True)
        raise Unavailable("no round fits the clock")

    async def _fitting(self, day: date, at_ms: int, *, morning: bool) -> date:
        """The day whose round has its check-in day, or its joining day, at that instant, next to ``day``. A round keeps
        its time zone, so that the calendar of another one may have named its neighbour."""
        at = (await self.round(day)).at
        starts_ms = at.morning_starts_ms if morning else at.day_starts_ms
        return previous(day) if at_ms < starts_ms else following(day)

    async def _morning(self, arrived: float) -> date:
        """The round whose check-in day is today, where no script is asked that would say that it is another's."""
        at_ms = self.time.at_ms(arrived)
        day = previous(self.calendar.day_at(at_ms))
        at = (await self.round(day)).at
        if at.morning_starts_ms <= at_ms < at.morning_ends_ms:
            return day
        return await self._fitting(day, at_ms, morning=True)

    def _waited_ms(self, arrived: float) -> int:
        return max(0, self.time.now_ms() - self.time.at_ms(arrived))

    # -- verbs

    async def join(self, uid: int, extra: Extra, arrived: float) -> Answer:
        if not (extra.mobile and extra.nickname and extra.openId):
            return Answer("profile_required")
        day = self.calendar.day_at(self.time.at_ms(arrived))
        for _ in range(ASK_AGAIN):
            if await self._is_unsettled_member(uid, previous(day), arrived):
                return Answer("settle_first")
            round_ = await self.round(day)
            shard = keys.shard_of(uid, round_.rules.shards)
            tail = order_no.new_tail()
            prefix = round_.rules.order_prefix
            number = order_no.make(prefix, order_no.Place(day, shard, uid, tail))
            args = (uid, number, tail, extra.openId, extra.mobile, extra.nickname)
            now_ms, result = await self._ask(JOIN, round_, shard, args, arrived)
            if isinstance(result, list):
                word, order_id, its_tail = result
                self._profiles.pop(uid, None)
                if word == b"order_pending":
                    number = order_no.make(prefix, order_no.Place(day, shard, uid, its_tail.decode()))
                order = {"order_id": order_id, "order_no": number, "amount": round_.rules.stake_fen}
                return Answer(word.decode(), order)
            if result != b"wrong_round":
                return Answer(result.decode())
            day = await self._fitting(day, now_ms - self._waited_ms(arrived), morning=False)
        raise Unavailable("no round fits the clock")

    async def _is_unsettled_member(self, uid: int, day: date, arrived: float) -> bool:
        """Whether the user is a member of the round of ``day`` and its settlement is not due yet."""
        round_ = await self.round(day)
        if self.time.now_ms() > round_.at.settle_ms + 60_000:
            return False
        now_ms, state, round_ = await self._ask_user(STATUS, day, uid, arrived)
        return now_ms < round_.at.settle_ms and state[0] in MEMBER_STATES

    async def check_in(self, uid: int, arrived: float) -> Answer:
        word, round_ = await self._ask_today(CHECK_IN, uid, arrived)
        if word in (b"checked_in", b"already_checked_in"):
            totals = self.totals.known(round_.day) or await self._totals(round_)
            return Answer(word.decode(), {"money": totals.pool_fen})
        return Answer(word.decode())

    async def check_in_status(self, uid: int, arrived: float) -> Answer:
        day = await self._morning(arrived)
        _, state, _ = await self._ask_user(STATUS, day, uid, arrived)
        return Answer("ok", {"is_check_in": int(state[0] in CHECKED_IN_STATES)})

    async def yesterday(self, uid: int, arrived: float) -> Answer:
        """What became of the user in the round whose check-in day is today."""
        day = await self._morning(arrived)
        _, state, _ = await self._ask_user(STATUS, day, uid, arrived)
        red = {b"C": 1, b"P": 2}.get(state, 0)
        return Answer("ok", {"yesterday": {"clock_status": _clock_status(state[0]), "red_status": red}})

    async def claim(self, uid: int, arrived: float) -> Answer:
        result, _ = await self._ask_today(CLAIM, uid, arrived)
        if isinstance(result, list):
            word, packet, stake = result
            return Answer(word.decode(), {"assign": {"money": packet, "stake": stake, "total": packet + stake}})
        return Answer(result.decode())

    async def summary(self, uid: int | None, extra: Extra | None, arrived: float) -> Answer:
        """The home page. ``uid`` is ``None`` for a guest."""
        if uid is not None and extra is not None:
            await self._note_profile(uid, extra, arrived)
        if uid is None:
            return Answer("ok", {"summary": await self._home(None, arrived)})
        asked = self.flags.ask(uid, arrived)
        home = await self._home(uid, arrived)
        home["is_remind"], home["is_alert"] = await self.flags.of(uid, arrived, asked)
        return Answer("ok", {"summary": home})

    async def _home(self, uid: int | None, arrived: float) -> dict[str, Any]:
        """The summary, but for the flags of the user. What is the same for everybody is made before the user's state
        is asked: many states come back together, and the last of them waits for what is done with all others."""
        now_ms = self.time.now_ms()
        day = self.calendar.day_at(now_ms)
        today = self._rounds.get(day) or await self.round(day)
        day = previous(day)
        yesterday = self._rounds.get(day) or await self.round(day)
        totals = self.totals.known(day) or await self._totals(yesterday)
        yest_money = totals.pool_fen
        if now_ms < yesterday.at.settle_ms and (uid is not None or totals.members):
            home = _home_of(yesterday, totals, yest_money, now_ms)
            if uid is None:
                return home
            red_time = _seconds(yesterday.at.settle_ms - now_ms)
            state = (await self._ask_user(STATUS, day, uid, arrived))[1][0]
            if state in MEMBER_STATES:
                home["clock_status"], home["red_time"] = _clock_status(state), red_time
                return home
        totals = self.totals.known(today.day) or await self._totals(today)
        home = _home_of(today, totals, yest_money, now_ms)
        home["zero_time"] = _seconds(today.at.join_closes_ms - now_ms)
        home["is_start"] = int(today.at.join_opens_ms <= now_ms < today.at.join_closes_ms and totals.state != "void")
        if uid is not None:
            home["clock_status"] = _clock_status((await self._ask_user(STATUS, today.day, uid, arrived))[1][0])
        return home

    async def _totals(self, round_: Round) -> Totals:
        totals = await self.totals.get(round_.day, round_.rules.shards)
        if not totals.state:
            await self._opener.open_round(round_.day)
        return totals

    async def _note_profile(self, uid: int, extra: Extra, arrived: float) -> None:
        """Put what is new into the outbox; what this process has passed on already is not sent again."""
        if self._profiles.get(uid) == extra or not (extra.mobile or extra.nickname or extra.openId):
            return
        round_ = await self.round(self.calendar.day_at(self.time.now_ms()))
        shard = keys.shard_of(uid, round_.rules.shards)
        texts = (extra.openId or "", extra.mobile or "", extra.nickname or "")
        await self._ask(PROFILE, round_, shard, (uid, *texts), arrived)
        if len(self._profiles) >= PROFILES_REMEMBERED:
            self._profiles.clear()
        self._profiles[uid] = extra

    # -- payments

    async def place_of(self, number: str) -> order_no.Place | None:
        """Where the order of that number lives; ``None`` where no round that is not long over gives such numbers."""
        place = order_no.place_of(number)
        if place is None or abs((place.day - self.calendar.day_at(self.time.now_ms())).days) > 400:
            return None
        round_ = self._rounds.get(place.day)
        if round_ is None:
            known = await self._redis.exists(keys.name(place.day, 0, "round"))
            if not (known or await self._opener.reopen(place.day)):
                return None
            round_ = await self.round(place.day)
        rules = round_.rules
        ours = number[: -order_no.LENGTH] == rules.order_prefix
        return place if ours and place.shard == keys.shard_of(place.uid, rules.shards) else None

    async def order(self, place: order_no.Place) -> Order | None:
        """The order of that number, if there is one. Raises :class:`Unavailable` where its round is lost."""
        names = keys.names(place.day, place.shard, ORDER.nouns)
        _, word, *order = await call(self._redis, ORDER, names, [self.time.setting, place.uid, place.tail])
        if word == b"no_round":
            await self._opener.reopen(place.day)
        return Order(order[0], order[1].decode(), order[2] != b"O") if word == b"found" else None

    async def pay(self, callback: PaymentCallback, channel: str, raw: bytes, arrived: float) -> Answer:
        """Take a callback whose signature is good. What fails a check is quarantined, never lost."""
        word = await self._pay(callback, channel, raw, arrived)
        if word in QUARANTINED:
            await self.quarantine(channel, word, callback.order_no, raw, arrived)
        return Answer(word)

    async def _pay(self, callback: PaymentCallback, channel: str, raw: bytes, arrived: float) -> str:
        place = await self.place_of(callback.order_no)
        if place is None:
            return "order_not_found"
        paid = callback.extra
        args = (
            place.uid,
            callback.order_no,
            place.tail,
            paid.amount if paid.amount is not None and 0 <= paid.amount < 1 << 53 else NO_AMOUNT_FEN,
            paid.transactionId or "",
            paid.buyerId or "",
            instant_of(paid.notify_time, self.calendar.timezone),
            channel,
            readable(raw),
        )
        for _ in range(2):
            _, result = await self.batcher.submit(PAY, place.day, place.shard, args, arrived)
            if result != b"no_round":
                return str(result.decode())
            if not await self._opener.reopen(place.day):
                return "order_not_found"
        raise Unavailable(f"round {place.day} does not open")

    async def quarantine(self, channel: str, reason: str, number: str, raw: bytes, arrived: float) -> None:
        """Keep a signed callback that nobody could be credited for."""
        round_ = await self.round(self.calendar.day_at(self.time.now_ms()))
        await self._ask(QUARANTINE, round_, 0, (channel, reason, number, base64.b64encode(raw)), arrived)


def _home_of(shown: Round, totals: Totals, yest_money: int, now_ms: int) -> dict[str, Any]:
    """The home page that shows this round, to somebody who is nothing in it."""
    return {
        "is_remind": 0,
        "clock_status": 0,
        "user_num": totals.members,
        "clock_user_num": totals.winners,
        "clock_money": totals.pool_fen,
        "clock_time": _seconds(shown.at.check_in_opens_ms - now_ms),
        "red_time": 0,
        "zero_time": 0,
        "is_start": 0,
        "is_alert": 0,
        "yest_money": yest_money,
        "round": shown.day.isoformat(),
        "seed_hash": shown.seed_hash,
        "server_time": now_ms,
    }


def _clock_status(state: int) -> int:
    """0 not a member, 1 a member, 2 checked in; ``state`` is the letter of a member's record."""
    return 2 if state in CHECKED_IN_STATES else int(state in MEMBER_STATES)


def _seconds(left_ms: int) -> int:
    """Whole seconds left, 0 only when none is."""
    return max(0, -(-left_ms // 1000))


def readable(raw: bytes) -> str:
    """A body as text that Postgres can keep: itself, or with escapes where it is not UTF-8 or has NUL."""
    return raw.decode(errors="backslashreplace").replace("\x00", "\\x00")


def instant_of(text: str | None, timezone: str) -> int:
    """``YYYY-MM-DD HH:MM:SS`` in the game's zone or RFC 3339, in ms; -1 for what is missing or unreadable."""
    if not (text and INSTANT.fullmatch(text)):
        return -1
    try:
        instant = datetime.fromisoformat(text.upper())
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=ZoneInfo(timezone))
        return int(instant.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return -1
