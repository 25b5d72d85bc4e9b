"""The service over HTTP, and the double of its provider on a port of its own: all money travels as signed HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from aiohttp import web

from clock.audit.reconcile import reconcile
from clock.config import Settings
from clock.dev.providers.alipay_bills import AlipayDouble
from clock.dev.providers.wechat_bills import WechatDouble
from clock.runtime.directory import alipay_keys, wechat_keys, with_dev_secrets
from clock.runtime.ports import free_port
from tests.conftest import DAY, Api, at, serving
from tests.flow.stage import People, send

Provider = Literal["wechat", "alipay"]

STAKE = 100


class Town:
    """Users of the service, and what their provider's books say."""

    def __init__(self, api: Api, double: WechatDouble | AlipayDouble, url: str) -> None:
        self.api = api
        self.double = double
        self.url = url
        self.people = People(api.service)

    async def joined(self, *uids: int) -> None:
        for uid in uids:
            data = (await self.api.join(uid))["data"]
            assert data["pay"] == {"channel": self.double.name, "call": "/api/pay"}
            self.people.orders[uid] = data["order_no"]

    async def asks(self, uid: int, how: str | None = None) -> dict[str, Any]:
        """What the client is given to pay with."""
        more = {"how": how} if how else {}
        reply = await self.api.post("/api/pay", uid, order_no=self.people.orders[uid], **more)
        assert reply["code"] == "ok", reply
        pay: dict[str, Any] = reply["data"]["pay"]
        return pay

    async def pays(self, uid: int, pay: dict[str, Any], **more: Any) -> tuple[int, dict[str, Any]]:
        """At the provider; its status and answer."""
        body = {"order_no": self.people.orders[uid], "amount": STAKE, "buyerId": f"open-{uid}", "pay": pay}
        body |= {"at_ms": at("20:00"), **more}
        async with self.api.session.post(f"{self.url}/pay", json=body) as reply:
            return reply.status, await reply.json(content_type=None)

    async def members(self, *uids: int) -> None:
        await self.joined(*uids)
        for uid in uids:
            status, reply = await self.pays(uid, await self.asks(uid))
            assert (status, reply["code"]) == (200, "told"), reply
            assert (await self.api.join(uid))["code"] == "already_joined"

    async def check_in(self, *uids: int) -> None:
        self.people.it_is("06:00", 1)
        for uid in uids:
            assert (await self.api.post("/api/check-in", uid))["code"] == "checked_in"

    async def claim(self, *uids: int) -> list[int]:
        replies = [await self.api.post("/api/claim", uid) for uid in uids]
        assert {reply["code"] for reply in replies} <= {"claimed"}
        await self.people.drain()
        return [reply["data"]["assign"]["money"] for reply in replies]

    async def withdraw(self, uid: int) -> dict[str, Any]:
        reply = await self.api.post("/api/withdraw", uid)
        assert reply["code"] == "withdrawing", reply
        withdrawal: dict[str, Any] = reply["data"]["withdrawal"]
        return withdrawal

    async def confirms(self, no: str) -> int:
        async with self.api.session.post(f"{self.url}/confirm", json={"out_bill_no": no}) as reply:
            return reply.status

    async def trouble(self, **knobs: Any) -> None:
        async with self.api.session.put(f"{self.url}/trouble", json={"seed": 1, **knobs}) as reply:
            assert reply.status == 200, await reply.text()

    async def withdrawn(self, uid: int) -> dict[str, Any]:
        """Asked for and asked about again until it can be confirmed."""
        async with asyncio.timeout(10):
            while "confirm" not in (withdrawal := await self.withdraw(uid)):
                await send(self.people)
        return withdrawal

    async def all_sent(self, but: tuple[str, ...] = (), seconds: float = 20) -> None:
        """Everything that is owed has gone out, or back; withdrawals in ``but`` still wait for their users."""
        until = time.monotonic() + seconds
        while moving := await self.moving(but):
            assert time.monotonic() < until, moving
            await send(self.people)
            await asyncio.sleep(0.02)

    async def moving(self, but: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        found = await self.people.rows("SELECT no, state, reason FROM outgoing WHERE state NOT IN ('done', 'failed')")
        return [row for row in found if row["no"] not in but]

    # -- both books

    async def differences(self) -> list[str]:
        """What one book has and the other has not: payments, refunds and transfers, each once."""
        paid = {(row["transaction_id"], row["amount"]) for row in self.double.books.rows("SELECT * FROM payments")}
        ours = await self.people.rows("SELECT transaction_id, amount_fen FROM payments")
        known = {(row["transaction_id"], row["amount_fen"]) for row in ours}
        assert len(known) == len(ours), "a payment was taken twice"
        went = await self.people.rows(
            "SELECT coalesce(sent_as, no) AS no, CASE kind WHEN 'refund' THEN 'refund' ELSE 'transfer' END AS kind,"
            " amount_fen FROM outgoing WHERE state = 'done'"
        )
        sent = sorted((row["no"], row["kind"], row["amount_fen"]) for row in went)
        moved = self.double.books.rows("SELECT no, kind, amount FROM movements WHERE state = 'done' ORDER BY no")
        left = sorted((row["no"], row["kind"], row["amount"]) for row in moved)
        found = [f"only one has payment {one}" for one in sorted(paid ^ known)]
        found += [f"only one has {one}" for one in sorted(set(sent) ^ set(left))]
        return found + (["a movement is there twice"] if len(set(sent)) < len(sent) else [])

    async def bill_differences(self) -> list[str]:
        """The service's own comparison, with the provider's bills of the round's days."""
        noon_ms = at("12:00", 1)
        self.double.books.db.execute("UPDATE movements SET at_ms = ?", (noon_ms,))
        await self.people.rows("UPDATE outgoing SET ended_at = to_timestamp(%s)", noon_ms / 1000)
        report = await reconcile(self.api.service, DAY)
        assert report is not None
        assert report.bill_lines
        return [f"{one.what} {one.subject}: {one.one} / {one.other}" for one in report.differences]


def with_double(settings: Settings, provider: Provider, keys: Path) -> Settings:
    """Settings of a service whose provider is a double; ``keys``: the directory that has both sides' keys."""
    url, data_dir = f"http://127.0.0.1:{free_port()}", settings.data_dir
    names = {"wechat": {"wechat_url": url}, "alipay": {"alipay_url": f"{url}/gateway.do"}}[provider]
    changed = msgspec.structs.replace(
        settings, channel=provider, public_url=f"http://127.0.0.1:{settings.port}", data_dir=keys, **names
    )
    return msgspec.structs.replace(with_dev_secrets(changed), data_dir=data_dir, platform_url="http://127.0.0.1:9")


@asynccontextmanager
async def answering(double: WechatDouble | AlipayDouble, url: str) -> AsyncIterator[None]:
    runner = web.AppRunner(double.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(url.rpartition(":")[2])).start()
    try:
        yield
    finally:
        await runner.cleanup()


def double_of(settings: Settings, keys: Path) -> tuple[WechatDouble | AlipayDouble, str]:
    if settings.channel == "wechat":
        return WechatDouble(settings.data_dir / "wechat.sqlite", wechat_keys(keys)), settings.wechat_url
    double = AlipayDouble(settings.data_dir / "alipay.sqlite", alipay_keys(keys))
    return double, settings.alipay_url.removesuffix("/gateway.do")


@asynccontextmanager
async def town_of(settings: Settings, provider: Provider, keys: Path) -> AsyncIterator[Town]:
    settings = with_double(settings, provider, keys)
    double, url = double_of(settings, keys)
    async with answering(double, url), serving(settings) as api:
        await api.service.opener.open_round(DAY)
        yield Town(api, double, url)
