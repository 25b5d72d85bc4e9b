"""Every time rule: which round is meant, when its windows open and close, what state it is in.

A round is named by the local date ``D`` on which people join it. Instants are integer milliseconds since
the epoch; the local calendar appears only here. Windows are half-open: the first instant is in, the last is out.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

State = Literal["open", "closed", "sealed", "split", "published", "settled", "finished", "voiding", "void"]
Phase = Literal["planned", "joining", "waiting", "checking_in", "closed", "settling", "settled", "finished", "void"]

UNSETTLED_STATES: tuple[State, ...] = ("open", "closed", "sealed", "split", "published")
"""Settlement is not done, and the round is not called off."""

VOID_STATES: tuple[State, ...] = ("voiding", "void")
"""Called off."""

UNSEALED_STATES: tuple[State, ...] = ("open", "closed", "voiding")
"""Members, winners and ranks may still be corrected."""

SEALED_STATES: tuple[State, ...] = ("sealed", "split", "published", "settled", "finished")
"""Members, winners, ranks and the pot are final: the statement C says so."""

SPLIT_STATES: tuple[State, ...] = ("split", "published", "settled", "finished")
"""The manifest is written."""

PUBLISHED_STATES: tuple[State, ...] = ("published", "settled", "finished")
"""Every packet is in Redis, or was."""

SETTLED_STATES: tuple[State, ...] = ("settled", "finished")
"""Claiming is open, or was."""

ENDED_STATES: tuple[State, ...] = ("settled", "finished", "void")
"""The outcome is fixed and public."""

PAID_OUT_STATES: tuple[State, ...] = ("finished", "void")
"""All money has left the round's pool."""


class Step(NamedTuple):
    """A step of a user through a round: its name, its counter in Redis, the table whose rows say it in Postgres."""

    name: str
    counter: str
    table: str


STEPS = (
    Step("ordered", "orders", "orders"),
    Step("paid", "members", "members"),
    Step("checked_in", "winners", "check_ins"),
    Step("claimed", "claimed", "claims"),
)

EPOCH_DAY = date(2020, 1, 1)
"""Day number 0 in order numbers and order ids."""

WAIT_CAP_MS = 5_000
"""The longest wait in the queue that is not held against a user when a window closes (docs/rules.md, *Time*)."""


DRAW_ROOM_MS = 180_000
"""With a beacon settlement is due so long after check-in closes, or later: the closed round is stated before the draw
is out, 2 minutes before settlement is due."""


class Campaign(msgspec.Struct, frozen=True):
    """What a day of other rules is called, in both languages."""

    zh: Annotated[str, msgspec.Meta(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f]*$")]
    en: Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*$")]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """A round's snapshot of the rules, taken when it is created. Times of day are ``HH:MM``. ``bonus_fen``: what the
    house adds to the pot. What has a default here, older snapshots lack."""

    timezone: str
    stake_fen: int
    split: Literal["random", "equal"]
    nobody: Literal["refund", "carry"]
    fee_bps: int
    packet_cap_fen: int
    lucky_count: int
    lucky_bps: int
    shards: int
    join_opens: str
    join_closes: str
    check_in_opens: str
    check_in_closes: str
    settle_at: str
    claim_closes: str
    order_prefix: str = "TTC"
    bonus_fen: int = 0
    campaign: Campaign | None = None


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """A round's instants in milliseconds since the epoch.

    ``day`` is the join date, ``morning`` the date after it, on which people check in and claim.
    """

    day_starts_ms: int
    join_opens_ms: int
    join_closes_ms: int
    morning_starts_ms: int
    check_in_opens_ms: int
    check_in_closes_ms: int
    settle_ms: int
    claim_closes_ms: int
    morning_ends_ms: int


def parse_day(text: str) -> date:
    """``YYYY-MM-DD`` to a date; raises ``ValueError`` for anything else."""
    day = date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError(f"not YYYY-MM-DD: {text!r}")
    if not 2020 <= day.year <= 2060:
        raise ValueError(f"no round on {text}")
    return day


def previous(day: date) -> date:
    return day - timedelta(days=1)


def following(day: date) -> date:
    return day + timedelta(days=1)


def day_number(day: date) -> int:
    """Days since :data:`EPOCH_DAY`."""
    return (day - EPOCH_DAY).days


def day_of_number(number: int) -> date:
    return EPOCH_DAY + timedelta(days=number)


def instant_ms(day: date, time_of_day: str, timezone: str) -> int:
    """The instant at which the wall clock of ``timezone`` shows ``HH:MM`` (up to ``24:00``) on ``day``; the first of
    two. Where clocks go forward past it, the instant at which they do."""
    hours, minutes = int(time_of_day[:2]), int(time_of_day[3:])
    if hours == 24:
        day, hours = following(day), 0
    local = datetime(day.year, day.month, day.day, hours, minutes, tzinfo=ZoneInfo(timezone))
    first, second = round(local.timestamp()), round(local.replace(fold=1).timestamp())
    return (first if first <= second else _change_of_offset(second, first, local.tzinfo)) * 1000


def _change_of_offset(before: int, after: int, zone: tzinfo | None) -> int:
    """The second between these two at which the zone's offset changes."""
    offset = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


@lru_cache(maxsize=64)
def windows(day: date, rules: Rules) -> Windows:
    morning = following(day)

    def at(which: date, time_of_day: str) -> int:
        return instant_ms(which, time_of_day, rules.timezone)

    return Windows(
        day_starts_ms=at(day, "00:00"),
        join_opens_ms=at(day, rules.join_opens),
        join_closes_ms=at(day, rules.join_closes),
        morning_starts_ms=at(morning, "00:00"),
        check_in_opens_ms=at(morning, rules.check_in_opens),
        check_in_closes_ms=at(morning, rules.check_in_closes),
        settle_ms=at(morning, rules.settle_at),
        claim_closes_ms=at(morning, rules.claim_closes),
        morning_ends_ms=at(morning, "24:00"),
    )


def extended(at: Windows, by_ms: int) -> Windows:
    """With a check-in that closes later, and settlement as long after it as before."""
    if not by_ms:
        return at
    return msgspec.structs.replace(at, check_in_closes_ms=at.check_in_closes_ms + by_ms, settle_ms=at.settle_ms + by_ms)


IN_ORDER = ("join_opens", "join_closes"), ("check_in_opens", "check_in_closes", "settle_at", "claim_closes")
"""Rules whose instants follow each other."""


def empty_window(day: date, rules: Rules, *, beacon: bool = False) -> str:
    """Why the rules leave a window of the round of ``day`` without an instant, or a ``beacon``'s draw without room;
    empty where they do not. Windows that the clock's change swallows are empty on that day alone."""
    for names in IN_ORDER:
        which = day if names[0] == "join_opens" else following(day)
        for earlier, later in pairwise(names):
            begin, end = getattr(rules, earlier), getattr(rules, later)
            if instant_ms(which, begin, rules.timezone) >= instant_ms(which, end, rules.timezone):
                return f"{later}={end} is not after {earlier}={begin} on {which}"
    return no_room(day, rules) if beacon else ""


def no_room(day: date, rules: Rules) -> str:
    """Why a beacon's draw has no room in the round of ``day``; empty: it has."""
    at = windows(day, rules)
    if at.settle_ms - at.check_in_closes_ms >= DRAW_ROOM_MS:
        return ""
    return (
        f"settle_at={rules.settle_at} is less than 3 minutes after check_in_closes={rules.check_in_closes} on "
        f"{following(day)}, and leaves the beacon's draw no room"
    )


def days_of_change(zone: str, first: date, last: date) -> Iterator[date]:
    """Days from the first to the last in which the zone's offset changes."""
    info, before = ZoneInfo(zone), None
    for number in range((last - first).days + 2):
        day = first + timedelta(days=number)
        offset = datetime(day.year, day.month, day.day, tzinfo=info).utcoffset()
        if before not in (None, offset):
            yield previous(day)
        before = offset


class Calendar:
    """The local date of an instant; caches the last date."""

    def __init__(self, timezone: str) -> None:
        self.timezone = timezone
        self._zone = ZoneInfo(timezone)
        self._day, self._from_ms, self._to_ms = date.min, 0, 0

    def day_at(self, at_ms: int) -> date:
        if not self._from_ms <= at_ms < self._to_ms:
            day = datetime.fromtimestamp(at_ms / 1000, self._zone).date()
            self._from_ms = instant_ms(day, "00:00", self.timezone)
            self._to_ms = instant_ms(day, "24:00", self.timezone)
            self._day = day
        return self._day


def phase(state: State, at: Windows, now_ms: int) -> Phase:
    """The state of a round as users see it, from its recorded state and the game's clock."""
    if state in VOID_STATES:
        return "void"
    if state in ("closed", "sealed") and now_ms < at.settle_ms:  # with a beacon it is closed before its draw
        return "closed"
    if state in ("closed", "sealed", "split", "published"):
        return "settling"
    if state in SETTLED_STATES:
        return "settled" if state == "settled" else "finished"
    if now_ms < at.join_opens_ms:
        return "planned"
    if now_ms < at.join_closes_ms:
        return "joining"
    if now_ms < at.check_in_opens_ms:
        return "waiting"
    if now_ms < at.check_in_closes_ms:
        return "checking_in"
    return "closed"
