"""What the doubles refuse, and what they repeat: as the providers do, whoever asks."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from wechatpayv3 import WeChatPay, WeChatPayType

from clock.config import Settings
from clock.dev.providers import wechat_seal
from clock.runtime.directory import with_dev_secrets
from clock.runtime.ports import free_port
from clock.runtime.supervise import double_urls, environment, plan, with_doubles
from tests.conftest import at, settings_over
from tests.flow.providers.merchants import ORDERS, Merchant


class Ear:
    """Where notifications arrive; refuses them until it is told to take them."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.takes = True

    async def hear(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=204 if self.takes else 500)

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(ear: Ear, port: int) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/callbacks/wechat", ear.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_what_is_not_signed_well_is_refused_and_does_nothing(merchant: Merchant) -> None:
    order = merchant.order("A00001")
    assert (await merchant.asks("POST", ORDERS, order, signed=False))[0] == 401
    other = msgspec.json.encode(merchant.order("A00002"))
    assert (await merchant.asks("POST", ORDERS, order, sent=other))[0] == 401
    stale = wechat_seal.STALE_SECONDS + 5
    assert (await merchant.asks("POST", ORDERS, order, old_s=stale))[0] == 401
    assert await merchant.pays("A00001") == 409
    query = f"/v3/pay/transactions/out-trade-no/A00001?mchid={merchant.keys.mchid}"
    assert (await merchant.asks("GET", query))[1]["code"] == "ORDER_NOT_EXIST"


async def test_an_order_is_made_again_as_it_was_and_not_otherwise(merchant: Merchant) -> None:
    first = await merchant.asks("POST", ORDERS, merchant.order("B00001"))
    assert first[0] == 200
    assert await merchant.asks("POST", ORDERS, merchant.order("B00001")) == first
    for changes in ({"description": "晚起"}, {"time_expire": "2026-11-23T00:00:01+08:00"}):
        status, reply = await merchant.asks("POST", ORDERS, merchant.order("B00001", **changes))
        assert (status, reply["code"]) == (400, "268498688")
    wrong: list[dict[str, Any]] = [{"attach": None}, {"unknown": 1}, {"notify_url": f"{merchant.notify_url}?a=1"}]
    for change in wrong:
        status, reply = await merchant.asks("POST", ORDERS, merchant.order("B00002", **change))
        assert (status, reply["code"]) == (400, "PARAM_ERROR")
    assert await merchant.pays("B00001", buyerId="open-2") == 409
    assert await merchant.pays("B00001", at_ms=at("00:00", 1) + 120_000) == 409
    assert await merchant.pays("B00001") == 200
    assert (await merchant.asks("POST", ORDERS, merchant.order("B00001")))[1]["code"] == "ORDERPAID"
    close = "/v3/pay/transactions/out-trade-no/B00001/close"
    assert (await merchant.asks("POST", close, {"mchid": merchant.keys.mchid}))[1]["code"] == "ORDER_PAID"


async def test_an_independent_library_reads_its_notifications_and_refuses_the_probes(
    merchant: Merchant, apart: Settings
) -> None:
    keys, ear = merchant.keys, Ear()
    reader = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=keys.mchid,
        private_key=keys.merchant_private_key,
        cert_serial_no=keys.serial,
        appid=keys.appid,
        apiv3_key=keys.api_v3_key,
        public_key=keys.provider_public_key,
        public_key_id=keys.key_id,
    )
    async with listening(ear, apart.port):
        await merchant.asks("POST", ORDERS, merchant.order("C00001"))
        async with merchant.session.put(f"{merchant.url}/trouble", json={"signtest": 1, "callback_forged": 1}) as reply:
            assert reply.status == 200
        assert await merchant.pays("C00001") == 200
        await ear.heard(3)
    *bad, (headers, raw) = ear.got
    said = reader.callback(headers, raw)
    assert (said["event_type"], said["resource"]["out_trade_no"]) == ("TRANSACTION.SUCCESS", "C00001")
    assert said["resource"]["amount"]["total"] == 100
    assert len(bad) == 2
    for headers, raw in bad:
        assert not reader.callback(headers, raw)


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_in_development_the_channel_has_a_double_unless_a_merchant_is_named(tmp_path: Path, channel: Any) -> None:
    nowhere = settings_over("redis://127.0.0.1:9", "postgresql://127.0.0.1:9/none", tmp_path, channel=channel)
    found = with_doubles(nowhere)
    assert found.public_url == f"http://127.0.0.1:{nowhere.port}"
    url = {"wechat": found.wechat_url, "alipay": found.alipay_url}[channel]
    assert url.startswith("http://127.0.0.1:")
    real = msgspec.structs.replace(nowhere, wechat_mchid="1234567890", alipay_app_id="1")
    untouched = with_doubles(real)
    assert (untouched.wechat_url, untouched.alipay_url) == (real.wechat_url, real.alipay_url)
    assert double_urls(untouched) == {}
    assert [child.name for child in plan(untouched).children] == ["sandbox", "api", "worker"]


def test_a_double_that_was_here_comes_again(tmp_path: Path) -> None:
    nowhere = settings_over("redis://127.0.0.1:9", "postgresql://127.0.0.1:9/none", tmp_path)
    assert double_urls(with_dev_secrets(with_doubles(nowhere))) == {}
    before = with_dev_secrets(with_doubles(msgspec.structs.replace(nowhere, channel="wechat")))
    after = with_dev_secrets(with_doubles(nowhere))
    assert list(double_urls(before)) == list(double_urls(after)) == ["wechat"]
    assert after.wechat_private_key == before.wechat_private_key


def test_the_plan_has_the_double_beside_the_others(apart: Settings) -> None:
    names = {child.name: child for child in plan(apart).children}
    assert list(names) == ["wechat", "api", "worker"]
    assert names["wechat"].ready_url == f"{apart.wechat_url}/healthz"


async def test_a_killed_double_has_lost_nothing_and_tells_what_it_had_not_told(apart: Settings, keys: Path) -> None:
    settings, ear = msgspec.structs.replace(apart, data_dir=keys, port=free_port()), Ear()
    ear.takes = False
    (keys / "wechat.sqlite").unlink(missing_ok=True)

    async def start(session: aiohttp.ClientSession) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "clock", "sandbox", "wechat"], env=environment(settings))
        async with asyncio.timeout(30):
            while True:
                try:
                    async with session.get(f"{settings.wechat_url}/healthz"):
                        return process
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)

    async with listening(ear, settings.port), aiohttp.ClientSession() as session:
        process = await start(session)
        try:
            notify_url = f"http://127.0.0.1:{settings.port}/callbacks/wechat"
            merchant = Merchant(session, settings.wechat_url, keys, notify_url)
            assert (await merchant.asks("POST", ORDERS, merchant.order("D00001")))[0] == 200
            assert await merchant.pays("D00001") == 200
            assert len(ear.got) >= 1
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            ear.got.clear()
            ear.takes = True
            process = await start(session)
            await ear.heard(1)  # the payment is there, and is told again
            query = f"/v3/pay/transactions/out-trade-no/D00001?mchid={merchant.keys.mchid}"
            assert (await merchant.asks("GET", query))[1]["trade_state"] == "SUCCESS"
        finally:
            process.terminate()
            assert await asyncio.to_thread(process.wait) == 0
