"""A user is forgotten: nickname, mobile and openId are emptied wherever no money needs them.

The books stay: amounts, dates, numbers of orders and transactions, under the uid. What money still needs is kept until
it does not, and said; the same again then completes it.
"""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from time import monotonic

import msgspec

from clock.books import outbox
from clock.books.months import Month
from clock.books.store import Connection, Store, rows
from clock.domain import progress
from clock.domain.outcomes import Answer, Unavailable
from clock.game import keys
from clock.operators.acts import Act, By, perform
from clock.rounds.recorded import Recorded
from clock.service import Service, live_rounds

DRAIN_SECONDS = 10.0
REMINDERS_DAYS = 31
"""Older ones are deleted by the worker."""


class Kept(msgspec.Struct, frozen=True):
    """What of a user is kept. ``why``: a word of docs/retention.md. ``until``: a date, a condition, or None: as long as
    the books."""

    place: str
    why: str
    count: int
    day: str | None = None
    until: str | None = None


class Found(msgspec.Struct):
    """What was done so far."""

    replaced: Counter[str]
    kept: list[Kept]
    order_nos: list[str]


async def forget(service: Service, by: By, uid: int, reason: str) -> Answer:
    """Empty what names a user. Repeatable. Raises :class:`~clock.domain.outcomes.Unavailable` and a ``RedisError``;
    what was emptied until then stays so."""
    return await perform(service, by, Act("forget", str(uid), reason=reason), lambda _: _forget(service, uid))


async def _forget(service: Service, uid: int) -> Answer:
    store = service.store
    live = await live_rounds(service)
    await _drain(service, live)  # or a profile that is on its way would come after us
    found = Found(Counter(), [], [])
    profile = await store.one("profile_of", uid=uid)
    remind, _ = await service.flags.of(uid, monotonic())
    if remind:
        await service.flags.remind(uid, False, monotonic())
        found.replaced["reminder_switch"] = 1
    emptied = await store.all("forget_profile", uid=uid, now_ms=service.time.now_ms())
    found.replaced["profiles"] = len(emptied)
    kept = await store.all("kept_months")
    for number, row in enumerate(kept):
        progress.at("forget", number, len(kept))
        await _month(store, uid, Month.of(row["month"]), row["sealed"], found)
    if not any(one.place == "outgoing" and one.why == "money_open" for one in found.kept):
        found.replaced["withdrawals"] = len(await store.all("forget_confirm", uid=uid))
    await _callbacks(store, found)
    today = service.asking.calendar.day_at(service.time.now_ms())
    reminded = [today - timedelta(days) for days in range(-1, REMINDERS_DAYS + 1)]
    found.replaced["reminders"] = len(await store.all("forget_reminders", uid=uid, days=reminded))
    if profile is None and not found.order_nos:
        return Answer("person_not_found")
    said = service.asking.calendar.day_at(profile["at_ms"]) if profile else None
    found.kept += await _in_redis(service, live, uid, said)
    return _answer(uid, found, await _acts(store, uid, found))


def _answer(uid: int, found: Found, acts: int) -> Answer:
    """The books and what operators wrote stay by law, and are no part that is left over."""
    always = [Kept("books", "accounting", len(found.order_nos))]
    if acts:
        always.append(Kept("acts", "accountability", acts))
    shown = msgspec.to_builtins([*found.kept, *always])
    data = {"uid": uid, "replaced": {place: count for place, count in found.replaced.items() if count}, "kept": shown}
    return Answer("forgotten_in_part" if found.kept else "forgotten", data)


async def _drain(service: Service, live: list[Recorded]) -> None:
    """Everything that was accepted until now is in the books. Raises :class:`Unavailable` where that takes too long."""
    until = monotonic() + DRAIN_SECONDS
    places: list[tuple[keys.Day, int]] = [(round_.day, shard) for round_ in live for shard in round_.shards]
    places += [(keys.USERS, shard) for shard in range(keys.USER_SHARDS)]
    for day, shard in places:
        if not await outbox.drain_until(service.store, service.redis, day, shard, until):
            raise Unavailable(f"the outbox of {day or 'users'} is not drained in {DRAIN_SECONDS:g} s")


async def _month(store: Store, uid: int, month: Month, sealed: bool, found: Found) -> None:
    """The user's orders, payments and withdrawals in a month's rounds."""
    async with store.transaction() as connection:
        orders = await rows(connection, "own_orders", days=month.days, uid=uid)
        sent = await rows(connection, "own_sent", days=month.days, uid=uid)
        found.order_nos += [row["order_no"] for row in orders]
        if sealed:  # the names go when it leaves
            counts = {"orders": sum(row["named"] for row in orders), "outgoing": len(sent)}
            until = f"clock archive {month}"
            found.kept += [Kept(place, "archiving", named, until=until) for place, named in counts.items() if named]
            return
        for row in sent:
            if not row["over"]:
                found.kept.append(Kept("outgoing", "money_open", 1, str(row["day"]), "the money has arrived"))
        found.replaced["outgoing"] += len(await rows(connection, "forget_sent", days=month.days, uid=uid))
        for row in orders:
            if row["named"] and not row["over"]:
                found.kept.append(Kept("orders", "round_open", 1, str(row["day"]), "the round has ended"))
            elif row["named"] and row["open"]:
                found.kept.append(Kept("orders", "money_open", row["open"], str(row["day"]), "the money has arrived"))
        over = [row["day"] for row in orders if row["over"]]
        free = [row["day"] for row in orders if row["over"] and not row["open"]]
        await _empty(connection, uid, free, over, found)


async def _empty(connection: Connection, uid: int, free: list[date], over: list[date], found: Found) -> None:
    if free:
        found.replaced["orders"] += len(await rows(connection, "forget_orders", uid=uid, days=free))
    if over:
        found.replaced["payments"] += len(await rows(connection, "forget_payments", uid=uid, days=over))


async def _callbacks(store: Store, found: Found) -> None:
    """Those of the user's own order numbers: nobody can say whose the others are."""
    own = {"order_nos": found.order_nos}
    found.replaced["quarantine"] = len(await store.all("forget_own_callbacks", **own))
    waiting = await store.one("waiting_callbacks", **own)
    if waiting and waiting["count"]:
        found.kept.append(Kept("quarantine", "decision_open", waiting["count"], until="clock quarantine release"))


async def _in_redis(service: Service, live: list[Recorded], uid: int, said: date | None) -> list[Kept]:
    """What goes with the keys of a round: the user's record, whose openId gets the money, and the events that were
    written when the user last ``said`` something of themselves."""
    kept = []
    for round_ in live:
        until = _gone(round_)
        record = keys.name(round_.day, keys.shard_of(uid, round_.rules.shards), "members")
        if until is not None and (round_.day == said or await service.redis.hexists(record, str(uid))):
            kept.append(Kept("redis", "round_in_memory", 1, str(round_.day), until))
    return kept


def _gone(round_: Recorded) -> str | None:
    """When a round's keys expire; None: they have."""
    if round_.finished_at is None:
        return "14 days after the round has ended"
    gone = round_.finished_at + timedelta(milliseconds=keys.KEEP_MS)
    return gone.date().isoformat() if gone > datetime.now(UTC) else None


async def _acts(store: Store, uid: int, found: Found) -> int:
    """Acts about the user: they have numbers, and the reasons that operators wrote."""
    found_acts = await store.one("count_acts", about=[str(uid), *found.order_nos])
    return int(found_acts["count"]) if found_acts else 0
