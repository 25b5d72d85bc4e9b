"""What users were told by a Redis that had fallen behind, after the round was split: the books cannot take it, and the
house makes it good out of an account of its own (docs/decisions/0060)."""

from datetime import date
from typing import Any

from clock.books.entries import consequences
from clock.books.store import Connection, Store, rows, run_chained


async def promised(connection: Connection, day: date) -> list[dict[str, Any]]:
    """Who of a round was promised what, what the books have given, and what is due, as the query has it."""
    return await rows(connection, "promises_of", day=day)


async def say(connection: Connection, day: date, uid: int, fen: int, at_ms: int) -> bool:
    """Take a user's word for it that the round is worth so much to them; whether they have paid into it."""
    return bool(await rows(connection, "say_promise", day=day, uid=uid, fen=fen, at_ms=at_ms))


async def keep(store: Store, day: date, at_ms: int, said: tuple[int, int] | None = None) -> list[dict[str, Any]] | None:
    """Owe every user of a round what is due of what they were promised: posted, queued and noted in one transaction, so
    that it is done once; who was owed it. ``said``: uid and fen of somebody whose word is taken; ``None`` where that
    user has not paid into the round."""
    async with store.transaction() as connection:
        if said and not await say(connection, day, *said, at_ms):
            return None
        await rows(connection, "keep_promises", day=day)  # those of now; one that comes meanwhile is paid, and rings
        due = [row for row in await promised(connection, day) if row["due_fen"]]
        given = {"uids": [row["uid"] for row in due], "fens": [row["due_fen"] for row in due]}
        await run_chained(connection, "make_good", consequences("made_good", day), day=day, at_ms=at_ms, **given)
    return due
