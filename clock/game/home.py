"""The home page: one round's counters and countdowns, and the user's state in that round."""

from datetime import date
from typing import Any

from clock.domain.outcomes import Answer
from clock.domain.records import MEMBER_STATES, clock_status
from clock.domain.rounds import following, previous
from clock.domain.shapes import Extra
from clock.game.asking import Asking, Round
from clock.game.flags import Flags
from clock.game.profiles import Profiles
from clock.game.scripts import load
from clock.game.totals import Totals

STATUS = load("status")


class Home:
    def __init__(self, asking: Asking, flags: Flags, profiles: Profiles) -> None:
        self._asking = asking
        self._flags = flags
        self._profiles = profiles

    async def summary(self, uid: int | None, extra: Extra | None, arrived: float) -> Answer:
        """The home page. ``uid`` is ``None`` for a guest. ``arrived`` and errors are as in :mod:`clock.game.verbs`."""
        if uid is not None and extra is not None:
            await self._profiles.note(uid, extra, arrived)
        if uid is None:
            return Answer("ok", {"summary": await self._home(None, arrived)})
        asked = self._flags.ask(uid, arrived)
        home = await self._home(uid, arrived)
        home["is_remind"], home["is_alert"] = await self._flags.of(uid, arrived, asked)
        return Answer("ok", {"summary": home})

    async def _home(self, uid: int | None, arrived: float) -> dict[str, Any]:
        """The summary without the user's flags. Values that are the same for all users are computed before the query of
        the user's state: replies arrive in batches, and work after it would delay the last user of a batch."""
        asking = self._asking
        now_ms = asking.time.now_ms()
        day = asking.calendar.day_at(now_ms)
        today = asking.rounds.get(day) or await asking.round(day)
        following_round = await self._next(following(day), uid)
        day = previous(day)
        yesterday = asking.rounds.get(day) or await asking.round(day)
        totals = asking.totals.known(day) or await asking.totals_of(yesterday)
        yest_money = totals.pool_fen
        settle_ms = asking.settle_ms(yesterday)
        if now_ms < settle_ms and (uid is not None or totals.members):
            home = home_of(yesterday, totals, yest_money, now_ms)
            home["rules"], home["next"] = self._rules(yesterday, uid), following_round
            if uid is None:
                return home
            red_time = _seconds(settle_ms - now_ms)
            state = (await asking.ask_user(STATUS, day, uid, arrived))[1][0]
            if state in MEMBER_STATES:
                home["clock_status"], home["red_time"] = clock_status(state), red_time
                return home
        totals = asking.totals.known(today.day) or await asking.totals_of(today)
        home = home_of(today, totals, yest_money, now_ms)
        home["rules"], home["next"] = self._rules(today, uid), following_round
        home["zero_time"] = _seconds(today.at.join_closes_ms - now_ms)
        home["is_start"] = int(today.at.join_opens_ms <= now_ms < today.at.join_closes_ms and totals.state != "void")
        if uid is not None:
            home["clock_status"] = clock_status((await asking.ask_user(STATUS, today.day, uid, arrived))[1][0])
        return home

    async def _next(self, day: date, uid: int | None) -> dict[str, Any] | None:
        """Tomorrow's round, once it exists: what it will be like."""
        opened = self._asking.rounds.get(day) or await self._asking.if_open(day)
        if opened is None:
            return None
        return {"round": day.isoformat(), "rules": self._rules(opened, uid), "campaign": opened.rules.campaign}

    def _rules(self, shown: Round, uid: int | None) -> dict[str, Any]:
        """What a client may compute from: instants of the shown round, check-in as it is for this user's shard."""
        at, closes_ms = shown.at, self._asking.check_in_closes_ms(shown, uid)
        return {
            "stake_fen": shown.rules.stake_fen,
            "join_opens_ms": at.join_opens_ms,
            "join_closes_ms": at.join_closes_ms,
            "check_in_opens_ms": at.check_in_opens_ms,
            "check_in_closes_ms": closes_ms,
            "extended_s": (closes_ms - at.check_in_closes_ms) // 1000,
            "settle_ms": self._asking.settle_ms(shown),
            "claim_closes_ms": at.claim_closes_ms,
            "bonus_fen": shown.rules.bonus_fen,
            "campaign": shown.rules.campaign,
        }


def home_of(shown: Round, totals: Totals, yest_money: int, now_ms: int) -> dict[str, Any]:
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
    }


def _seconds(left_ms: int) -> int:
    """Whole seconds left, rounded up."""
    return max(0, -(-left_ms // 1000))
