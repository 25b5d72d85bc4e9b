"""A double as a process."""

import asyncio
import signal
from urllib.parse import urlsplit

from aiohttp import web

from clock import logs
from clock.config import BadSetting, Settings
from clock.dev.providers.alipay_bills import AlipayDouble
from clock.dev.providers.double import Double
from clock.dev.providers.platform import PlatformDouble
from clock.dev.providers.wechat_bills import WechatDouble
from clock.runtime.directory import alipay_keys, wechat_keys
from clock.runtime.supervise import double_urls, page


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


def _double(settings: Settings, provider: str) -> Double:
    data_dir = settings.data_dir
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
        raise BadSetting(
            f"the double of {provider} needs CLOCK_ENV=dev and CLOCK_{provider.upper()}_URL=http://127.0.0.1:PORT"
        )
    return port
