"""One signed question to each payment provider: at the start, and for ``clock channel check``."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import structlog

from clock.channels import Channel, Silent
from clock.config import BadSetting, Settings
from clock.service import channels_of

ANSWER_SECONDS = 5.0
"""How long a provider is waited for at the start."""

HOST = "platform"
"""Its other side is a host of ours, which may start after us: it is not asked at the start."""

log = structlog.get_logger()


@asynccontextmanager
async def channels_here(settings: Settings) -> AsyncIterator[Mapping[str, Channel]]:
    """The channels of these settings, for a question each. Raises :class:`BadSetting` for keys that do not fit."""
    channels = channels_of(settings, _at_once)
    try:
        yield channels
    finally:
        for channel in channels.values():
            await channel.close()


async def check_channel(settings: Settings, name: str) -> list[str]:
    """What works, in sentences. Raises :class:`BadSetting` or :class:`Silent` with what does not."""
    async with channels_here(settings) as channels:
        if name not in channels:
            raise BadSetting(f"there is no channel {name} here: its settings are CLOCK_{name.upper()}_…")
        return await channels[name].check()


async def require_channels(channels: Mapping[str, Channel]) -> None:
    """Raises :class:`BadSetting` where a provider says that the settings are wrong. One that does not answer, or not so
    that it can be verified, is logged: orders, and money that is owed, wait for it."""
    await asyncio.gather(*(_require(channel) for name, channel in channels.items() if name != HOST))


async def _require(channel: Channel) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            said = await channel.check()
    except TimeoutError:
        log.warning("channel_not_checked", channel=channel.name, reason=f"no answer within {ANSWER_SECONDS:.0f} s")
    except Silent as error:
        log.warning("channel_not_checked", channel=channel.name, reason=str(error))
    else:
        log.info("channel_checked", channel=channel.name, said=said)


async def _at_once(endpoint: str, per_second: float) -> None:
    """One question needs no limit that other processes share."""
