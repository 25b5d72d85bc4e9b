"""Refunds of a round's stakes, page by page: each writes its refunds, posts and queues them in one transaction.

A page that is done adds nothing when it is done again, so whoever goes on after a crash begins at the first one.
"""

from datetime import date
from typing import Literal

from clock.books.entries import consequences
from clock.books.store import Store, by_key, rows, run_chained
from clock.domain import progress
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import State

PAGE = 5_000
"""Members, or payments, in one transaction: the drain may wait for the accounts of so many users."""

Reason = Literal["late_member", "nobody", "void"]


async def refund(store: Store, day: date, state: State, reason: Reason, at_ms: int, *, everybody: bool) -> None:
    """Give every stake back, or those of late members who did not check in. Raises :class:`Unavailable` when the round
    is not in ``state`` any more."""
    follow = consequences("refunds", day)
    after: int | str = "" if everybody else 0
    done = 0
    while last := await _last(store, day, after, everybody):
        async with store.transaction() as connection:
            if not await rows(connection, "keep_state", day=day, state=state):
                raise Unavailable(f"round {day} was taken on by another process")
            await by_key(connection)
            page = {"day": day, "after": after, "last": last, "reason": reason, "at_ms": at_ms}
            done += await run_chained(connection, "refund_paid" if everybody else "refund_late", follow, **page)
        progress.at("refunds", done)
        after = last


async def _last(store: Store, day: date, after: int | str, everybody: bool) -> int | str | None:
    """Where the page after ``after`` ends: an order number, or a uid."""
    page = await store.page("payments_last" if everybody else "members_last", day=day, after=after, limit=PAGE)
    last: int | str | None = page[0]["last"]
    return last
