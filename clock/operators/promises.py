"""After a failover: what Redis has forgotten, what users were told and did not get, and how that is made good."""

from datetime import date
from typing import Any

import msgspec

from clock.audit.hashes import drained
from clock.audit.lost import lost_steps
from clock.audit.memory import in_redis
from clock.audit.report import Report
from clock.books import promises
from clock.books.months import archive_of
from clock.domain.outcomes import Answer
from clock.domain.rounds import ENDED_STATES
from clock.rounds.recorded import Recorded, find
from clock.service import Service


class Said(msgspec.Struct, frozen=True):
    """What a user says to have been told, of which the books know nothing: ``fen`` in all, stake included."""

    uid: int
    fen: int


async def lost(service: Service, day: date) -> Answer:
    """``lost``: what users did by the books and Redis has forgotten. ``promises``: what they were told and the books
    could not take. ``books_differ``: there is something to do."""
    round_ = await find(service.store, day)
    if round_ is None:
        return Answer("round_not_found")
    if await archive_of(service.store, day):
        return Answer("archived")
    here = await in_redis(service, round_, Report(day=day.isoformat()))
    steps = await lost_steps(service, round_, here)
    async with service.store.transaction() as connection:
        promised = await promises.promised(connection, day)
    word = "books_differ" if steps or not all(one["kept"] for one in promised) else "books_agree"
    return Answer(word, {"day": day.isoformat(), "lost": steps, "promises": promised})


async def due_fen(service: Service, day: date, said: Said | None) -> tuple[Answer | None, int]:
    """What it takes to keep every promise of a round; an answer where none can be kept now."""
    round_ = await find(service.store, day)
    if round_ is None:
        return Answer("round_not_found"), 0
    if await archive_of(service.store, day):
        return Answer("archived"), 0
    if round_.state not in ENDED_STATES:  # what the books give is not known before
        return Answer("not_settled"), 0
    await _drained(service, round_)
    async with service.store.transaction() as connection:
        due = {row["uid"]: row["due_fen"] for row in await promises.promised(connection, day)}
    return None, sum(due.values()) + (said.fen if said else 0)


async def make_good(service: Service, day: date, said: Said | None) -> Answer:
    """Owe each user what is missing. Repeatable: what was made good is missing no more."""
    word_of = (said.uid, said.fen) if said else None
    kept = await promises.keep(service.store, day, service.time.now_ms(), word_of)
    if kept is None:
        return Answer("person_not_found")
    paid: list[dict[str, Any]] = [{"uid": row["uid"], "fen": row["due_fen"]} for row in kept]
    return Answer("made_good", {"day": day.isoformat(), "paid": paid, "fen": sum(one["fen"] for one in paid)})


async def _drained(service: Service, round_: Recorded) -> None:
    """Every promise that was made until now is in the books."""
    await drained(service, round_, await in_redis(service, round_, Report(day=round_.day.isoformat())))
