"""A round of every kind of user that has ended, and what a report about it names."""

from dataclasses import dataclass
from typing import Any

from clock.audit.reconcile import reconcile
from clock.audit.report import Report
from tests.conftest import DAY
from tests.flow.stage import IN_TIME, People, Sandbox, bill
from tests.raw import raw

TABLES = (
    "rounds",
    "statements",
    "orders",
    "payments",
    "members",
    "check_ins",
    "packets",
    "claims",
    "refunds",
    "transfers",
    "outgoing",
    "unsent",
    "accounts",
)


@dataclass
class Ended:
    """A round of every kind of user: 1, 2, 3 win and are paid, 1 has paid twice, 4, 5, 6 sleep, 7 is a late member
    who sleeps, 8 has ordered and not paid. A fee of 10 %. All money has left."""

    people: People
    channel: Sandbox

    def order(self, uid: int) -> str:
        return self.people.orders[uid]

    def payout(self, uid: int) -> str:
        return f"P{DAY:%Y%m%d}{uid}"

    async def report(self) -> Report:
        report = await reconcile(self.people.service, DAY)
        assert report is not None
        return report

    async def save(self) -> None:
        await self.people.rows("CREATE SCHEMA saved")
        for table in TABLES:
            await self.people.rows(f"CREATE TABLE saved.{table} AS TABLE {table}")
        redis: Any = self.people.service.redis
        self.redis = {name: await redis.dump(name) async for name in redis.scan_iter()}
        self.sqlite = "\n".join(self.channel.provider.books.db.iterdump())

    async def restore(self) -> None:
        """As it was when it ended."""
        async with self.people.service.store.transaction() as connection:
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute("DELETE FROM reconciliations")
            for table in TABLES:
                await connection.execute(f"DELETE FROM {table}".encode())
                again = f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM saved.{table}"
                await connection.execute(again.encode())
        redis = raw(self.people.service.redis)
        await redis.flushall()
        for name, value in self.redis.items():
            await redis.restore(name, 0, value)
        db = self.channel.provider.books.db
        for table in ("payments", "closed", "movements", "reminders"):
            db.execute(f"DROP TABLE {table}")
        db.executescript(self.sqlite)


async def play(people: People, channel: Sandbox) -> None:
    await people.join(*range(1, 9))
    for uid in (1, 2, 3, 4, 5, 6):
        bill(channel, people.orders[uid], f"S{people.orders[uid]}0", uid)
        assert await people.pay(uid, paid_at=IN_TIME) == "paid"
    bill(channel, people.orders[1], "T-second", 1)
    assert await people.pay(1, "T-second", paid_at=IN_TIME) == "refund_due"
    await people.morning(winners=3)
    bill(channel, people.orders[7], f"S{people.orders[7]}0", 7)
    assert await people.pay(7, paid_at=IN_TIME) == "paid"
    await people.settle()
    await people.claim(1, 2)


def named(report: Report) -> set[tuple[str, str]]:
    return {(difference.what, difference.subject) for difference in report.differences}
