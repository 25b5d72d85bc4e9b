"""Planning other rules for days whose round does not exist yet, and taking a plan back until it does."""

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec
from msgspec import UNSET, UnsetType

from clock.books import rulebook
from clock.books.store import Connection, Store, rows
from clock.channels import Channel
from clock.config import Settings, rules_of
from clock.domain.outcomes import Answer
from clock.domain.rounds import previous
from clock.domain.rulebook import Book, Change, Terms, unplayable

AHEAD_DAYS = 366
"""So far ahead a change may begin, and so long a dated one may be."""

MOST_CHANGES = 100
"""So many changes may concern today or later days at once."""


class Planning:
    """Answers: ``planned`` or ``taken_back``; ``rules_too_late`` with the first ``day`` whose round exists or is past;
    ``rules_misfit`` with ``why``, and the first ``day`` that could not be played; ``rules_full``; ``change_not_found``.
    Raises :class:`~clock.domain.outcomes.Unavailable`."""

    def __init__(self, settings: Settings, store: Store, channels: Iterable[Channel]) -> None:
        self._channels = tuple(channels)
        self._environment = rules_of(settings)
        self._remind_at = settings.remind_at if settings.reminder_url else ""
        self._beacon = settings.beacon != "none"
        self._store = store

    async def check(self, change: Change, today: date) -> tuple[Answer, Book]:
        """Whether the change could be planned now (``ok``), and the book with it."""
        async with self._store.transaction() as connection:
            return await self._checked(connection, change, today)

    async def plan(self, change: Change, by_whom: str, reason: str, today: date) -> Answer:
        """Plan it. The same again is the same change, as long as no other was planned after it."""
        async with self._store.transaction() as connection:
            await rulebook.lock(connection)
            answer, book = await self._checked(connection, change, today)
            if answer.word != "ok":
                return answer
            await rulebook.begun(connection, today, self._environment)
            for last in book.changes[-2:-1]:
                if msgspec.structs.replace(last, id=None) == change:
                    return Answer("planned", {"id": last.id})
            return Answer("planned", {"id": await rulebook.add(connection, change, by_whom, reason)})

    async def take_back(self, number: int, by_whom: str, reason: str, today: date) -> Answer:
        """Take a change back."""
        async with self._store.transaction() as connection:
            await rulebook.lock(connection)
            found = await rows(connection, "find_change", change=number)
            if not found:
                return Answer("change_not_found")
            if found[0].pop("taken_back"):
                return Answer("taken_back", {"id": number})
            change = msgspec.convert(found[0], Change)
            if late := await _too_late(connection, change, today):
                return Answer("rules_too_late", {"day": late.isoformat()})
            book = await rulebook.begun(connection, previous(change.first_day), self._environment)
            left = Book(book.first, tuple(one for one in book.changes if one.id != number))
            if misfit := self._misfit(left, change):
                return misfit
            await rows(connection, "take_change_back", change=number, by_whom=by_whom, reason=reason)
        return Answer("taken_back", {"id": number})

    async def _checked(self, connection: Connection, change: Change, today: date) -> tuple[Answer, Book]:
        book = await rulebook.read(connection, min(today, previous(change.first_day))) or Book(self._environment)
        planned = Book(book.first, (*book.changes, change))
        if late := await _too_late(connection, change, today):
            return Answer("rules_too_late", {"day": late.isoformat()}), book
        if why := _flaw(change, today) or stuck_stake(self._channels, change.changes.stake_fen):
            return Answer("rules_misfit", {"day": change.first_day.isoformat(), "why": why}), book
        if len(book.changes) >= MOST_CHANGES:
            return Answer("rules_full"), book
        return self._misfit(planned, change) or Answer("ok"), planned

    def _misfit(self, book: Book, change: Change) -> Answer | None:
        """What of the book could not be played on the days of a change."""
        found = unplayable(book, change.first_day, change.last_day, self._remind_at, beacon=self._beacon)
        return Answer("rules_misfit", {"day": found[0].isoformat(), "why": found[1]}) if found else None


def stuck_stake(channels: Iterable[Channel], stake_fen: int | UnsetType) -> str:
    """Why such a stake could not go back to its winner; empty: it can. A channel that pays out by transfers has a
    least amount, and a packet may be 0; one that pulls refunds the stake."""
    for channel in channels:
        if stake_fen is not UNSET and not channel.pulls and stake_fen < channel.least_transfer_fen:
            return (
                f"a stake of {stake_fen} fen could not be paid back by {channel.name}, which transfers nothing below "
                f"{channel.least_transfer_fen} fen"
            )
    return ""


async def _too_late(connection: Connection, change: Change, today: date) -> date | None:
    """The first day of a change whose round exists, or that is over."""
    if change.first_day < today:
        return change.first_day
    found = await rows(connection, "first_round", first=change.first_day, last=change.last_day)
    day: date | None = found[0]["day"]
    return day


def _flaw(change: Change, today: date) -> str:
    """Why nobody can mean this; empty: they can."""
    if change.last_day is not None and change.last_day < change.first_day:
        return "last_day is before first_day"
    if change.last_day is None and (change.bonus_fen is not None or change.campaign is not None):
        return "a campaign and bonus_fen need a last_day"
    if change.changes == Terms() and change.bonus_fen is None and change.campaign is None:
        return "nothing is changed"
    if change.first_day > today + timedelta(AHEAD_DAYS):
        return f"first_day is more than {AHEAD_DAYS} days ahead"
    if change.last_day is not None and change.last_day > change.first_day + timedelta(AHEAD_DAYS):
        return f"last_day is more than {AHEAD_DAYS} days after first_day"
    return ""
