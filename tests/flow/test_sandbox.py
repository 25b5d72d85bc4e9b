"""The sandbox provider as its own process: it keeps its word whatever is repeated, its troubles are what they say."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from clock.channels import BillLine
from clock.channels.platform import Platform
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from tests.conftest import JWT_SECRET, WEBHOOK_SECRET, Api, at
from tests.flow.stage import People

AT = at("20:00")
DAY_OF_AT = "2026-11-22"
STRANGER = "whsec_" + "YSBzZWNyZXQgdGhhdCBub2JvZHkgd2FzIGdpdmVuLi4="


class Listener:
    """Where callbacks arrive; ``answer`` says with which status, given how many have come before."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.answer: Callable[[int], int] = lambda _: 200

    async def take(self, request: web.Request) -> web.Response:
        status = self.answer(len(self.got))
        self.got.append((await request.read(), {name.lower(): value for name, value in request.headers.items()}))
        return web.json_response({"code": "paid"}, status=status)

    async def wait_for(self, count: int, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                await asyncio.sleep(0.02)


class Sandbox:
    """``python -m clock sandbox`` on a data directory; it may be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{settings.sandbox_port}"
        self.channel = Platform(self.url, WEBHOOK_SECRET)
        self.session = aiohttp.ClientSession()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with (self.settings.data_dir / "sandbox.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "clock", "sandbox"],
                env=environment(self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        async with asyncio.timeout(30):
            while True:
                try:
                    async with self.session.get(f"{self.url}/healthz") as reply:
                        if reply.status == 200:
                            return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals) -> int:
        assert self._process is not None
        os.kill(self._process.pid, number)
        return await asyncio.to_thread(self._process.wait)

    async def trouble(self, **knobs: Any) -> None:
        async with self.session.put(f"{self.url}/trouble", json={"seed": 1, **knobs}) as reply:
            assert reply.status == 200

    async def pay(self, order_no: str, **more: Any) -> tuple[int, int, Any]:
        """Status, the status of the callback, and the callback's reply."""
        body = {"order_no": order_no, "amount": 100, "buyerId": "open-1", "at_ms": AT, **more}
        async with self.session.post(f"{self.url}/pay", json=body) as reply:
            return reply.status, int(reply.headers.get("x-callback-status", 0)), await reply.json(content_type=None)

    async def ask(self, action: str, secret: str = WEBHOOK_SECRET, path: str = "", **body: Any) -> tuple[int, Any]:
        raw = msgspec.json.encode({"action": action, **body})
        headers = Signatures(secret).sign(raw) if secret else {}
        async with self.session.post(f"{self.url}/{path or action}", data=raw, headers=headers) as reply:
            return reply.status, await reply.json()

    async def transfer(self, no: str, amount: int = 100) -> tuple[int, Any]:
        return await self.ask("transfer", transfer_no=no, openId="open-1", amount=amount)

    async def refund(self, no: str, order_no: str, amount: int = 100, transaction: str = "") -> tuple[int, Any]:
        return await self.ask(
            "refund", refund_no=no, order_no=order_no, transactionId=transaction or f"S{order_no}0", amount=amount
        )

    async def lines(self) -> list[BillLine]:
        """Of the payments' date and of today."""
        found = []
        for day in {DAY_OF_AT, time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))}:
            found += await self.channel.bill(day) or []
        return found

    async def close(self) -> None:
        await self.channel.close()
        await self.session.close()
        if self._process is not None and self._process.poll() is None:
            await self.end(signal.SIGTERM)


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Listener]:
    listener = Listener(port)
    app = web.Application()
    app.router.add_post("/callbacks/platform", listener.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield listener
    await runner.cleanup()


@asynccontextmanager
async def sandbox_for(port: int, data_dir: Path) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(
        Settings(
            port=port,
            data_dir=data_dir,
            sandbox_port=free_port(),
            redis_url="redis://127.0.0.1:1",
            database_url="postgresql://127.0.0.1:1/none",
            jwt_secret=JWT_SECRET,
            webhook_secret=WEBHOOK_SECRET,
        )
    )
    try:
        await sandbox.start()
        yield sandbox
    finally:
        await sandbox.close()


@pytest.fixture(scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Sandbox, Listener]]:
    port = free_port()
    async with listening(port) as listener, sandbox_for(port, tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox, listener


@pytest.fixture
async def listener(both: tuple[Sandbox, Listener]) -> Listener:
    both[1].got.clear()
    both[1].answer = lambda _: 200
    return both[1]


@pytest.fixture
async def sandbox(both: tuple[Sandbox, Listener], listener: Listener) -> Sandbox:
    await both[0].trouble()
    return both[0]


# -- payments in


async def test_a_payment_is_told_by_one_signed_callback(sandbox: Sandbox, listener: Listener) -> None:
    assert await sandbox.pay("A1") == (200, 200, {"code": "paid"})
    [(raw, headers)] = listener.got
    Signatures(WEBHOOK_SECRET).verify(raw, headers)
    assert msgspec.json.decode(raw) == {
        "order_no": "A1",
        "extra": {
            "amount": 100,
            "buyerId": "open-1",
            "notify_time": f"{DAY_OF_AT} 20:00:00",
            "content": "clock stake",
            "transactionId": "SA10",
        },
    }


async def test_paying_again_says_the_same_and_again_on_purpose_is_another_transaction(
    sandbox: Sandbox, listener: Listener
) -> None:
    for _ in range(2):
        await sandbox.pay("A2")
    await sandbox.pay("A2", again=True)
    told = [msgspec.json.decode(raw)["extra"]["transactionId"] for raw, _ in listener.got]
    assert told == ["SA20", "SA20", "SA21"]
    assert sorted(line.no for line in await sandbox.lines() if line.order_no == "A2") == ["SA20", "SA21"]


async def test_a_callback_is_sent_again_until_it_is_answered_2xx(sandbox: Sandbox, listener: Listener) -> None:
    listener.answer = lambda count: (500, 404, 204)[min(count, 2)]
    assert (await sandbox.pay("A3"))[1] == 500
    await listener.wait_for(3)
    await asyncio.sleep(0.3)
    assert len(listener.got) == 3
    assert len({raw for raw, _ in listener.got}) == 1
    for raw, headers in listener.got:
        Signatures(WEBHOOK_SECRET).verify(raw, headers)


async def test_orders_are_known_by_what_became_of_them(sandbox: Sandbox) -> None:
    assert (await sandbox.ask("query_order", order_no="A4"))[0] == 404
    assert await sandbox.ask("close_order", order_no="A4") == (200, {"state": "closed"})
    assert await sandbox.ask("query_order", order_no="A4") == (200, {"state": "closed"})
    assert (await sandbox.pay("A4"))[0] == 409
    await sandbox.pay("A5")
    for action in ("query_order", "close_order"):  # closing an order that turns out to be paid says so
        status, reply = await sandbox.ask(action, order_no="A5")
        assert (status, reply["state"], reply["payment"]["transactionId"]) == (200, "paid", "SA50")
    found = await sandbox.channel.query_order("A5")
    assert found.payment is not None
    assert (found.state, found.payment.order_no, found.payment.extra.amount) == ("paid", "A5", 100)
    assert (await sandbox.channel.query_order("unheard")).state == "unpaid"


# -- money out


async def test_a_number_moves_money_once_and_for_one_thing_only(sandbox: Sandbox) -> None:
    done = (200, {"state": "done", "reason": ""})
    assert [await sandbox.transfer("P1") for _ in range(3)] == [done] * 3
    assert await sandbox.ask("query_transfer", transfer_no="P1") == done
    conflict = (200, {"state": "failed", "reason": "the number was used for something else"})
    assert await sandbox.transfer("P1", amount=101) == conflict
    assert await sandbox.ask("transfer", transfer_no="P1", openId="open-2", amount=100) == conflict
    assert await sandbox.transfer("P1") == done
    assert [line.amount_fen for line in await sandbox.lines() if line.no == "P1"] == [100]
    assert (await sandbox.ask("query_transfer", transfer_no="P-unheard"))[0] == 404
    assert (await sandbox.ask("query_refund", refund_no="R-unheard"))[0] == 404


async def test_no_more_is_refunded_than_was_paid(sandbox: Sandbox) -> None:
    await sandbox.pay("B1")
    assert (await sandbox.refund("R1", "B1", 60))[1]["state"] == "done"
    assert (await sandbox.refund("R1", "B1", 60))[1]["state"] == "done"
    more = {"state": "failed", "reason": "more than was paid"}
    assert (await sandbox.refund("R2", "B1", 41))[1] == more
    assert (await sandbox.refund("R1", "B1", 61))[1]["state"] == "failed"
    assert (await sandbox.refund("R3", "B1", 40))[1]["state"] == "done"
    for number, order, transaction in (("R4", "B-unpaid", ""), ("R5", "B1", "SB-other")):
        assert (await sandbox.refund(number, order, 1, transaction))[1]["reason"] == "no such payment"
    assert (
        sum(line.amount_fen for line in await sandbox.lines() if line.kind == "refund" and line.order_no == "B1") == 100
    )


async def test_the_bill_has_every_movement_of_its_day_and_nothing_else(sandbox: Sandbox) -> None:
    await sandbox.pay("C1", buyerId="open-7")
    await sandbox.pay("C2", at_ms=at("23:59") + 59_999)
    await sandbox.pay("C3", at_ms=at("00:00", 1))
    await sandbox.refund("RC1", "C1", 30)
    await sandbox.transfer("PC1", 70)
    own = {"SC10", "SC20", "SC30", "RC1", "PC1", "PC2"}
    payments = {line.no: line for line in await sandbox.channel.bill(DAY_OF_AT) or [] if line.kind == "payment"}
    assert own & payments.keys() == {"SC10", "SC20"}
    assert payments["SC10"] == BillLine("payment", "SC10", "C1", 100, AT, "open-7")
    await sandbox.trouble(lapses=1, processing_ms=0)
    await sandbox.transfer("PC2")
    moved = {line.no: line for line in await sandbox.lines() if line.kind != "payment"}
    assert own & moved.keys() == {"RC1", "PC1"}  # what failed is not billed
    assert (moved["RC1"].order_no, moved["RC1"].amount_fen, moved["PC1"].amount_fen) == ("C1", 30, 70)
    assert await sandbox.channel.bill("2019-01-01") == []


async def test_calls_that_are_not_signed_well_are_refused_and_do_nothing(sandbox: Sandbox) -> None:
    body: dict[str, Any] = {"transfer_no": "P-stranger", "openId": "open-1", "amount": 100}
    assert await sandbox.ask("transfer", secret="", **body) == (401, {"error": "bad signature"})
    assert (await sandbox.ask("transfer", secret=STRANGER, **body))[0] == 401
    # what was signed for one action is not good for another
    status, _ = await sandbox.ask("query_transfer", path="transfer", **body)
    assert status == 400
    assert (await sandbox.ask("query_transfer", transfer_no="P-stranger"))[0] == 404


# -- kill -9


async def test_what_was_promised_survives_a_kill(tmp_path: Path) -> None:
    port = free_port()
    async with sandbox_for(port, tmp_path) as sandbox:
        status, callback, _ = await sandbox.pay("D1")
        assert (status, callback) == (200, 0)  # nobody listens
        await sandbox.pay("D2")
        await sandbox.transfer("PD1", 70)
        await sandbox.refund("RD1", "D2")
        await sandbox.trouble(processing=1, processing_ms=1)
        await sandbox.transfer("PD2", 80)
        await sandbox.ask("close_order", order_no="D3")
        before = sorted(await sandbox.lines(), key=lambda line: line.no)
        assert await sandbox.end(signal.SIGKILL) == -signal.SIGKILL
        async with listening(port) as listener:
            await sandbox.start()
            await listener.wait_for(2)  # what nobody was told yet is told now
            assert {msgspec.json.decode(raw)["order_no"] for raw, _ in listener.got} == {"D1", "D2"}
        after = sorted(await sandbox.lines(), key=lambda line: line.no)
        assert [line for line in after if line.no != "PD2"] == [line for line in before if line.no != "PD2"]
        assert "PD2" in {line.no for line in after}
        assert (await sandbox.transfer("PD1", 70))[1]["state"] == "done"
        assert (await sandbox.transfer("PD1", 71))[1]["state"] == "failed"
        assert (await sandbox.pay("D3"))[0] == 409
        assert await sandbox.end(signal.SIGTERM) == 0


# -- trouble


async def test_twice(sandbox: Sandbox, listener: Listener) -> None:
    await sandbox.trouble(callback_twice=1)
    await sandbox.pay("E1")
    [(one, _), (other, _)] = listener.got
    assert one == other


async def test_lost(sandbox: Sandbox, listener: Listener) -> None:
    await sandbox.trouble(callback_lost=1)
    assert (await sandbox.pay("E2"))[1] == 0
    await asyncio.sleep(0.7)  # the first retry would have come
    assert listener.got == []
    assert (await sandbox.channel.query_order("E2")).state == "paid"


async def test_delayed_callbacks_arrive_later_and_out_of_order(sandbox: Sandbox, listener: Listener) -> None:
    await sandbox.trouble(callback_delay_ms=300)
    numbers = [f"E3{n:02}" for n in range(12)]
    started = time.monotonic()
    await asyncio.gather(*(sandbox.pay(number) for number in numbers))
    assert 0.1 < time.monotonic() - started < 5
    arrived = [msgspec.json.decode(raw)["order_no"] for raw, _ in listener.got]
    assert sorted(arrived) == numbers
    assert arrived != numbers


async def test_time_out_before_has_done_nothing_and_time_out_after_has_done_it(sandbox: Sandbox) -> None:
    for knob, known in (("time_out_before", "not_found"), ("time_out_after", "done")):
        await sandbox.trouble(**{knob: 1})
        assert (await sandbox.channel.transfer(f"P-{knob}", "open-1", 100)).state == "unknown"
        await sandbox.trouble()
        assert (await sandbox.channel.query_transfer(f"P-{knob}")).state == known


async def test_processing_takes_its_time_and_then_is_done(sandbox: Sandbox) -> None:
    await sandbox.trouble(processing=1, processing_ms=400)
    assert (await sandbox.channel.transfer("P-slow", "open-1", 100)).state == "processing"
    assert (await sandbox.channel.transfer("P-slow", "open-1", 100)).state == "processing"
    assert "P-slow" not in {line.no for line in await sandbox.lines()}
    await asyncio.sleep(0.45)
    assert (await sandbox.channel.query_transfer("P-slow")).state == "done"
    assert "P-slow" in {line.no for line in await sandbox.lines()}


async def test_a_transfer_lapses_and_a_refund_does_not(sandbox: Sandbox) -> None:
    await sandbox.pay("E6")
    await sandbox.trouble(lapses=1, processing_ms=0)
    await sandbox.transfer("P-lapses")
    result = await sandbox.channel.query_transfer("P-lapses")
    assert (result.state, result.reason) == ("failed", "lapsed")
    assert (await sandbox.transfer("P-lapses"))[1] == {"state": "failed", "reason": "lapsed"}
    assert (await sandbox.refund("R-does-not", "E6"))[1]["state"] == "done"


async def test_trouble_with_a_seed_is_the_same_trouble_again(sandbox: Sandbox) -> None:
    async def play() -> list[str]:
        await sandbox.trouble(time_out_before=0.5, seed=7)
        return [(await sandbox.channel.query_transfer(f"P-seed-{n}")).state for n in range(12)]

    first = await play()
    assert set(first) == {"unknown", "not_found"}
    assert await play() == first


async def test_a_provider_that_is_not_there_has_certainly_done_nothing() -> None:
    channel = Platform(f"http://127.0.0.1:{free_port()}", WEBHOOK_SECRET)
    assert (await channel.transfer("P1", "open-1", 100)).state == "again"
    assert (await channel.query_order("A1")).state == "unknown"
    assert await channel.bill(DAY_OF_AT) is None
    await channel.close()


async def test_the_service_refuses_what_is_forged_and_takes_what_is_not(api: Api, tmp_path: Path) -> None:
    """The real service takes the callbacks; each arrives twice, and before it comes its forgery."""
    people = People(api.service)
    await people.join(1)
    async with sandbox_for(api.settings.port, tmp_path) as sandbox:
        await sandbox.trouble(callback_forged=1, callback_twice=1)

        async def refused() -> float:
            async with api.session.get(f"{api.url}/metrics") as reply:
                lines = (await reply.text()).splitlines()
            return sum(float(line.rpartition(" ")[2]) for line in lines if "bad_signature" in line and "_total" in line)

        before = await refused()
        status, callback, reply = await sandbox.pay(people.orders[1], at_ms=AT)
        assert (status, callback, reply["code"]) == (200, 200, "paid")
        assert await refused() == before + 1
        await people.drain()
        assert len(await people.rows("SELECT * FROM payments")) == 1
        assert await people.rows("SELECT * FROM quarantine") == []
