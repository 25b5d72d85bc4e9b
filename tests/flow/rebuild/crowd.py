"""A settled round of many members in the books, as a long day of entries would have left it."""

from psycopg import sql

from clock.books import ledger, owed
from clock.domain import order_no
from clock.domain.split import Split, split
from clock.service import Service
from tests.conftest import DAY, at

FIRST_UID = 10_000_000
STAKE_FEN = 100

LOADED = (
    "INSERT INTO orders SELECT %(day)s, %(first_uid)s + n, 'N20261122' || lpad(n::text, 12, '0'),"
    " %(first_order_id)s + n, 100, 'open-' || n, %(at_ms)s FROM generate_series(1, %(members)s) AS n",
    "INSERT INTO payments SELECT day, order_no, 'T' || order_no, uid, 100, at_ms, at_ms, 'paid', 'platform', '{}'"
    " FROM orders WHERE day = %(day)s",
    "INSERT INTO members SELECT day, uid, 100, false, at_ms FROM orders WHERE day = %(day)s",
    "INSERT INTO check_ins SELECT day, uid, %(at_ms)s + 36000000, uid - %(first_uid)s FROM members"
    " WHERE day = %(day)s AND uid <= %(first_uid)s + %(winners)s",
    "INSERT INTO packets SELECT %(day)s, 0, n - 1, fen"
    " FROM unnest(%(packets)s::bigint[]) WITH ORDINALITY AS p (fen, n)",
    "INSERT INTO claims SELECT c.day, c.uid, 0, p.index, p.fen, 100, 'user', c.at_ms FROM check_ins c"
    " JOIN packets p ON p.day = c.day AND p.index = c.rank - 1 WHERE c.day = %(day)s AND c.rank <= %(claimed)s",
    "INSERT INTO outbox_positions (day, shard, last_id) VALUES (%(day)s, 0, '1-0')",
    "INSERT INTO closings VALUES (%(day)s, 0, %(at_ms)s, 'settle', %(members)s, %(winners)s, 0, 100 * %(members)s)",
    "UPDATE rounds SET state = 'settled', salt_key = NULL, drawn = seed, settled_at = now(), members = %(members)s,"
    " winners = %(winners)s,"
    " pool_fen = 100 * %(members)s, pot_fen = %(pot_fen)s, forfeited_fen = %(pot_fen)s, swept_at = now()"
    " WHERE day = %(day)s",
)


async def load_settled(service: Service, members: int) -> None:
    """Nine of ten wake, and nine of ten of these have claimed."""
    await service.opener.open_round(DAY)
    winners = members * 9 // 10
    pot_fen = (members - winners) * STAKE_FEN
    async with service.store.transaction() as connection:
        round_ = await connection.execute("SELECT seed FROM rounds WHERE day = %s", [DAY])
        seed = (await round_.fetchone() or {})["seed"]
        given = {
            "day": DAY,
            "first_uid": FIRST_UID,
            "first_order_id": order_no.first_order_id(DAY, 0),
            "at_ms": at("20:00"),
            "members": members,
            "winners": winners,
            "claimed": winners * 9 // 10,
            "pot_fen": pot_fen,
            "packets": list(split(seed, pot_fen, winners, Split()).packets_fen),
        }
        for statement in LOADED:
            await connection.execute(statement.encode(), given)
        for table in ("payments", "claims"):
            await ledger.post(connection, table, DAY)
        for debt in owed.owed("claims", sql.Identifier("claims"), DAY):
            await connection.execute(debt)
