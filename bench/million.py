"""A day that was played to its end, written into the books in SQL, and the bill that the provider has of it.

Nine of ten members wake, all have claimed, all money has left; one in a hundred has paid twice, one in twenty has
ordered and not paid.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

from aiohttp import web
from psycopg import sql

from clock.books import ledger, owed
from clock.books.store import Connection
from clock.domain import order_no
from clock.domain.rounds import windows
from clock.domain.split import split
from clock.rounds.recorded import recorded
from clock.service import Service

FIRST_UID = 10_000_000
STAKE_FEN = 100

WRITTEN = (
    # Fibonacci hashing, as clock.game.keys.shard_of: the low 64 bits of the product, the high half of these
    "CREATE TEMP TABLE people ON COMMIT DROP AS SELECT n, %(first_uid)s + n AS uid,"
    " (trunc(mod((%(first_uid)s + n) * 11400714819323198485::numeric, 18446744073709551616) / 4294967296)"
    " %% %(shards)s)::int AS shard FROM generate_series(1, %(orders)s) AS n",
    "INSERT INTO orders SELECT %(day)s, uid, (%(prefixes)s::text[])[shard + 1] || lpad(n::text, 9, '0')"
    " || lpad(n::text, 12, '0'), (%(first_order_ids)s::bigint[])[shard + 1] + n, 100, 'oLVPpjqs9Bhvzw' ||"
    " lpad(uid::text, 14, '0'), %(joined_ms)s FROM people",
    "INSERT INTO payments SELECT %(day)s, order_no, to_char(day, '42YYYYMMDD') || lpad(uid::text, 18, '0'), uid, 100,"
    " at_ms, at_ms, 'paid', 'platform', '{}' FROM orders WHERE day = %(day)s AND uid <= %(last_member)s",
    "INSERT INTO payments SELECT day, order_no, transaction_id || 'again', uid, 100, at_ms, at_ms, 'refund_second',"
    " 'platform', '{}' FROM payments WHERE day = %(day)s AND uid %% 100 = 0",
    "INSERT INTO refunds SELECT day, order_no, transaction_id, refund_no(order_no, transaction_id), uid, 100,"
    " 'refund_second', at_ms FROM payments WHERE day = %(day)s AND outcome = 'refund_second'",
    "INSERT INTO members SELECT %(day)s, uid, 100, false, at_ms FROM orders"
    " WHERE day = %(day)s AND uid <= %(last_member)s",
    "INSERT INTO check_ins SELECT %(day)s, uid, %(woke_ms)s, row_number() OVER (PARTITION BY shard ORDER BY uid)"
    " FROM people WHERE uid <= %(last_winner)s",
    "UPDATE rounds SET winners = (SELECT count(*) FROM check_ins WHERE day = %(day)s) WHERE day = %(day)s",
)
SETTLED = (
    "CREATE TEMP TABLE won ON COMMIT DROP AS SELECT c.uid, p.shard, c.rank,"
    " row_number() OVER (ORDER BY p.shard, c.rank) AS place FROM check_ins c JOIN people p ON p.uid = c.uid"
    " WHERE c.day = %(day)s",
    "INSERT INTO packets SELECT %(day)s, w.shard, w.rank - 1, f.fen FROM won w"
    " JOIN unnest(%(fens)s::bigint[]) WITH ORDINALITY AS f (fen, place) ON f.place = w.place",
    "INSERT INTO claims SELECT %(day)s, w.uid, w.shard, w.rank - 1, p.fen, 100, 'user', %(claimed_ms)s FROM won w"
    " JOIN packets p ON p.day = %(day)s AND p.shard = w.shard AND p.index = w.rank - 1",
    "INSERT INTO outbox_positions (day, shard, last_id)"
    " SELECT %(day)s, n, '1-0' FROM generate_series(0, %(shards)s - 1) AS n",
    "INSERT INTO closings SELECT %(day)s, p.shard, %(woke_ms)s, 'settle', count(m.uid), count(c.uid), 0,"
    " 100 * count(m.uid) FROM people p LEFT JOIN members m ON m.day = %(day)s AND m.uid = p.uid"
    " LEFT JOIN check_ins c ON c.day = %(day)s AND c.uid = p.uid GROUP BY p.shard",
    "UPDATE rounds SET state = 'finished', salt_key = NULL, drawn = seed, settled_at = now(), finished_at = now(),"
    " swept_at = now(), tallied_at = now(), credited_at = now(), members = %(members)s, pool_fen = 100 * %(members)s,"
    " pot_fen = %(pot_fen)s, forfeited_fen = %(pot_fen)s WHERE day = %(day)s",
)
SENT = "UPDATE outgoing SET state = 'done', created_at = %(sent_at)s, ended_at = %(sent_at)s WHERE day = %(day)s"

BILLED = (
    "SELECT json_build_object('kind', 'payment', 'no', transaction_id, 'order_no', order_no, 'amount_fen', amount_fen,"
    " 'at_ms', at_ms, 'payer', 'oLVPpjqs9Bhvzw' || lpad(uid::text, 14, '0')) FROM payments WHERE day = {day}"
    " UNION ALL SELECT json_build_object('kind', CASE kind WHEN 'payout' THEN 'transfer' ELSE kind END, 'no', no,"
    " 'order_no', coalesce(order_no, ''), 'amount_fen', amount_fen, 'at_ms', 0) FROM outgoing WHERE day = {day}"
)


async def write_day(service: Service, connection: Connection, day: date, members: int) -> None:
    """The rows of a finished round of so many members, in the caller's transaction."""
    rules = await service.opener.open_round(day)
    shards, at = rules.shards, windows(day, rules)
    last_winner = members * 9 // 10
    pot_fen = (members - last_winner) * STAKE_FEN
    given = {
        "day": day,
        "shards": shards,
        "first_uid": FIRST_UID,
        "orders": members * 21 // 20,
        "members": members,
        "last_member": FIRST_UID + members,
        "last_winner": FIRST_UID + last_winner,
        "pot_fen": pot_fen,
        "prefixes": [order_no.make("TTC", order_no.Place(day, n, 1, ""))[:-9] for n in range(shards)],
        "first_order_ids": [order_no.first_order_id(day, shard) for shard in range(shards)],
        "joined_ms": at.join_opens_ms + 60_000,
        "woke_ms": at.check_in_opens_ms + 1,
        "claimed_ms": at.settle_ms + 60_000,
        "sent_at": f"{day} 20:00+00",
    }
    for statement in WRITTEN:
        await connection.execute(statement.encode(), given)
    found = await (await connection.execute("SELECT * FROM rounds WHERE day = %s", [day])).fetchone()
    assert found is not None
    round_ = recorded(found)
    given["fens"] = list(split(round_.packet_seed, pot_fen, round_.winners, round_.packet_rules).packets_fen)
    for statement in SETTLED:
        await connection.execute(statement.encode(), given)
    for table in ("claims", "refunds"):
        for debt in owed.owed(table, sql.Identifier(table), day):
            await connection.execute(debt)
    await connection.execute(SENT.encode(), given)
    source = sql.SQL(
        "(SELECT day, no, kind, uid, amount_fen, state, again, 'platform' AS channel, 0::bigint AS at_ms FROM outgoing)"
    )
    for table in ("payments", "claims", "refunds"):
        await ledger.post(connection, table, day)
    await ledger.post(connection, "outgoing", day, source)
    await ledger.post_settlement(connection, day)


async def write_bill(connection: Connection, day: date, path: Path) -> int:
    """The provider's bill of all that moved, as it would send it; how many lines."""
    lines = 0
    with path.open("wb") as file:
        file.write(b'{"lines": [')
        copied = sql.SQL("COPY ({}) TO STDOUT").format(sql.SQL(BILLED).format(day=sql.Literal(day)))
        async with connection.cursor().copy(copied) as copy:
            async for line in copy:
                file.write(b"," * (lines > 0) + bytes(line))
                lines += 1
        file.write(b"]}")
    return lines


@asynccontextmanager
async def provider(bills: dict[str, Path], port: int) -> AsyncIterator[None]:
    """Has the bills of some dates, and nothing in those of others."""

    async def answer(request: web.Request) -> web.StreamResponse:
        path = bills.get((await request.json())["day"])
        return web.FileResponse(path) if path else web.json_response({"lines": []})

    app = web.Application()
    app.router.add_post("/bill", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()
