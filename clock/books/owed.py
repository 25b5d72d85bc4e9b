"""What the books owe: the queue of refunds and payouts, and the one number of each.

A number is made of what is owed, so that whoever queues it again, queues the same.
"""

import hashlib
from datetime import date
from typing import LiteralString

from psycopg import sql

from clock.books.store import Connection, unless_there


def refund_no(order_no: str, transaction_id: str) -> str:
    """The one number under which a payment is given back: as the SQL function of that name."""
    return "R" + hashlib.sha256(f"{order_no}:{transaction_id}".encode()).hexdigest()[:31]


def payout_prefix(day: date) -> str:
    """What the payout numbers of a round begin with; the uid follows."""
    return f"P{day:%Y%m%d}"


OWED: dict[str, LiteralString] = {
    "claims": "INSERT INTO outgoing (day, no, kind, uid, amount_fen) "
    "SELECT day, {prefix} || uid, 'payout', uid, stake_fen + packet_fen FROM {source} "
    "WHERE day = {day}",
    "refunds": "INSERT INTO outgoing (day, no, kind, uid, amount_fen, order_no, transaction_id) "
    "SELECT day, refund_no, 'refund', uid, amount_fen, order_no, transaction_id FROM {source} "
    "WHERE day = {day}",
}
"""Which rows of the books owe somebody money, and under which number."""


def owed(table: str, source: sql.Composable, day: date) -> list[sql.Composed]:
    """What queues that which the rows of ``source`` owe, none of it queued before."""
    if table not in OWED:
        return []
    return [sql.SQL(OWED[table]).format(prefix=sql.Literal(payout_prefix(day)), source=source, day=sql.Literal(day))]


async def owe(connection: Connection, table: str, day: date) -> None:
    """Queue what the rows of a table owe, each once, however often this runs."""
    for debt in owed(table, sql.Identifier(table), day):
        await connection.execute(unless_there(debt))
