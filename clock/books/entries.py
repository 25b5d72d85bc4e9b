"""Maps the events of the outbox to rows in Postgres.

Every row has a natural key, so that reading an entry twice writes it once.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString, assert_never

from psycopg import sql

from clock.books import ledger, owed, telling
from clock.books.payments import ACCEPTED_OUTCOMES, FIRST_QUESTION_MS, one_stake_each, open_orders, refund_row
from clock.books.store import Connection, chained, rows, run_many, unless_there
from clock.channels import PULLING
from clock.domain.rounds import STEPS, day_of_number
from clock.game import events
from clock.game.keys import Day

COLUMNS: dict[str, tuple[LiteralString, ...]] = {
    "orders": ("day", "uid", "order_no", "order_id", "amount_fen", "open_id", "at_ms"),
    "payments": (
        "day",
        "order_no",
        "transaction_id",
        "uid",
        "amount_fen",
        "paid_at_ms",
        "at_ms",
        "outcome",
        "channel",
        "raw",
    ),
    "members": ("day", "uid", "stake_fen", "late", "at_ms"),
    "check_ins": ("day", "uid", "at_ms", "rank"),
    "claims": ("day", "uid", "shard", "index", "packet_fen", "stake_fen", "by", "at_ms"),
    "refunds": ("day", "order_no", "transaction_id", "refund_no", "uid", "amount_fen", "reason", "at_ms"),
    "quarantine": ("digest", "day", "at_ms", "channel", "reason", "order_no", "raw"),
    "closings": ("day", "shard", "at_ms", "why", "members", "winners", "late", "pool_fen"),
    "extensions": (
        "day",
        "shard",
        "at_ms",
        "cause",
        "since_ms",
        "by_ms",
        "closes_ms",
        "asleep",
        "reason",
        "by_whom",
    ),
}
"""The columns written to each table, in the order of writing."""

TYPES: dict[str, LiteralString] = {
    **dict.fromkeys(("uid", "order_id", "at_ms", "paid_at_ms", "members", "winners"), "bigint"),
    **dict.fromkeys(("since_ms", "by_ms", "closes_ms", "asleep"), "bigint"),
    **dict.fromkeys(("amount_fen", "stake_fen", "packet_fen", "pool_fen"), "bigint"),
    **dict.fromkeys(("rank", "shard", "index"), "int"),
    "day": "date",
    "digest": "bytea",
    "late": "boolean",
    "closings.late": "bigint",
    "quarantine.raw": "bytea",
}
"""The type of each column that is not text; one whose type depends on its table is named with it."""

STEP_OF = {step.table: step.name for step in STEPS}
"""Tables whose rows are counted by the minute for operators."""

IS_SEALED: LiteralString = (
    "EXISTS (SELECT FROM rounds AS r WHERE r.day = {day}"
    " AND (r.state IN ('sealed', 'split', 'published', 'settled', 'finished') OR r.state IN ('voiding', 'void')"
    " AND EXISTS (SELECT FROM statements AS s WHERE s.day = {day} AND s.kind = 'closed')))"
)
NEEDS: dict[str, LiteralString] = {
    "payments": "source.outcome NOT IN ('paid', 'paid_late') OR NOT {is_sealed}",
    "check_ins": "NOT {is_sealed}",
    "claims": "NOT {is_sealed} OR (SELECT true FROM check_ins AS c WHERE c.day = {day} AND c.uid = source.uid"
    " AND c.rank = source.index + 1 LIMIT 1)",
    "refunds": "EXISTS (SELECT FROM payments AS p WHERE p.day = {day} AND (p.order_no, p.transaction_id, p.outcome)"
    " = (source.order_no, source.transaction_id, source.reason))",
    "extensions": "NOT {is_sealed}",
}
"""Condition for writing a row. A sealed round changes no more, also when it is called off, whatever a Redis says that
has forgotten it: no members, no winners, and each packet is its winner's (docs/decisions/0060). No refund of a payment
that the books have accepted (docs/decisions/0025)."""

STAKE_BACK: LiteralString = (
    " LEFT JOIN LATERAL (SELECT p.order_no, p.transaction_id FROM orders AS o"
    " JOIN payments AS p ON p.day = {day} AND p.order_no = o.order_no"
    " WHERE (SELECT r.pulled FROM rounds AS r WHERE r.day = {day}) AND o.day = {day} AND o.uid = source.uid"
    " AND p.channel = ANY({pulling}) AND p.outcome IN ('paid', 'paid_late') LIMIT 1) AS stake ON true"
)
"""The payment that is refunded for a winner's stake, where its channel pulls. In other rounds nothing is looked up."""

PULLED: LiteralString = (
    "UPDATE rounds SET pulled = true WHERE day = {day} AND NOT pulled"
    " AND EXISTS (SELECT FROM {source} AS s WHERE s.channel = ANY({pulling}) AND s.outcome IN ('paid', 'paid_late'))"
)

PROFILE: tuple[LiteralString, ...] = ("uid", "open_id", "mobile", "nickname", "at_ms")

Rows = dict[str, list[tuple[Any, ...]]]


def rows_of(day: str | None, shard: int, event: events.Event, rows: Rows) -> None:
    """Add the rows of an event to ``rows`` (table to tuples in the order of :data:`COLUMNS`). The day is text,
    as it is sent."""
    at_ms = event.at_ms
    match event:
        case events.CheckedIn(first_rank=first, uids=uids):
            rows["check_ins"] += [(day, uid, at_ms, first + i) for i, uid in enumerate(uids)]
        case events.Claimed(by=by, stake_fen=stake, indexes=indexes, uids=uids, packets_fen=packets):
            if isinstance(indexes, int):
                indexes = list(range(indexes, indexes + len(uids)))
            rows["claims"] += [
                (day, uid, shard, index, packet, stake, by, at_ms)
                for index, uid, packet in zip(indexes, uids, packets, strict=True)
            ]
        case events.Ordered(rows=ordered):
            for uid, order_no, order_id, amount_fen, open_id, mobile, nickname in ordered:
                rows["orders"].append((day, uid, order_no, order_id, amount_fen, open_id, at_ms))
                rows["profiles"].append((uid, open_id, mobile, nickname, at_ms))
        case events.Payment(rows=payments):
            for payment in payments:
                _payment_rows(day, at_ms, payment, rows)
        case events.Profiled(rows=profiles):
            rows["profiles"] += [(*profile, at_ms) for profile in profiles]
        case events.Reminded(rows=switched):
            rows["switches"] += [(uid, bool(on), at_ms) for uid, on in switched]
        case events.Acknowledged(rows=seen):
            rows["acks"] += [(uid, day_of_number(number)) for uid, number in seen]
        case events.Quarantined(rows=kept):
            for channel, reason, order_no, raw_base64 in kept:
                raw = base64.b64decode(raw_base64)
                digest = hashlib.sha256(reason.encode() + b"\n" + raw).digest()
                rows["quarantine"].append((digest, day, at_ms, channel, reason, order_no, raw))
        case events.Closed(why=why, members=members, winners=winners, late=late, pool_fen=pool_fen):
            rows["closings"].append((day, shard, at_ms, why, members, winners, late, pool_fen))
        case events.Extended(cause=cause, since_ms=since_ms, by_ms=by_ms, closes_ms=closes_ms, asleep=asleep):
            told = (cause, since_ms, by_ms, closes_ms, asleep, event.reason, event.by_whom)
            rows["extensions"].append((day, shard, at_ms, *told))
        case _:
            assert_never(event)


def _payment_rows(
    day: str | None, at_ms: int, payment: tuple[int, str, str, int, int, events.PaymentOutcome, str, str], rows: Rows
) -> None:
    uid, order_no, transaction_id, amount_fen, paid_at_ms, outcome, channel, raw = payment
    payment_row = (day, order_no, transaction_id, uid, amount_fen, paid_at_ms, at_ms, outcome, channel, raw)
    rows["payments"].append(payment_row)
    if outcome in ACCEPTED_OUTCOMES:
        rows["members"].append((day, uid, amount_fen, outcome == "paid_late", at_ms))
    else:
        rows["refunds"].append(refund_row(payment_row))


async def write(connection: Connection, day: Day, shard: int, entries: list[events.Event], told: bool = False) -> None:
    """Write the rows of the entries, in the caller's transaction. ``day`` is None for users; ``told``: hosts are told
    of what is new."""
    new: Rows = defaultdict(list)
    for event in entries:
        rows_of(day.isoformat() if day else None, shard, event, new)
    if day is not None:
        if told and new["claims"]:
            await telling.tell_claiming(connection, day, new["claims"][0][-1])
        try:
            async with connection.transaction():
                await _insert_all(connection, day, shard, new, told)
        except _Known:
            await one_stake_each(connection, day, new)
            await _insert_all(connection, day, shard, new, told, known=True)
        if new["extensions"]:
            await rows(connection, "note_extension", day=day)
    if new["profiles"]:
        given = zip(PROFILE, arrays("profiles", PROFILE, _latest(new["profiles"])), strict=True)
        await rows(connection, "upsert_profiles", **dict(given))
    switches = [{"uid": uid, "remind": on, "at_ms": at_ms} for uid, on, at_ms in new["switches"]]
    await run_many(connection, "upsert_switch", switches)
    await run_many(connection, "upsert_ack", [{"uid": uid, "day": seen} for uid, seen in new["acks"]])


def _latest(profiles: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The last values of each user in one row, because a statement may update a row only once. Skips empty texts."""
    latest: dict[int, tuple[Any, ...]] = {}
    for uid, *texts, at_ms in profiles:
        known = latest.get(uid, (uid, "", "", "", 0))
        if at_ms >= known[-1]:
            latest[uid] = (uid, *(new or old for new, old in zip(texts, known[1:4], strict=True)), at_ms)
    return list(latest.values())


def arrays(table: str, columns: Sequence[str], rows: list[tuple[Any, ...]]) -> list[str]:
    """The rows as Postgres' text of one array a column. Written here, because psycopg takes twice as long for a list
    (docs/decisions/0037)."""
    values = zip(*rows, strict=True)
    return [_array(type_of(table, column), some) for column, some in zip(columns, values, strict=True)]


def _array(type_: str, values: Sequence[Any]) -> str:
    if type_ == "bytea":
        values = [f'"\\\\x{value.hex()}"' for value in values]
    elif type_ == "text":
        values = [value.replace("\\", r"\\").replace('"', r"\"") for value in values]
        return '{"' + '","'.join(values) + '"}'
    return "{" + ",".join(map(str, values)) + "}"


def type_of(table: str, column: str) -> LiteralString:
    return TYPES.get(f"{table}.{column}") or TYPES.get(column, "text")


class _Known(Exception):
    """A payment or a member is in the books already: by an entry that was read before, or by another payment."""


async def _insert_all(
    connection: Connection, day: date, shard: int, new: Rows, told: bool, *, known: bool = False
) -> None:
    """Raises :class:`_Known`, unless payments and members may be ``known``: looking for them beforehand would cost a
    tenth of the drain. Orders and ranks that a server gave anew, because it had forgotten the first, take their place.
    What users were told and a split round has no room for is a promise.
    """
    for table in COLUMNS:
        if new[table]:
            values = arrays(table, COLUMNS[table], new[table])
            added = await (await connection.execute(insertion(table, day, shard, told), values)).fetchone()
            if added and added["added"] < len(new[table]):
                if table in ("payments", "members") and not known:
                    raise _Known
                given = {**dict(zip(COLUMNS[table], values, strict=True)), "day": day}
                if table == "orders":
                    await rows(connection, "renew_orders", **given, first_ms=FIRST_QUESTION_MS)
                elif table == "check_ins":
                    await rows(connection, "renew_ranks", **given)
                    await rows(connection, "promise_check_ins", **given)
                elif table == "claims":
                    await _give_own_packets(connection, day, shard, new[table], told)
                    await rows(connection, "promise_claims", **given)


async def _give_own_packets(
    connection: Connection, day: date, shard: int, claims: list[tuple[Any, ...]], told: bool
) -> None:
    """Winners of a split round who claimed another packet than that of their rank have claimed their own."""
    uids = [claim[1] for claim in claims]
    own = {row["uid"]: row for row in await rows(connection, "own_packets", day=day, shard=shard, uids=uids)}
    right = {
        uid: (*claim[:3], own[uid]["index"], own[uid]["fen"], *claim[5:])
        for claim in claims
        if (uid := claim[1]) in own
    }
    if right:
        values = arrays("claims", COLUMNS["claims"], list(right.values()))
        await connection.execute(insertion("claims", day, shard, told), values)


def insertion(table: str, day: date, shard: int, told: bool) -> sql.Composed:
    """Insert new rows, what follows from them (:func:`consequences`) and what hosts are ``told`` of them; how many
    rows. Takes :func:`arrays`: a temporary table would belong to a session.

    One statement: the transfers follow from the rows that the insert returns, so each is written once, without a
    look-up for conflicts (docs/decisions/0025). tests/unit/statements.sql shows the result for each table.
    """
    added = sql.Identifier("added")
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS[table]))
    given = sql.SQL(", ").join(sql.SQL(f"%s::{type_of(table, column)}[]") for column in COLUMNS[table])
    is_sealed = sql.SQL(IS_SEALED).format(day=sql.Literal(day))
    target: list[sql.Composable] = [columns]
    values: list[sql.Composable] = [sql.SQL(", ").join(sql.Identifier("source", one) for one in COLUMNS[table])]
    beside: list[sql.Composable] = []
    if table == "claims":
        target.append(sql.SQL("stake_order_no, stake_transaction_id"))
        values.append(sql.SQL("stake.order_no, stake.transaction_id"))
        beside.append(sql.SQL(STAKE_BACK).format(day=sql.Literal(day), pulling=sql.Literal(list(PULLING))))
    insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS source ({}){} WHERE {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(target),
        sql.SQL(", ").join(values),
        given,
        columns,
        sql.Composed(beside),
        sql.SQL(NEEDS.get(table, "true")).format(day=sql.Literal(day), is_sealed=is_sealed),
    )
    follow = consequences(table, day)
    if told:
        follow += telling.told(table, added, day)
    if table in STEP_OF:
        follow.append(_counted(added, day, shard, STEP_OF[table]))
    return chained(unless_there(insert), follow)


def consequences(table: str, day: date) -> list[sql.Composed]:
    """What follows from the rows of a table that a statement has ``added``: transfers, what is queued to be sent, which
    orders are unpaid."""
    added = sql.Identifier("added")
    follow = ledger.postings(table, added, day) + owed.owed(table, added, day) + open_orders(table, added, day)
    if table == "payments":
        pulling = sql.Literal(list(PULLING))
        follow.append(sql.SQL(PULLED).format(day=sql.Literal(day), source=added, pulling=pulling))
    return follow


def _counted(added: sql.Composable, day: date, shard: int, step: str) -> sql.Composed:
    """How many rows of each minute were added, for operators."""
    return sql.SQL(
        "INSERT INTO steps (day, minute_ms, step, shard, count)"
        " SELECT {}, at_ms - at_ms %% 60000, {}, {}, count(*) FROM {} GROUP BY 2"
        " ON CONFLICT (day, minute_ms, step, shard) DO UPDATE SET count = steps.count + excluded.count"
    ).format(sql.Literal(day), sql.Literal(step), sql.Literal(shard), added)
