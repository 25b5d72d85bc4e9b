"""A round of many, made in SQL, as its day would have left it in the books and in Redis just before settlement."""

from dataclasses import dataclass

from clock.audit.rebuild import rebuild_lost
from clock.books import ledger
from clock.domain import order_no
from clock.game import keys
from clock.service import Service
from tests.conftest import DAY, at

FIRST_UID = 10_000_000
STAKE_FEN = 100


@dataclass(frozen=True)
class Crowd:
    """How many there are of each; their uids follow each other in this order from :data:`FIRST_UID` + 1 on."""

    winners: int = 0
    late_sleepers: int = 0
    sleepers: int = 0
    unpaid: int = 0

    @property
    def members(self) -> int:
        return self.winners + self.late_sleepers + self.sleepers


LOADED = (
    "INSERT INTO orders SELECT %(day)s, %(first_uid)s + n, 'N20261122' || lpad(n::text, 12, '0'),"
    " %(first_order_id)s + n, 100, 'open-' || n, %(at_ms)s FROM generate_series(1, %(members)s + %(unpaid)s) AS n",
    "INSERT INTO unpaid (day, uid, order_no, next_at_ms) SELECT day, uid, order_no, at_ms + 120000 FROM orders"
    " WHERE day = %(day)s AND uid > %(first_uid)s + %(members)s",
    "INSERT INTO payments SELECT day, order_no, 'T' || order_no, uid, 100, at_ms, at_ms,"
    " CASE WHEN uid > %(late_from)s AND uid <= %(late_to)s THEN 'paid_late' ELSE 'paid' END, 'platform', '{}'"
    " FROM orders WHERE day = %(day)s AND uid <= %(first_uid)s + %(members)s",
    "INSERT INTO members SELECT day, uid, 100, outcome = 'paid_late', at_ms FROM payments WHERE day = %(day)s",
    "INSERT INTO check_ins SELECT day, uid, %(at_ms)s + 36000000, uid - %(first_uid)s FROM members"
    " WHERE day = %(day)s AND uid <= %(late_from)s",
    "INSERT INTO outbox_positions (day, shard, last_id) VALUES (%(day)s, 0, '1-0')",
)


async def load(service: Service, crowd: Crowd) -> None:
    """It is 08:05. The round has one shard."""
    await service.opener.open_round(DAY)
    given = {
        "day": DAY,
        "first_uid": FIRST_UID,
        "first_order_id": order_no.first_order_id(DAY, 0),
        "at_ms": at("20:00"),
        "members": crowd.members,
        "unpaid": crowd.unpaid,
        "late_from": FIRST_UID + crowd.winners,
        "late_to": FIRST_UID + crowd.winners + crowd.late_sleepers,
    }
    async with service.store.transaction() as connection:
        for statement in LOADED:
            await connection.execute(statement.encode(), given)
        await ledger.post(connection, "payments", DAY)
    await service.redis.delete(*keys.names(DAY, 0, ("round", "members", "totals")))
    assert await rebuild_lost(service) == [f"{DAY}.0"]
    service.time.stop_at(at("08:05", 1))
