"""Rows of payments: which make a member, which are owed back, which orders are unpaid, and that nobody pays two stakes
for one round.

Scripts see to that as long as Redis remembers. One that fell behind (a replica that lagged is promoted) may have
forgotten a member, and takes a second payment.
"""

from datetime import date
from typing import Any, LiteralString

from psycopg import sql

from clock.books import owed
from clock.books.store import Connection, one, rows

ACCEPTED_OUTCOMES = ("paid", "paid_late")

FIRST_QUESTION_MS = 120_000
"""The channel is asked about an order that has been unpaid for so long."""

OPEN_ORDERS: dict[str, LiteralString] = {
    "orders": "INSERT INTO unpaid (day, uid, order_no, next_at_ms)"
    " SELECT day, uid, order_no, at_ms + {first_ms} FROM {source} WHERE day = {day} ON CONFLICT DO NOTHING",
    "payments": "DELETE FROM unpaid AS u USING {source} AS paid"
    " WHERE u.day = {day} AND u.uid = paid.uid AND u.order_no = paid.order_no",
}
"""The rows of the books that open an order, or end one: any payment does, also one that is owed back."""

PaymentRow = tuple[Any, ...]
"""day, order_no, transaction_id, uid, amount_fen, paid_at_ms, at_ms, outcome, channel, raw"""


def open_orders(table: str, source: sql.Composable, day: date) -> list[sql.Composed]:
    """The statements that keep the table of unpaid orders, for the rows of ``source``."""
    if table not in OPEN_ORDERS:
        return []
    first_ms = sql.Literal(FIRST_QUESTION_MS)
    return [sql.SQL(OPEN_ORDERS[table]).format(source=source, day=sql.Literal(day), first_ms=first_ms)]


def refund_row(payment: PaymentRow) -> tuple[Any, ...]:
    """The row of ``refunds`` for a payment that is owed back."""
    day, order_no, transaction_id, uid, amount_fen, _, at_ms, outcome, _, _ = payment
    return day, order_no, transaction_id, owed.refund_no(order_no, transaction_id), uid, amount_fen, outcome, at_ms


async def one_stake_each(connection: Connection, day: date, new: dict[str, list[tuple[Any, ...]]]) -> None:
    """Turn accepted payments of users who are members by another payment into refunds: a second payment for
    a round is refunded in full. So is one that comes after the round was sealed. A payment that the books have given
    back makes nobody a member. ``new``: the rows to be written, by table; each of ``members`` belongs to an accepted
    payment."""
    uids = [row[1] for row in new["members"]]
    found = await rows(connection, "accepted_payments", day=day, uids=uids)
    stakes = {row["uid"]: (row["order_no"], row["transaction_id"]) for row in found}
    numbers = [[payment[place] for payment in new["payments"]] for place in (1, 2)]
    found = await rows(connection, "refused_payments", day=day, order_nos=numbers[0], transaction_ids=numbers[1])
    refused = {(row["order_no"], row["transaction_id"]) for row in found}
    sealed = (await one(connection, "is_sealed", day=day))["sealed"]
    members = iter(new["members"])
    payments, new["payments"], new["members"] = new["payments"], [], []
    for payment in payments:
        if payment[7] in ACCEPTED_OUTCOMES:
            member = next(members)
            if payment[1:3] in refused:
                continue
            stake = stakes.get(payment[3])
            if stake == payment[1:3] or (stake is None and not sealed):
                stakes[payment[3]] = payment[1:3]
                new["members"].append(member)
            else:
                payment = (*payment[:7], "refund_second" if stake else "refund_closed", *payment[8:])
                new["refunds"].append(refund_row(payment))
        new["payments"].append(payment)
