"""Money that waits for the provider: payouts, refunds and withdrawals by state, all of a kind that failed, and orders
without an answer."""

from datetime import date
from typing import Any

from clock.books.months import has_left
from clock.books.partitions import months_played, only
from clock.books.store import Store, rows
from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.payments.again import Kind, send_all_again
from clock.payments.outgoing import STUCK_ATTEMPTS
from clock.service import Service

AT_ONCE = 500
"""Failed ones that are acknowledged in one transaction."""


async def outgoing(
    store: Store, state: str, page: int, limit: int, day: date | None = None, handled: bool = False
) -> Answer:
    """Refunds and payouts of one round or of all: the count of each state, and a page of those in ``state``; of failed
    ones those that nobody has seen to, or all (``handled``). Over all rounds what is done is not counted, and those of
    the last two months are listed."""
    if day and await has_left(store, day):
        return Answer("archived")
    counts = await (store.all("count_outgoing", day=day) if day else store.all("count_unsent"))
    part: dict[str, Any] = {"limit": limit, "offset": (page - 1) * limit}
    if state == "done":
        days = [day] if day else [one for month in (await months_played(store))[:2] for one in month]
        found = await store.all("list_done", days=only(days), **part)
    else:
        of: dict[str, Any] = {"day": day, "state": state, "stuck": STUCK_ATTEMPTS, "handled": handled}
        found = await store.all("list_unsent", **of, **part)
    of = {"days": only(row["day"] for row in found), "nos": [row["no"] for row in found]}
    items = [{**row, "day": row["day"].isoformat()} for row in await store.all("list_outgoing", **of)]
    return Answer("ok", {"counts": counts, "items": items})


async def all_again(service: Service, kind: Kind) -> Answer:
    """Send everything of a kind that has failed again; how many ended with which word."""
    return Answer("ok", {"kind": kind, **await send_all_again(service.store, service.channels, kind)})


async def all_acknowledged(service: Service, kind: Kind) -> Answer:
    """Everything of a kind that has failed until now was seen to; how many that were."""
    waiting = await service.store.one("sum_failed", kind=kind) or {}
    part: dict[str, Any] = {"kind": kind, "until": waiting["at"], "limit": AT_ONCE}
    done, after = 0, {"after_no": "", "after_day": date.min}
    while page := await service.store.page("failed_page", **part, **after):
        async with service.store.transaction() as connection:
            for row in page:
                done += len(await rows(connection, "handle_failed", handled="acknowledged", **row))
        progress.at("acknowledging", done, waiting["count"])
        after = {"after_no": page[-1]["no"], "after_day": page[-1]["day"]}
    return Answer("ok", {"kind": kind, "acknowledged": done})


async def unanswered(store: Store, day: date, page: int, limit: int) -> Answer:
    """Unpaid orders of a round whose payment state the channel has not confirmed; it is queried again."""
    if await store.one("get_round", day=day) is None:
        return Answer("round_not_found")
    items = await store.all("list_unanswered", day=day, limit=limit, offset=(page - 1) * limit)
    return Answer("ok", {"items": items})
