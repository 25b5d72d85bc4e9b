"""The home page: one round's counters and countdowns; of the user the state, the open order, and the last result."""

from datetime import date
from typing import Any

from clock.domain import order_no
from clock.domain.outcomes import Answer
from clock.domain.records import (
    CHECKED_IN_STATES,
    CLAIMED,
    LATE,
    LOOKED_INTO,
    MEMBER_STATES,
    ORDERED,
    VOID,
    clock_status,
    red_status,
)
from clock.domain.rounds import following, previous
from clock.domain.shapes import Extra
from clock.game import keys
from clock.game.asking import ASK_ANOTHER, Asking, Round
from clock.game.batch import Half, Waiter, leave
from clock.game.flags import Flags
from clock.game.profiles import Profiles
from clock.game.scripts import load
from clock.game.totals import Totals
from clock.game.verbs import Finish, Finished

STATUS, RESULT = load("status"), load("result")

YESTERDAY = {"settled": "settled", "finished": "settled", "void": "void"}
"""What clients are told of a round's state in Redis; otherwise ``open``."""


class Home:
    def __init__(self, asking: Asking, flags: Flags, profiles: Profiles) -> None:
        self._asking = asking
        self._flags = flags
        self._profiles = profiles
        self.to_all: dict[str, Any] = {}
        """In every summary: the page's version, by which an open one learns that there is another; and how winnings
        leave, which is said before joining."""

    async def summary(self, uid: int | None, extra: Extra | None, arrived: float) -> Answer:
        """The home page. ``uid`` is ``None`` for a guest. ``arrived`` and errors are as in :mod:`clock.game.verbs`."""
        tomorrow = await self._next(uid)
        if uid is None:
            return Answer("ok", {"summary": {**await self._of_guest(), "next": tomorrow}})
        if extra is not None:
            await self._profiles.note(uid, extra, arrived)
        asked = self._flags.ask(uid, arrived)
        try:
            home = await self._of_user(uid, arrived)
        except BaseException:
            leave(asked)
            raise
        home["next"] = tomorrow
        home["is_remind"], unseen = await self._flags.of(uid, arrived, asked)
        if unseen is not None:
            home["is_alert"] = 1
            home["result"] = await self._result(unseen, uid, arrived)
        return Answer("ok", {"summary": home})

    def summary_at_once(self, waiter: Waiter, uid: int, arrived: float) -> Finish | None:
        """As :meth:`summary`, as two questions at once: for members in the morning, who are the herd. ``None``, and
        nothing is asked, at another time, or where this process does not have rounds and figures at hand."""
        asking = self._asking
        now_ms, yesterday = asking.time.now_ms(), asking.known_morning(arrived)
        tomorrow = asking.rounds.get(following(asking.calendar.day_at(now_ms)))
        totals = asking.totals.known(yesterday.day) if yesterday else None
        if yesterday is None or tomorrow is None or totals is None:
            return None
        settle_ms, next_day = asking.settle_ms(yesterday), self._next_of(tomorrow, uid)
        if not yesterday.at.morning_starts_ms <= now_ms < settle_ms:
            return None
        home = self._shown(yesterday, totals, totals.pool_fen, now_ms, uid)
        first = Half(waiter)
        self._flags.tell(first, uid, arrived)
        asking.tell(Half(waiter, first), STATUS, yesterday, uid, arrived)

        def finish(_: int, said: Any) -> Finished:
            flags, state = said
            if state in ASK_ANOTHER or state[0] not in MEMBER_STATES or flags[:1] not in b"01" or flags[1:2] != b"0":
                return self.summary(uid, None, arrived)
            home["clock_status"], home["red_time"] = clock_status(state[0]), _seconds(settle_ms - now_ms)
            home["next"], home["is_remind"] = next_day, flags[0] - ord("0")
            home["yesterday"] = yesterday_of(yesterday, totals, state)
            return Answer("ok", {"summary": home})

        return finish

    async def _of_guest(self) -> dict[str, Any]:
        """Yesterday's round until its settlement, if it has members; otherwise today's."""
        asking = self._asking
        now_ms = asking.time.now_ms()
        today, yesterday = await self._rounds(now_ms)
        totals = asking.totals.known(yesterday.day) or await asking.totals_of(yesterday)
        if now_ms < asking.settle_ms(yesterday) and totals.members:
            return self._shown(yesterday, totals, totals.pool_fen, now_ms, None)
        of_today = asking.totals.known(today.day) or await asking.totals_of(today)
        return self._today(today, of_today, totals.pool_fen, now_ms, None)

    async def _of_user(self, uid: int, arrived: float) -> dict[str, Any]:
        """The summary without the user's flags. Values that are the same for all users are computed before the query of
        the user's state: replies arrive in batches, and work after it would delay the last user of a batch."""
        asking = self._asking
        now_ms = asking.time.now_ms()
        today, yesterday = await self._rounds(now_ms)
        totals = asking.totals.known(yesterday.day) or await asking.totals_of(yesterday)
        settle_ms, shard = asking.settle_ms(yesterday), keys.shard_of(uid, yesterday.rules.shards)
        if now_ms < settle_ms:
            home = self._shown(yesterday, totals, totals.pool_fen, now_ms, uid)
            state = (await asking.ask(STATUS, yesterday, shard, (uid,), arrived))[1]
            if state[0] in MEMBER_STATES:
                home["clock_status"], home["red_time"] = clock_status(state[0]), _seconds(settle_ms - now_ms)
            else:
                home = await self._in_today(today, totals.pool_fen, now_ms, uid, arrived)
        else:
            asked = asking.batcher.submit(STATUS, yesterday.day, shard, (uid,), arrived)
            try:
                home = await self._in_today(today, totals.pool_fen, now_ms, uid, arrived)
            except BaseException:
                leave(asked)
                raise
            state = (await asking.ask(STATUS, yesterday, shard, (uid,), arrived, asked))[1]
        home["yesterday"] = yesterday_of(yesterday, totals, state)
        return home

    async def _in_today(self, today: Round, yest_money: int, now_ms: int, uid: int, arrived: float) -> dict[str, Any]:
        """Today's round, with the user's state and open order."""
        asking = self._asking
        totals = asking.totals.known(today.day) or await asking.totals_of(today)
        home = self._today(today, totals, yest_money, now_ms, uid)
        shard = keys.shard_of(uid, today.rules.shards)
        state = (await asking.ask(STATUS, today, shard, (uid,), arrived))[1]
        home["clock_status"] = clock_status(state[0])
        home["order"] = order_of(today, shard, uid, state, now_ms)
        return home

    async def _rounds(self, now_ms: int) -> tuple[Round, Round]:
        """Today's round, and yesterday's: the one whose check-in day is today, also where a round keeps another time
        zone than the calendar's."""
        asking = self._asking
        day = asking.calendar.day_at(now_ms)
        today = asking.rounds.get(day) or await asking.round(day)
        day = previous(day)
        yesterday = asking.rounds.get(day) or await asking.round(day)
        if not yesterday.at.morning_starts_ms <= now_ms < yesterday.at.morning_ends_ms:
            yesterday = await asking.round(await asking.fitting(day, now_ms, morning=True))
        return today, yesterday

    def _today(self, today: Round, totals: Totals, yest_money: int, now_ms: int, uid: int | None) -> dict[str, Any]:
        home = self._shown(today, totals, yest_money, now_ms, uid)
        home["zero_time"] = _seconds(today.at.join_closes_ms - now_ms)
        home["is_start"] = int(today.at.join_opens_ms <= now_ms < today.at.join_closes_ms and totals.state != "void")
        return home

    async def _next(self, uid: int | None) -> dict[str, Any] | None:
        """Tomorrow's round, once it exists: what it will be like."""
        day = following(self._asking.calendar.day_at(self._asking.time.now_ms()))
        opened = self._asking.rounds.get(day) or await self._asking.if_open(day)
        if opened is None:
            return None
        return self._next_of(opened, uid)

    def _next_of(self, opened: Round, uid: int | None) -> dict[str, Any]:
        rules = self._rules(opened, uid)
        return {"round": opened.day.isoformat(), "rules": rules, "campaign": opened.rules.campaign}

    def _shown(self, shown: Round, totals: Totals, yest_money: int, now_ms: int, uid: int | None) -> dict[str, Any]:
        """The home page of this round for a user who is not a member of it."""
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
            "rules": self._rules(shown, uid),
            "order": None,
            "yesterday": None,
            "result": None,
            **self.to_all,
        }

    def _rules(self, shown: Round, uid: int | None) -> dict[str, Any]:
        """What a client may compute from: the shown round's own rules, check-in as it is for this user's shard."""
        closes_ms = self._asking.check_in_closes_ms(shown, uid)
        return {
            **shown.told,
            "check_in_closes_ms": closes_ms,
            "extended_s": (closes_ms - shown.at.check_in_closes_ms) // 1000,
            "settle_ms": self._asking.settle_ms(shown),
        }

    async def _result(self, day: date, uid: int, arrived: float) -> dict[str, Any] | None:
        """What a round that is settled or void brought the user, from Redis alone; ``None`` once its keys are gone."""
        asking = self._asking
        round_ = await asking.kept(day)
        if round_ is None:
            return None
        shards = round_.rules.shards
        totals = asking.totals.known(day) or await asking.totals.get(day, shards)
        _, said = await asking.batcher.submit(RESULT, day, keys.shard_of(uid, shards), (uid,), arrived)
        return result_of(round_, totals, said) if isinstance(said, list) else None


def yesterday_of(round_: Round, totals: Totals, state: bytes) -> dict[str, Any]:
    """What a user is in the round whose check-in day is today, and how far the round is."""
    return {
        "round": round_.day.isoformat(),
        "clock_status": clock_status(state[0]),
        "red_status": red_status(state[0]),
        "state": "void" if state[0] == VOID else YESTERDAY.get(totals.state, "open"),
    }


def order_of(round_: Round, shard: int, uid: int, state: bytes, now_ms: int) -> dict[str, Any] | None:
    """The user's unpaid order, while it can be paid or a payment of it is looked into."""
    if state[0] != ORDERED:
        return None
    is_checking = state[1] == LOOKED_INTO
    if not (is_checking or round_.at.join_opens_ms <= now_ms < round_.at.join_closes_ms):
        return None
    place = order_no.Place(round_.day, shard, uid, state[2:].decode())
    return {
        "order_no": order_no.make(round_.rules.order_prefix, place),
        "amount": round_.rules.stake_fen,
        "state": "checking" if is_checking else "open",
    }


def result_of(round_: Round, totals: Totals, said: list[Any]) -> dict[str, Any]:
    """A member's result, money in fen. ``stake`` is what came back of it: to winners, of a void round, to members who
    had paid late, and where nobody got up and the rules say so."""
    word, letter, packet_fen, extended_ms = said
    is_void, is_awake = word == b"void", letter[0] in CHECKED_IN_STATES
    nobody = totals.winners == 0 and round_.rules.nobody == "refund"
    stake_fen = round_.rules.stake_fen if is_void or is_awake or letter[0] == LATE or nobody else 0
    return {
        "round": round_.day.isoformat(),
        "clock_status": clock_status(letter[0]),
        "money": packet_fen,
        "stake": stake_fen,
        "total": packet_fen + stake_fen,
        "sleepers": totals.members - totals.winners,
        "extended_s": extended_ms // 1000,
        "claimed": int(letter[0] == CLAIMED),
        "void": int(is_void),
    }


def _seconds(left_ms: int) -> int:
    """Whole seconds left, rounded up."""
    return max(0, -(-left_ms // 1000))
