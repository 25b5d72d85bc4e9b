"""One round for operators: its figures, its steps by the minute, and the commands on it."""

from collections.abc import Awaitable
from datetime import date
from typing import Any

import msgspec
import structlog

from clock.audit.mend import mend
from clock.audit.rebuild import rebuild_lost
from clock.audit.reconcile import reconcile
from clock.books import outbox
from clock.books.months import has_left
from clock.books.store import Store, unhurried
from clock.domain.outcomes import Answer
from clock.domain.rounds import ENDED_STATES, PUBLISHED_STATES, SETTLED_STATES, SPLIT_STATES, STEPS, VOID_STATES, phase
from clock.game.totals import read
from clock.operators.work import table
from clock.rounds.ending import BooksDiffer
from clock.rounds.recorded import find, recorded
from clock.rounds.settling import Settling
from clock.rounds.voiding import Voiding
from clock.service import Service, live_rounds

log = structlog.get_logger()

WORK_SHOWN = 5
"""Pieces of long work on a round, of those that have ended and of those that have not."""

STEP_NAMES = [step.name for step in STEPS]


async def figures(service: Service, day: date) -> Answer:
    """Every figure of a round; sums in fen. The seed is shown once the round is settled or void."""
    row = await service.store.one("get_round", day=day)
    if row is None:
        return Answer("round_not_found")
    archived = await has_left(service.store, day)
    refunds = (None if archived else await service.store.one("sum_refunds", day=day)) or {}
    compared = await service.store.one("last_reconciliation", day=day)
    round_ = recorded(row)
    at, rules = round_.at, round_.rules
    live = await read(service.redis, day, rules.shards)
    alive = row["state"] == "open"
    return Answer(
        "ok",
        {
            "day": day.isoformat(),
            "state": phase(row["state"], at, service.time.now_ms()),
            "step": row["state"],
            "at": msgspec.to_builtins(at),
            "rules": msgspec.to_builtins(rules),
            "members": live.members if alive else row["members"] or live.members,
            "winners": live.winners if alive else row["winners"] or live.winners,
            "late": live.late if alive else row["late"] or live.late,
            "pool": live.pool_fen if alive else row["pool_fen"] or live.pool_fen,
            "forfeited": row["forfeited_fen"],
            "fee": row["fee_fen"],
            "carried_in": row["carried_in_fen"],
            "carried_out": row["carried_out_fen"],
            "bonus": row["bonus_fen"],
            "bonus_back": row["bonus_back_fen"],
            "pot": row["pot_fen"],
            "packets": row["winners"] if row["state"] in SPLIT_STATES else 0,
            "packets_published": live.published,
            "packets_published_fen": live.published_fen,
            "packets_claimed": live.claimed,
            "packets_claimed_fen": live.claimed_fen,
            "refunds": refunds.get("refunds"),
            "refunds_fen": refunds.get("fen"),
            "archived": archived,
            "unanswered_orders": row["unanswered_orders"],
            "outbox_depth": await outbox.depth(service.redis, day, rules.shards),
            "seed_hash": row["seed_hash"].hex(),
            "seed": row["seed"].hex() if row["state"] in ENDED_STATES else None,
            "draw_ms": round_.draw_ms,
            "draw": round_.draw,
            "drawn": round_.packet_seed.hex() if row["state"] in SETTLED_STATES else None,
            "can_be_void": round_.can_be_void(service.time.now_ms()),
            "void_reason": row["void_reason"],
            "extensions": await service.store.all("list_extensions", day=day),
            "reconciled": compared,
            "work": await table.listed(service.store, day.isoformat(), WORK_SHOWN),
        },
    )


async def steps(store: Store, day: date) -> Answer:
    """A round's funnel over time: for each minute with an event, its instant and how many users ordered, paid, checked
    in and claimed in it. It lags by the outbox."""
    if await store.one("get_round", day=day) is None:
        return Answer("round_not_found")
    found = await store.all("steps", day=day)
    minutes: dict[int, list[int]] = {}
    for row in found:
        minutes.setdefault(row["minute_ms"], [0] * len(STEP_NAMES))[STEP_NAMES.index(row["step"])] = row["count"]
    sums = [sum(column) for column in zip(*minutes.values(), strict=True)] or [0] * len(STEP_NAMES)
    return Answer(
        "ok",
        {
            "day": day.isoformat(),
            "steps": STEP_NAMES,
            "minutes": [[minute_ms, *counts] for minute_ms, counts in sorted(minutes.items())],
            "totals": dict(zip(STEP_NAMES, sums, strict=True)),
        },
    )


async def settled_or_refused(service: Service, day: date) -> Answer | None:
    """What settling answers at once, if anything: there is nothing to do, or it may not be done."""
    round_ = await find(service.store, day)
    word = ""
    if round_ is None:
        word = "round_not_found"
    elif round_.state in VOID_STATES:
        word = "round_void"
    elif round_.state in ENDED_STATES:
        word = "settled"
    elif not await service.settling.is_due(round_):
        word = "not_due"
    return Answer(word, {"day": day.isoformat()}) if word else None


async def drawn_or_settled(service: Service, day: date) -> Answer | None:
    """What calling a round off answers at once, where its draw is known. Raises ``Unavailable`` where clocks differ."""
    round_ = await find(service.store, day)
    if round_ is None or round_.state in VOID_STATES:
        return None
    now_ms = 0 if round_.draw_ms is None else await service.clocks.agreed_now_ms()
    if round_.can_be_void(now_ms):
        return None
    return Answer("round_settled" if round_.state in PUBLISHED_STATES else "round_drawn", {"day": day.isoformat()})


async def settle(settling: Settling, day: date) -> Answer:
    """Settle a due round now. Waits for a settlement that is already running."""
    return await _ended(day, settling.settle(day))


async def void(voiding: Voiding, day: date, reason: str) -> Answer:
    """Call a round off: every stake is owed back."""
    return await _ended(day, voiding.void(day, reason))


async def extend(service: Service, day: date, minutes: int, reason: str, by_whom: str) -> Answer:
    """Make the check-in of a round that is still open longer."""
    word = await service.extending.extend(day, minutes, reason, by_whom)
    await service.touching.touch()  # this process knows it at once, others within a second
    return Answer(word, {"day": day.isoformat()})


async def _ended(day: date, ending: Awaitable[str]) -> Answer:
    shown: dict[str, Any] = {"day": day.isoformat()}
    try:
        return Answer(await ending, shown)
    except BooksDiffer as error:
        log.error("books_differ", day=str(day), error=str(error))
        return Answer("books_differ", {**shown, "difference": str(error)})


async def reconciled(store: Store, day: date) -> Answer:
    """The last comparison of a round's books, if there was one."""
    if await store.one("get_round", day=day) is None:
        return Answer("round_not_found")
    last = await store.one("last_reconciliation", day=day)
    if last is None:
        return Answer("ok", {"reports": []})
    word = "books_differ" if last["differences"] else "books_agree"
    return Answer(word, {"reports": [{"day": day.isoformat(), **last}]})


async def reconcile_rounds(service: Service, day: date | None) -> Answer:
    """Compare one round, or every live one without ``day``; ``books_differ`` lists the differences."""
    days = [day] if day else [round_.day for round_ in await live_rounds(service)]
    with unhurried():
        reports = [report for one in days if (report := await reconcile(service, one)) is not None]
    if not reports:
        return Answer("round_not_found")
    word = "books_differ" if any(report.differences for report in reports) else "books_agree"
    return Answer(word, {"reports": msgspec.to_builtins(reports)})


async def rebuild(service: Service, day: date | None) -> Answer:
    """Recreate the rounds that Redis has lost; with ``day``, make Redis and the books agree on one round."""
    try:
        if day is None:
            return Answer("ok", {"rebuilt": await rebuild_lost(service)})
        mended = await mend(service, day)
        return Answer("ok", msgspec.to_builtins(mended)) if mended else Answer("round_not_found")
    except BooksDiffer as error:
        return Answer("books_differ", {"difference": str(error)})
