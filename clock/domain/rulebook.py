"""The book of rules: a default, what was planned later, and what both say of a day.

A change without a last day is the default from its first day on; the others are dated. On a day first the defaults
apply, then the dated changes, each in the order of planning, field by field: the later planned one wins, and a holiday
stays one where a default is changed after it was planned.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from clock.domain.rounds import (
    DRAW_ROOM_MS,
    IN_ORDER,
    Campaign,
    Rules,
    days_of_change,
    empty_window,
    following,
    previous,
)

Fen = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
BasisPoints = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$")]
Stake = Annotated[int, msgspec.Meta(ge=1, le=10**8)]
SplitMode = Literal["random", "equal"]
Nobody = Literal["refund", "carry"]
LuckyCount = Annotated[int, msgspec.Meta(ge=0, le=10**6)]
Shards = Annotated[int, msgspec.Meta(ge=1, le=1024)]
OrderPrefix = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z]{1,6}$")]

YEARS = 10
"""So far ahead windows are checked against the days on which clocks change."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The rules that a change may name. Not the time zone: it says which day it is, for all rounds."""

    stake_fen: Stake | UnsetType = UNSET
    split: SplitMode | UnsetType = UNSET
    nobody: Nobody | UnsetType = UNSET
    fee_bps: BasisPoints | UnsetType = UNSET
    packet_cap_fen: Fen | UnsetType = UNSET
    lucky_count: LuckyCount | UnsetType = UNSET
    lucky_bps: BasisPoints | UnsetType = UNSET
    shards: Shards | UnsetType = UNSET
    join_opens: TimeOfDay | UnsetType = UNSET
    join_closes: TimeOfDay | UnsetType = UNSET
    check_in_opens: TimeOfDay | UnsetType = UNSET
    check_in_closes: TimeOfDay | UnsetType = UNSET
    settle_at: TimeOfDay | UnsetType = UNSET
    claim_closes: TimeOfDay | UnsetType = UNSET
    order_prefix: OrderPrefix | UnsetType = UNSET


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A planned change. ``id`` grows with each; None: it is not planned yet. ``bonus_fen`` is of each of its days."""

    id: int | None = None
    first_day: date
    last_day: date | None = None
    changes: Terms = Terms()
    campaign: Campaign | None = None
    bonus_fen: int | None = None

    def concerns(self, day: date) -> bool:
        return self.first_day <= day and (self.last_day is None or day <= self.last_day)

    def applied_to(self, rules: Rules) -> Rules:
        other: dict[str, Any] = msgspec.to_builtins(self.changes)
        if self.campaign is not None:
            other["campaign"] = self.campaign
        if self.bonus_fen is not None:
            other["bonus_fen"] = self.bonus_fen
        return msgspec.structs.replace(rules, **other)


class Book(msgspec.Struct, frozen=True):
    """The first default, and the changes that hold, in the order of planning."""

    first: Rules
    changes: tuple[Change, ...] = ()

    def on(self, day: date) -> list[Change]:
        """What concerns a day, in the order in which it applies."""
        found = [change for change in self.changes if change.concerns(day)]
        return sorted(found, key=lambda change: change.last_day is not None)

    def rules(self, day: date) -> Rules:
        """The rules of a round that is opened for this day."""
        rules = self.first
        for change in self.on(day):
            rules = change.applied_to(rules)
        return rules

    def default(self, day: date) -> Rules:
        """The same without what is dated."""
        return Book(self.first, tuple(change for change in self.changes if change.last_day is None)).rules(day)


def misfit(rules: Rules, remind_at: str = "", named: Callable[[str], str] = str, *, beacon: bool = False) -> str:
    """Why no round can be played by these rules; empty: it can. ``remind_at``: when sleepers are reminded, if they
    are. ``named``: how whoever reads this calls a rule. ``beacon``: whether rounds have one."""
    if rules.lucky_bps and not rules.lucky_count:
        return f"{named('lucky_bps')} needs {named('lucky_count')} above 0"
    for names in IN_ORDER:
        for earlier, later in pairwise(names):
            if getattr(rules, earlier) >= getattr(rules, later):
                begin, end = getattr(rules, earlier), getattr(rules, later)
                return f"{named(later)}={end} must be after {named(earlier)}={begin}"
    if remind_at and remind_at >= rules.check_in_closes:
        return f"{named('remind_at')}={remind_at} must be before {named('check_in_closes')}={rules.check_in_closes}"
    if beacon and _minutes(rules.settle_at) - _minutes(rules.check_in_closes) < DRAW_ROOM_MS // 60_000:
        closes, due = rules.check_in_closes, rules.settle_at
        return (
            f"{named('settle_at')}={due} must be 3 minutes after {named('check_in_closes')}={closes} or later: the "
            "beacon's draw is between them"
        )
    return locked_out(rules, rules, named)


def _minutes(time_of_day: str) -> int:
    return int(time_of_day[:2]) * 60 + int(time_of_day[3:])


def locked_out(before: Rules, rules: Rules, named: Callable[[str], str] = str) -> str:
    """Why the members of the round before could never join this one; empty: they can, once theirs is settled."""
    if rules.join_closes > before.settle_at:
        return ""
    return (
        f"{named('join_closes')}={rules.join_closes} must be after {named('settle_at')}={before.settle_at} of the "
        "round before, whose members join after it"
    )


def swallowed(rules: Rules, first: date, last: date, *, beacon: bool = False) -> str:
    """Why the rules leave a window empty, or a ``beacon``'s draw without room, on a day from the first to the last on
    which clocks change."""
    for changing in days_of_change(rules.timezone, first, last):
        for day in (previous(changing), changing):
            if why := empty_window(day, rules, beacon=beacon):
                return f"the windows do not fit {rules.timezone}, where clocks change: {why}"
    return ""


def unplayable(
    book: Book, first: date, last: date | None, remind_at: str, *, beacon: bool = False
) -> tuple[date, str] | None:
    """The first day from ``first`` to the one after ``last`` (None: of all later ones) whose round could not be played
    by the book, or not by the members of the round before, or leaves a ``beacon``'s draw no room, with the reason."""
    ends = [change.last_day for change in book.changes if change.last_day is not None]
    until = following(last if last is not None else max([first, *ends]))
    fits: dict[Rules, str] = {}
    before = book.rules(previous(first))
    changing = {day for late in days_of_change(before.timezone, first, until) for day in (previous(late), late)}
    for day in days(first, until):
        rules = book.rules(day)
        if rules not in fits:
            fits[rules] = misfit(rules, remind_at, beacon=beacon)
        empty = day in changing and empty_window(day, rules, beacon=beacon)
        if why := fits[rules] or locked_out(before, rules) or empty:
            return day, why
        before = rules
    end = until.replace(year=until.year + YEARS, day=1)
    if last is None and (why := swallowed(before, until, end, beacon=beacon)):
        return until, why
    return None


def days(first: date, last: date) -> Iterator[date]:
    """From the first to the last."""
    for number in range((last - first).days + 1):
        yield first + timedelta(number)
