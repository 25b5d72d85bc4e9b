"""Whether the sums that are kept of users are those of their transfers."""

from datetime import date
from typing import Any

from clock.books.partitions import days_of
from clock.books.store import Store

MEMBERS_AT_ONCE = 1_000


async def differing_accounts(store: Store, day: date, after: int) -> tuple[list[dict[str, Any]], int | None]:
    """Of the next :data:`MEMBERS_AT_ONCE` members of a round after a uid: those whose account counts another number of
    lines in the round's month than their transfers have (``uid``, ``kept``, ``posted``), and the last uid of the page,
    None at the end.

    A transfer that its account lacks, or has twice, lacks or has its lines twice: both are written by one statement. So
    the month alone says it, whatever months have been archived, and a page reads some 200 rows a member.
    """
    page: dict[str, Any] = {"day": day, "after": after, "limit": MEMBERS_AT_ONCE}
    found = await store.all("differing_accounts", days=days_of(day), **page)
    members = await store.all("members_after", **page)
    return found, members[-1]["uid"] if len(members) == MEMBERS_AT_ONCE else None
