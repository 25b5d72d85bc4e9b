"""A double as a process."""

import asyncio
import signal
from urllib.parse import urlsplit

from aiohttp import web

from clock import logs
from clock.config import BadSetting, Settings
from clock.dev.beacon import BeaconDouble, real_ms
from clock.dev.providers.alipay_bills import AlipayDouble
from clock.dev.providers.double import Double
from clock.dev.providers.platform import PlatformDouble
from clock.dev.providers.wechat_bills import WechatDouble
from clock.runtime.directory import BEACON_DOUBLE, alipay_keys, beacon_key, wechat_keys
from clock.runtime.supervise import double_urls, page

AHEAD_MS = 10 * 365 * 86_400_000
"""The game's clock can be moved in development, and the beacon's double does not hear of it: it has every draw of the
next years."""


async def serve(settings: Settings, provider: str) -> None:
    """Listen on 127.0.0.1 until SIGTERM or SIGINT."""
    logs.configure("sandbox" if provider == "platform" else provider)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    port = settings.sandbox_port if provider == "platform" else _port_of(settings, provider)
    runner = web.AppRunner(_double(settings, provider).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
    await runner.cleanup()


def _double(settings: Settings, provider: str) -> Double | BeaconDouble:
    data_dir = settings.data_dir
    if provider == "beacon":
        return BeaconDouble(beacon_key(data_dir), BEACON_DOUBLE, lambda: real_ms() + AHEAD_MS)
    if provider == "wechat":
        return WechatDouble(data_dir / "wechat.sqlite", wechat_keys(data_dir))
    if provider == "alipay":
        return AlipayDouble(data_dir / "alipay.sqlite", alipay_keys(data_dir))
    callback_url = f"{page(settings)}callbacks/platform"
    return PlatformDouble(data_dir / "sandbox.sqlite", callback_url, settings.webhook_secret, settings.timezone)


def _port_of(settings: Settings, provider: str) -> int:
    url = double_urls(settings).get(provider, "")
    port = urlsplit(url).port
    if not port:
        name = "BEACON=double and CLOCK_BEACON_RELAYS" if provider == "beacon" else f"{provider.upper()}_URL"
        raise BadSetting(f"the double of {provider} needs CLOCK_ENV=dev and CLOCK_{name}=http://127.0.0.1:PORT")
    return port
