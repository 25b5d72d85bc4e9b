"""What a member's day takes on the disk of Postgres, table by table, indexes included; and in an archive.

Rows are written by the statements of the drain (accounts, ledger, payouts), from values made in SQL and in the order in
which they come: orders and payments by the hour of the user, order numbers at random. Everybody pays, three in four get
up, and every payout arrives. A table's share of the users (profiles, standings) is told separately: it grows with who
has ever played, not with the days.
"""

import zlib
from datetime import date
from typing import LiteralString

import psycopg
from psycopg import sql

from bench.measure import Result, Scale, spread
from clock.books import ledger, owed
from clock.books.migrations import migrate
from clock.books.partitions import PARTITIONED, add_partitions
from clock.books.store import Store
from clock.runtime import embedded

DAY = date(2026, 11, 22)
FIRST_UID = 10_000_000
PAGE = 20_000
"""Rows of a statement: as many as a drain under load."""

RANDOM: LiteralString = "translate(encode(sha256(n::text::bytea), 'base64'), '+/=', 'ab')"
USERS: LiteralString = (
    "SELECT n, uid, 'TTC0eb00' || lpad(uid::text, 9, '0') || left(random, 12) AS number, 'oLVP' || right(random, 24)"
    " AS open_id, '4200' || lpad(abs(hashint8extended(n, 1))::text, 24, '0') AS trade,"
    " '138' || lpad((abs(hashint8extended(n, 2)) % 100000000)::text, 8, '0') AS mobile,"
    " 1795276800000 + n * 43 AS at_ms"
    f" FROM (SELECT n, {{first_uid}} + n * 618033 % {{members}} AS uid, {RANDOM} AS random"
    "  FROM generate_series({first}::bigint, {last}) n) AS one"
)
"""In the order in which they come; uid, the numbers, and what WeChat calls them."""

RAW: LiteralString = (
    "json_build_object('order_no', number, 'extra', json_build_object('amount', 100, 'buyerId', open_id,"
    " 'transactionId', trade, 'notify_time', '2026-11-22 20:00:00', 'content', 'stake', 'nickname', '早起 ' || uid,"
    " 'mobile', mobile))::text"
)
"""As docs/platform.md shows it."""

ROWS: dict[str, LiteralString] = {
    "orders": "SELECT {day}, uid, number, uid + 9000000, 100, open_id, at_ms FROM users",
    "payments": f"SELECT {{day}}, number, trade, uid, 100, at_ms, at_ms + 400, 'paid', 'platform', {RAW} FROM users",
    "members": "SELECT {day}, uid, 100, false, at_ms + 400 FROM users",
    "check_ins": "SELECT {day}, uid, at_ms + 86400000, n FROM users WHERE n % 4 > 0",
    "packets": "SELECT {day}, 0, n, n % 66 FROM users WHERE n % 4 > 0",
    "claims": "SELECT {day}, uid, 0, n, n % 66, 100, 'user', at_ms + 97200000 FROM users WHERE n % 4 > 0",
}
"""One user's rows, from those of :data:`USERS`."""

OF_USERS: dict[str, LiteralString] = {
    "profiles": "SELECT uid, open_id, mobile, '早起 ' || uid, at_ms FROM users",
    "standings": "SELECT uid, {day}, 3, 17, 140 FROM users",
    "incomes": "SELECT uid, 9000 FROM users",
    "flags": "SELECT uid, true, at_ms, {day} FROM users",
}

SENT: LiteralString = (
    "UPDATE outgoing SET state = 'done', attempts = 1, ended_at = now() WHERE day = {day} AND uid BETWEEN %s AND %s"
)

SIZES: LiteralString = (
    "SELECT relname::text, (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(c.oid))::bigint"
    " FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'p'"
    " UNION ALL SELECT relname::text, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relispartition"
)


async def run(scale: Scale) -> Result:
    members = scale.of(1_000_000, 100_000)
    with embedded.scratch() as data_dir:
        postgres = embedded.Postgres(data_dir)
        async with embedded.started(postgres):
            await migrate(postgres.url)
            store = Store(postgres.url)
            await store.open()
            await add_partitions(store, [DAY])
            await store.close()
            async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
                before = await _sizes(connection)
                for table in OF_USERS:
                    await _fill(connection, table, OF_USERS[table], members)
                for table in ROWS:
                    await _fill(connection, table, ROWS[table], members)
                await _send(connection, members)
                await connection.execute("VACUUM")
                after = await _sizes(connection)
                packed = {table: await _packed(connection, table) for table in _of_day(before, after)}
    return _result(members, before, after, packed)


def _of_day(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """The tables of a round that have grown, the largest first. What is due and not sent has a table of its own, whose
    room the next day takes again."""
    grown = {name: after[name] - before[name] for name in PARTITIONED}
    return sorted((name for name in grown if grown[name] > 1_000_000), key=lambda name: -grown[name])


def _result(members: int, before: dict[str, int], after: dict[str, int], packed: dict[str, int]) -> Result:
    def each(names: list[str]) -> list[float]:
        return [(after[name] - before[name]) / members for name in names]

    days = list(packed)
    users = [*OF_USERS, "accounts"]
    return Result(
        name="size",
        figures={
            **{f"{name}, bytes a member-day": spread([size]) for name, size in zip(days, each(days), strict=True)},
            "all of them, bytes a member-day": spread([sum(each(days))]),
            **{f"{name}.csv.gz, bytes a member-day": spread([packed[name] / members]) for name in days},
            "all of them packed, bytes a member-day": spread([sum(packed.values()) / members]),
            **{f"{name}, bytes a user": spread([size]) for name, size in zip(users, each(users), strict=True)},
            "all of them, bytes a user": spread([sum(each(users))]),
        },
        notes={"members": members},
    )


async def _sizes(connection: psycopg.AsyncConnection) -> dict[str, int]:
    """Bytes of each table with its partitions, indexes and out-of-line values."""
    return {name: size async for name, size in await connection.execute(SIZES)}


async def _fill(connection: psycopg.AsyncConnection, table: str, rows: LiteralString, members: int) -> None:
    """Write a table's rows, and what follows from them, a page of users at a time."""
    source = sql.Identifier("added")
    follow = ledger.postings(table, source, DAY) + owed.owed(table, source, DAY)
    follows = [sql.SQL(", {} AS ({})").format(sql.Identifier(f"follows_{n}"), one) for n, one in enumerate(follow)]
    for first in range(1, members + 1, PAGE):
        statement = sql.SQL(
            f"WITH users AS ({USERS}),"
            f" added AS (INSERT INTO {{table}} {rows} RETURNING *){{follows}} SELECT count(*) FROM added"
        ).format(
            table=sql.Identifier(table),
            day=sql.Literal(DAY),
            first_uid=sql.Literal(FIRST_UID),
            members=sql.Literal(members),
            first=sql.Literal(first),
            last=sql.Literal(first + PAGE - 1),
            follows=sql.Composed(follows),
        )
        await connection.execute(statement)


async def _send(connection: psycopg.AsyncConnection, members: int) -> None:
    """Every payout arrives, and is posted."""
    rule = next(rule for rule in ledger.RULES if rule.kind == "payout_sent")
    parts = ledger.parts(rule, DAY)
    statement = sql.SQL(
        f"WITH sent AS ({SENT} RETURNING *) INSERT INTO transfers"
        " SELECT day, {kind}, {cause}, uid, {from_account}, 'channel:platform', {amount}, {at_ms} FROM sent"
    ).format(at_ms=sql.Literal(1_795_400_000_000), **parts)
    for first in range(1, members + 1, PAGE):
        await connection.execute(statement, [FIRST_UID + first - 1, FIRST_UID + first + PAGE - 2])


async def _packed(connection: psycopg.AsyncConnection, table: str) -> int:
    """Bytes of the day's rows as CSV through gzip."""
    packer, size = zlib.compressobj(6, wbits=31), 0
    statement = sql.SQL("COPY (SELECT * FROM {} WHERE day = {}) TO STDOUT (FORMAT csv, HEADER)")
    async with connection.cursor().copy(statement.format(sql.Identifier(table), sql.Literal(DAY))) as rows:
        async for piece in rows:
            size += len(packer.compress(piece))
    return size + len(packer.flush())
