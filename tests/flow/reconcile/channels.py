"""Two channels with bills of their own, one of which comes late and does not say everything."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

from clock.audit.reconcile import reconcile
from clock.audit.report import Report
from clock.channels import BillLine, Channel, NoBill
from clock.config import Settings
from clock.domain import order_no
from tests.conftest import DAY, at
from tests.flow.stage import IN_TIME, People, Scripted
from tests.model.world import new_world


class Platform(Scripted):
    """Its bills say who has paid, and have every date."""


class Late(Scripted):
    """Some of its bills are missing, or come late."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: dict[str, type[NoBill]] = {}

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        if day in self.missing:
            raise self.missing[day]
        async for page in super().bill(day):
            yield page


class Alipay(Late):
    """Its bills do not say who has paid, and have no transfers."""

    name = "alipay"
    billed = frozenset(("payment", "refund"))


class Stage:
    """User 1 has paid through the platform, user 2 through alipay. Both bills are right."""

    def __init__(self, people: People, platform: Platform, alipay: Alipay) -> None:
        self.people, self.platform, self.alipay = people, platform, alipay

    async def order(self, uid: int, channel: str) -> str:
        """An order of another user, made through a channel, that the books know as unpaid."""
        await self.people.join(uid)
        await self.people.drain()
        place = order_no.place_of(self.people.orders[uid])
        assert place is not None
        tail = order_no.new_tail(channel)
        return order_no.make("TTC", order_no.Place(place.day, place.shard, uid, tail))

    async def report(self) -> Report:
        report = await reconcile(self.people.service, DAY)
        assert report is not None
        return report

    async def differences(self) -> list[tuple[str, str, str]]:
        return [(one.what, one.one, one.other) for one in (await self.report()).differences]

    def billed(self, channel: Scripted, *lines: BillLine, on: date = DAY) -> None:
        assert channel.lines is not None
        channel.lines[str(on)] = [*channel.lines.get(str(on), []), *lines]

    def paid(self, uid: int, payer: str = "", number: str = "T2") -> BillLine:
        return BillLine("payment", number, self.people.orders[uid], 100, at("20:00"), payer)

    async def refund(self, state: str, ended: str) -> str:
        """User 2 has paid twice through alipay; what became of the refund. Its number."""
        assert await self.people.pay(2, "T3", IN_TIME, channel="alipay") == "refund_due"
        await self.people.drain()
        self.billed(self.alipay, self.paid(2, number="T3"))
        [row] = await self.people.rows(
            "UPDATE outgoing SET state = %s, created_at = '2019-05-01 12:00+08', ended_at = %s RETURNING no",
            state,
            ended,
        )
        account = "channel:alipay" if state == "done" else "user:2"
        await self.people.rows(
            "INSERT INTO transfers SELECT day, %s, no, uid, 'owed:refund', %s, amount_fen, 0 FROM outgoing",
            "refund_sent" if state == "done" else "refund_failed",
            account,
        )
        return str(row["no"])


@asynccontextmanager
async def staged(shared: Settings) -> AsyncIterator[Stage]:
    async with new_world(shared) as service:
        people, platform, alipay = People(service), Platform(), Alipay()
        channels: dict[str, Channel] = {"platform": platform, "alipay": alipay}
        service.channels.update(channels)
        stage = Stage(people, platform, alipay)
        await people.join(1, 2)
        assert await people.pay(1, "T1", IN_TIME) == "paid"
        assert await people.pay(2, "T2", IN_TIME, channel="alipay") == "paid"
        await people.drain()
        platform.lines, alipay.lines = {}, {}
        stage.billed(platform, stage.paid(1, "open-1", "T1"))
        stage.billed(alipay, stage.paid(2))
        yield stage
