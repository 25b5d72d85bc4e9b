"""Events for hosts, written in the transaction of what they tell: one fact is one event, or a part of one.

What the drain inserts is told by the statement that inserts it, so a row that is read twice is told once. Nothing is
written where nobody is told (``store.tells``).
"""

import uuid
from datetime import date
from typing import Any, LiteralString

import msgspec
from psycopg import sql

from clock.books.store import Connection, Store, rows, unless_there
from clock.domain.webhooks import (
    MOST_ITEMS,
    FailedPayout,
    PacketCredited,
    PaymentAccepted,
    PayoutFailed,
    Refund,
    RefundDone,
    RoundExtended,
    RoundSettled,
    Told,
)

ITEMS: dict[str, tuple[str, LiteralString, LiteralString]] = {
    "payments": (
        PaymentAccepted.TYPE,
        "outcome IN ('paid', 'paid_late')",
        "'uid', uid, 'order_no', order_no, 'amount_fen', amount_fen, 'late', outcome = 'paid_late',"
        " 'paid_at_ms', paid_at_ms",
    ),
    "claims": (
        PacketCredited.TYPE,
        "true",
        "'uid', uid, 'amount_fen', stake_fen + packet_fen, 'stake_fen', stake_fen, 'packet_fen', packet_fen, 'by', by",
    ),
}
"""Tables whose new rows are told together: type of the event, which rows, and the item that a row becomes."""

BATCHED: LiteralString = (
    "INSERT INTO events (id, day, type, at_ms, data)"
    " SELECT 'event_' || replace(gen_random_uuid()::text, '-', ''), {day}, {type}, max(at_ms),"
    " jsonb_build_object('round', {round}, 'items', jsonb_agg(jsonb_build_object({item})))"
    " FROM (SELECT *, (row_number() OVER () - 1) / {most} AS batch FROM {source} WHERE {when}) AS one GROUP BY batch"
)

EXTENDED: LiteralString = (
    "INSERT INTO events (id, day, type, at_ms, data)"
    " SELECT {prefix} || '_' || shard || '_' || closes_ms, {day}, {type}, at_ms, jsonb_build_object('round', {round},"
    " 'shard', shard, 'cause', cause, 'since_ms', since_ms, 'by_ms', by_ms, 'closes_ms', closes_ms, 'asleep', asleep,"
    " 'reason', reason) FROM {source}"
)


def told(table: str, source: sql.Composable, day: date) -> list[sql.Composed]:
    """The statements that tell of the rows of ``source``, which are new in ``table``."""
    parts = {"day": sql.Literal(day), "round": sql.Literal(day.isoformat()), "source": source}
    if table == "extensions":
        prefix, kind = sql.Literal(_id(RoundExtended.TYPE, day)), sql.Literal(RoundExtended.TYPE)
        return [unless_there(sql.SQL(EXTENDED).format(prefix=prefix, type=kind, **parts))]
    if table not in ITEMS:
        return []
    name, when, item = ITEMS[table]
    kind, most = sql.Literal(name), sql.Literal(MOST_ITEMS)
    return [sql.SQL(BATCHED).format(type=kind, most=most, when=sql.SQL(when), item=sql.SQL(item), **parts)]


async def tell(store: Store, connection: Connection, day: date, fact: Told, at_ms: int) -> None:
    """Write what happens once a round. ``at_ms``: on the game's clock."""
    if store.tells:
        await _write(connection, _id(fact.TYPE, day), day, fact, at_ms)


async def tell_settled(connection: Connection, row: dict[str, Any], at_ms: int) -> None:
    """Write that the round of this row of ``rounds`` is settled, unless that is written."""
    figures = {name: row[name] for name in RoundSettled.__struct_fields__ if name != "round"}
    fact = RoundSettled(round=row["day"].isoformat(), **figures)
    await _write(connection, _id(fact.TYPE, row["day"]), row["day"], fact, at_ms)


async def tell_claiming(connection: Connection, day: date, at_ms: int) -> None:
    """Claims can be in the books before they have the round as settled: claiming opens in Redis first. Hosts are told
    in the order in which it happened."""
    for row in await rows(connection, "get_round", day=day):
        if row["state"] == "published":
            await tell_settled(connection, row, at_ms)


async def tell_ended(store: Store, connection: Connection, ended: list[tuple[dict[str, Any], str, str]]) -> None:
    """Write which payouts have failed and which refunds are done: rows of ``outgoing`` with state and reason."""
    if not store.tells:
        return
    for day in sorted({row["day"] for row, _, _ in ended}):
        own = [one for one in ended if one[0]["day"] == day]
        failed = [
            FailedPayout(row["uid"], row["sent_as"], row["amount_fen"], reason)
            for row, state, reason in own
            if row["kind"] in ("payout", "withdrawal") and state == "failed"
        ]
        done = [
            Refund(row["uid"], row["sent_as"], row["order_no"], row["amount_fen"])
            for row, state, _ in own
            if (row["kind"], state) == ("refund", "done")
        ]
        of_round = day.isoformat()
        facts = (PayoutFailed(round=of_round, items=failed), RefundDone(round=of_round, items=done))
        for fact in facts:
            if fact.items:  # at most as many as are sent at once
                await _write(connection, f"event_{uuid.uuid4().hex}", day, fact)


def _id(type_: str, day: date) -> str:
    """The id of what happens once a round: told anew, after Postgres has lost it, receivers know it again."""
    return f"event_{day:%Y%m%d}_{type_.partition('.')[2]}"


async def _write(connection: Connection, id_: str, day: date, fact: Told, at_ms: int | None = None) -> None:
    data = msgspec.json.encode(fact).decode()
    await rows(connection, "tell", id=id_, day=day, type=fact.TYPE, at_ms=at_ms, data=data)
