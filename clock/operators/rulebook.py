"""The book of rules for operators: what holds, what is planned, what days will be like; planning and taking back."""

from datetime import date, timedelta
from typing import Annotated, Any

import msgspec

from clock.books import rulebook
from clock.books.store import rows
from clock.config import rules_of
from clock.domain.outcomes import Answer
from clock.domain.rounds import Campaign, Rules
from clock.domain.rulebook import Book, Change, Terms, days
from clock.operators.acts import Act, By, perform
from clock.service import Service

MOST_DAYS = 62
"""Days of a preview."""

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern="^[^\x00]*$")]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to plan: on the days from the first to the last, or without a last from the first day on. ``bonus_fen``:
    what the house adds to the pot of each of its days. ``preview``: only say what the days would be like."""

    first_day: date
    last_day: date | None = None
    changes: Terms = Terms()
    campaign: Campaign | None = None
    bonus_fen: Annotated[int, msgspec.Meta(ge=1, le=10**12)] | None = None
    reason: Reason = ""
    preview: bool = False

    @property
    def change(self) -> Change:
        return Change(
            first_day=self.first_day,
            last_day=self.last_day,
            changes=self.changes,
            campaign=self.campaign,
            bonus_fen=self.bonus_fen,
        )


async def shown(service: Service, first: date | None, count: int, page: int, limit: int) -> Answer:
    """``default``: the rules of a day on which nothing is dated. ``environment``: where the environment of this process
    says otherwise, which decides nothing. ``changes``: all, newest first. ``days``: ``count`` days from ``first``."""
    today, environment = _today(service), rules_of(service.settings)
    first = first or today
    async with service.store.transaction() as connection:
        book = await rulebook.read(connection, min(first, today))
        changes = await rows(connection, "list_changes", limit=limit, offset=(page - 1) * limit)
    default = book.default(today) if book else environment
    return Answer(
        "ok",
        {
            "default": msgspec.to_builtins(default),
            "empty": book is None,
            "environment": differences(default, environment),
            "today": today.isoformat(),
            "changes": changes,
            "days": await _days(service, book or Book(environment), first, count),
        },
    )


def differences(book: Rules, environment: Rules) -> dict[str, dict[str, Any]]:
    """Rules of which the environment says something else than the book's default."""
    one, other = msgspec.to_builtins(book), msgspec.to_builtins(environment)
    return {name: {"book": one[name], "environment": other[name]} for name in one if one[name] != other[name]}


async def plan(service: Service, by: By, asked: Plan) -> Answer:
    """Plan a change, or with ``preview`` say what its first days would be like. Words: those of
    :class:`~clock.rounds.planning.Planning`, and ``second_name_needed`` for a large bonus."""
    change, today = asked.change, _today(service)
    checked, book = await service.planning.check(change, today)
    if checked.word != "ok":
        return checked
    whole = _length(change)
    bonus_fen = (change.bonus_fen or 0) * whole
    seen = {"days": await _days(service, book, change.first_day, whole), "bonus_fen": bonus_fen}
    if asked.preview:
        return Answer("ok", seen)

    async def work(_: int) -> Answer:
        answer = await service.planning.plan(change, by.who, asked.reason, today)
        return Answer(answer.word, {**answer.data, **seen})

    told = msgspec.to_builtins(change)
    act = Act("plan_rules", change.first_day.isoformat(), told, asked.reason, bonus_fen or None)
    return await perform(service, by, act, work)


async def take_back(service: Service, by: By, number: int, reason: str) -> Answer:
    """Take a change back, as long as no round was opened by it."""

    async def work(_: int) -> Answer:
        return await service.planning.take_back(number, by.who, reason, _today(service))

    return await perform(service, by, Act("take_back_rules", str(number), {}, reason), work)


def _today(service: Service) -> date:
    return service.asking.calendar.day_at(service.time.now_ms())


def _length(change: Change) -> int:
    """How many days a dated change has; of a new default as many as are shown."""
    return MOST_DAYS if change.last_day is None else (change.last_day - change.first_day).days + 1


async def _days(service: Service, book: Book, first: date, count: int) -> list[dict[str, Any]]:
    """What days are like, at most :data:`MOST_DAYS`: those of rounds that exist as they are, others by the book."""
    last = first + timedelta(min(count, MOST_DAYS) - 1)
    found = await service.store.all("rules_of_rounds", first=first, last=last)
    exist = {row["day"]: msgspec.convert(row["rules"], Rules) for row in found}
    return [
        {
            "day": day.isoformat(),
            "open": day in exist,
            "rules": msgspec.to_builtins(exist.get(day) or book.rules(day)),
            "changes": [one.id for one in book.on(day)],
        }
        for day in days(first, last)
    ]
