"""The data of answers to operators about the book of rules."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from clock.domain.rounds import Campaign
from clock.http.schema.players import RoundRules


class RulesDay(Struct):
    """What a day is like."""

    day: str
    open: Annotated[bool, Meta(description="Its round exists: nothing changes any more")]
    rules: RoundRules
    changes: Annotated[list[int | None], Meta(description="The changes that concern it; null: the one in question")]


class RulesChange(Struct):
    """A change that was planned once."""

    id: int
    first_day: str
    last_day: Annotated[str | None, Meta(description="null: a new default from the first day on")]
    changes: Annotated[dict[str, Any], Meta(description="The rules that it changes")]
    campaign: Campaign | None
    bonus_fen: Annotated[int | None, Meta(description="Of each of its days")]
    by_whom: str
    reason: str
    planned_at_ms: int
    taken_back_by: str | None
    taken_back_reason: str | None
    taken_back_at_ms: int | None


class Differing(Struct):
    book: Any
    environment: Any


class Rulebook(Struct):
    """The book of rules, its changes, and what days will be like."""

    default: RoundRules
    empty: Annotated[bool, Meta(description="Nothing was ever planned: the environment's rules hold")]
    environment: Annotated[
        dict[str, Differing], Meta(description="By rule, where this process' environment differs; it decides nothing")
    ]
    today: str
    changes: Annotated[list[RulesChange], Meta(description="All, newest first")]
    days: list[RulesDay]


class Preview(Struct):
    days: list[RulesDay]
    bonus_fen: Annotated[int, Meta(description="Of all days of the change")]


class Planned(Preview):
    id: Annotated[int, Meta(description="Of the change")]


class RulesRefused(Struct):
    """`rules_too_late`: the first day whose round exists or is over. `rules_misfit`: which day could not be played, and
    why."""

    day: str | UnsetType = UNSET
    why: str | UnsetType = UNSET
    days: list[RulesDay] | UnsetType = UNSET
    bonus_fen: int | UnsetType = UNSET


class TakenBack(Struct):
    id: int
