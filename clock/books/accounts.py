"""Users' accounts: sums that a trigger keeps in the transaction of the transfers that they add up, and how days that
were posted before there were accounts are carried into them."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from psycopg import sql

from clock.books.partitions import day_partition_of, days_of, only
from clock.books.store import Connection, Store, one, rows

USERS_AT_ONCE = 20_000
"""Carried in one transaction, which keeps writers from the day for less than a second."""

MOST_UNTALLIED = 31
"""Of so many rounds that are not in the standings yet a morning is counted: it is a handful unless the worker is away
for a month."""


async def sums(store: Store, uid: int, today: date) -> dict[str, Any]:
    """A user's sums in fen, and days, as ``/api/me`` shows them."""
    days = await store.one("me_days", today=today, most=MOST_UNTALLIED) or {}
    untallied, uncarried = only(days["untallied"]), only(days["uncarried"])
    found = await store.one("me", uid=uid, untallied=untallied, uncarried=uncarried, latest=days["latest"])
    return dict(found or {})


async def balance_fen(connection: Connection, uid: int) -> int:
    """What is due to a user and not on its way; nobody changes it until the transaction ends."""
    await rows(connection, "lock_account", uid=uid)
    days = only(row["day"] for row in await rows(connection, "uncarried"))
    return int((await one(connection, "balance_of", uid=uid, uncarried=days))["fen"])


async def history_months(store: Store, uid: int) -> list[tuple[date, int]]:
    """The months in the database whose rounds have lines of a user's history, newest first: first day, and how many
    lines."""
    days = only(row["day"] for row in await store.all("uncarried"))
    found = await store.all("history_months", uid=uid, uncarried=days)
    return [(date((row["month"] - 1) // 12, (row["month"] - 1) % 12 + 1, 1), row["lines"]) for row in found]


async def archived_lines(store: Store, uid: int) -> int:
    """How many lines of a user's history are in months that have left for files."""
    found = await store.one("archived_lines", uid=uid)
    return int(found["lines"]) if found else 0


def pages(months: list[tuple[date, int]], offset: int, limit: int) -> Iterator[dict[str, Any]]:
    """Which lines of which months are the ``limit`` lines after ``offset``: parameters of the query ``history``."""
    for first, lines in months:
        if offset < lines and limit > 0:
            some = min(limit, lines - offset)
            yield {"days": days_of(first), "limit": some, "offset": offset}
            limit -= some
        offset = max(0, offset - lines)


async def carry_some(store: Store) -> bool:
    """Carry the next users of the newest day that is not in the accounts yet; whether there was one. Whoever is
    killed has carried whole pages. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    days = await store.all("uncarried")
    if not days:
        return False
    day = days[-1]["day"]
    async with store.transaction() as connection:
        # What others have posted and not committed would be in neither: the trigger leaves the day to us.
        partition = sql.Identifier(day_partition_of("transfers", day))
        await connection.execute(sql.SQL("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE").format(partition))
        for row in await rows(connection, "lock_uncarried", day=day):  # none, where another process was first
            page = {"day": day, "after": row["uid"]}
            last = (await one(connection, "carry_until", limit=USERS_AT_ONCE, **page))["uid"]
            if last is None:
                await rows(connection, "mark_carried", day=day)
            else:
                await rows(connection, "carry", last=last, **page)
                await rows(connection, "save_carried", day=day, last=last)
    return True
