"""Events for hosts: what waits, was sent or given up, and sending it again."""

from datetime import date

import structlog

from clock.books.store import Store, rows
from clock.domain.outcomes import Answer

log = structlog.get_logger()


async def events(store: Store, state: str | None, day: date | None, page: int, limit: int) -> Answer:
    """A page of events, newest first: of one round or of all, in one state or in any."""
    found = await store.all("list_events", state=state, day=day, limit=limit, offset=(page - 1) * limit)
    return Answer("ok", {"items": [{**row, "day": row["day"].isoformat()} for row in found]})


async def again(store: Store, id_: str, reason: str, by_whom: str) -> Answer:
    """Send an event again under its id, after those of its round that wait. One that waits already is left so."""
    async with store.transaction() as connection:
        found = await rows(connection, "find_event", id=id_)
        if not found:
            return Answer("event_not_found")
        if await rows(connection, "send_again", id=id_, reason=f"{by_whom}: {reason}"):
            log.info("event_again", id=id_, by_whom=by_whom, reason=reason)
    return Answer("event_due", {"id": id_})
