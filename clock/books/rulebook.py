"""The book of rules in Postgres. Rows are only added; what holds is read anew for each use."""

from datetime import date

import msgspec

from clock.books.store import RULES_LOCK, Connection, one, rows
from clock.domain.rounds import Rules
from clock.domain.rulebook import Book, Change


async def lock(connection: Connection) -> None:
    """Until this transaction ends nobody else plans, or takes rules from the book for a new round: a change is in the
    snapshot of a round or refused because of it."""
    await rows(connection, "lock_book", lock=RULES_LOCK)


async def read(connection: Connection, first: date) -> Book | None:
    """The book as far as days from ``first`` on are concerned; None: it is empty."""
    found = await rows(connection, "first_rules")
    if not found:
        return None
    changes = await rows(connection, "changes_from", first=first)
    return Book(msgspec.convert(found[0]["rules"], Rules), tuple(msgspec.convert(row, Change) for row in changes))


async def begun(connection: Connection, first: date, environment: Rules) -> Book:
    """The same; an empty book begins with the rules of the environment."""
    await rows(connection, "write_first_rules", rules=msgspec.json.encode(environment).decode())
    book = await read(connection, first)
    assert book is not None
    return book


async def add(connection: Connection, change: Change, by_whom: str, reason: str) -> int:
    """Plan a change; its id."""
    row = await one(
        connection,
        "plan_change",
        first_day=change.first_day,
        last_day=change.last_day,
        changes=msgspec.json.encode(change.changes).decode(),
        campaign=None if change.campaign is None else msgspec.json.encode(change.campaign).decode(),
        bonus_fen=change.bonus_fen,
        by_whom=by_whom,
        reason=reason,
    )
    return int(row["id"])
