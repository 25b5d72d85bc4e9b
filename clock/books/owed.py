"""Refunds and payouts that the books owe: the queue, and the fixed number of each.

A number is derived from what is owed, so queueing is idempotent.
"""

import hashlib
from datetime import date
from typing import LiteralString

from psycopg import sql


def refund_no(order_no: str, transaction_id: str) -> str:
    """The fixed number of a payment's refund; the SQL function of that name computes the same."""
    return "R" + hashlib.sha256(f"{order_no}:{transaction_id}".encode()).hexdigest()[:31]


def payout_prefix(day: date) -> str:
    """The prefix of a round's payout numbers; the uid follows."""
    return f"P{day:%Y%m%d}"


OWED: dict[str, tuple[LiteralString, ...]] = {
    "claims": (
        "INSERT INTO outgoing (day, no, kind, uid, amount_fen) "
        "SELECT day, {prefix} || uid, 'payout', uid, stake_fen + packet_fen FROM {source} "
        "WHERE day = {day} AND stake_order_no IS NULL",
        "INSERT INTO outgoing (day, no, kind, uid, amount_fen, order_no, transaction_id) "
        "SELECT day, refund_no(stake_order_no, stake_transaction_id), 'refund', uid, stake_fen, stake_order_no, "
        "stake_transaction_id FROM {source} WHERE day = {day} AND stake_order_no IS NOT NULL",
    ),
    "made_good": (
        "INSERT INTO outgoing (day, no, kind, uid, amount_fen) "
        "SELECT day, {prefix} || uid || 'G' || number, 'payout', uid, amount_fen FROM {source} "
        "WHERE day = {day}",
    ),
    "refunds": (
        "INSERT INTO outgoing (day, no, kind, uid, amount_fen, order_no, transaction_id) "
        "SELECT day, refund_no, 'refund', uid, amount_fen, order_no, transaction_id FROM {source} "
        "WHERE day = {day}",
    ),
}
"""The rows of the books that owe money to a user, and the number of each. A claim owes one payout, or the stake as a
refund of the payment that made the member; then the packet stays in the balance."""


def owed(table: str, source: sql.Composable, day: date) -> list[sql.Composed]:
    """The statements that queue what the rows of ``source`` owe; none of it is queued yet."""
    if table not in OWED:
        return []
    prefix = sql.Literal(payout_prefix(day))
    return [sql.SQL(one).format(prefix=prefix, source=source, day=sql.Literal(day)) for one in OWED[table]]
