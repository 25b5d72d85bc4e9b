"""The parts of a process, put together once: connections, clock, game, payments, settlement."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from clock.beacon.settings import beacons_of
from clock.books.store import ANSWER_SECONDS, Store
from clock.channels import Channel, Wait
from clock.channels.alipay import Alipay
from clock.channels.platform import Platform
from clock.channels.wechat import WeChat
from clock.config import BadSetting, Settings
from clock.game import keys
from clock.game.asking import Asking
from clock.game.client.calls import connect
from clock.game.flags import Flags
from clock.game.gametime import GameTime, MovedTime
from clock.game.home import Home
from clock.game.limits import Limits
from clock.game.profiles import Profiles
from clock.game.receipts import Receipts
from clock.game.touching import Touching
from clock.game.verbs import Verbs
from clock.payments.incoming import Incoming
from clock.payments.paying import Paying
from clock.payments.questions import Questions
from clock.payments.withdrawals import Withdrawals
from clock.proofs.receipts import salt_key_of
from clock.proofs.statements import Signing
from clock.rounds.announcing import Announcing
from clock.rounds.clocks import Clocks
from clock.rounds.drawing import Drawing
from clock.rounds.ending import Ending
from clock.rounds.extending import Extending
from clock.rounds.finishing import Finishing
from clock.rounds.opening import Opener
from clock.rounds.planning import Planning
from clock.rounds.recorded import Recorded, recorded
from clock.rounds.reminders import Reminders
from clock.rounds.settling import Settling
from clock.rounds.standings import Standings
from clock.rounds.voiding import Voiding
from clock.tlog.settings import witnesses_of
from clock.tlog.witnessing import Witnessing
from clock.tokens import Tokens


class Service:
    """Everything that a process of the service works with."""

    def __init__(self, settings: Settings, *, answer_seconds: float | None = ANSWER_SECONDS) -> None:
        """``answer_seconds``: how long whoever asks waits for Postgres; None where nobody does, and work takes as long
        as it needs."""
        self.settings = settings
        self.redis = connect(settings.redis_url, replicated=settings.durability == "replica")
        self.store = Store(settings.database_url, answer_seconds, tells=bool(settings.events_url))
        self.time = GameTime(settings.skew_ms)
        self.moved = MovedTime(self.redis, self.time) if settings.env == "dev" else None
        self.tokens = Tokens(settings)
        self.signing = Signing(settings.statement_key)
        self.witnessing = Witnessing(self.store, self.signing, witnesses_of(settings))
        self.opener = Opener(settings, self.store, self.redis, self.time, self.signing)
        self.channels = channels_of(settings, Limits(self.redis, self.time).wait)
        self.planning = Planning(settings, self.store, self.channels.values())
        self.asking = Asking(settings, self.redis, self.time, self.opener)
        self.touching = Touching(self.asking, self.redis, always=settings.env == "dev")
        self.flags = Flags(self.asking.batcher, self.opener)
        profiles = Profiles(self.asking)
        self.receipts = Receipts(self.signing.first, partial(salt_key_of, self.store), self.time)
        self.verbs = Verbs(self.asking, profiles, self.receipts)
        self.home = Home(self.asking, self.flags, profiles)
        self.incoming = Incoming(self.asking, self.redis, self.opener, self.receipts)
        self.paying = Paying(self.asking, self.incoming, self.channels)
        self.questions = Questions(self.store, self.asking, self.incoming, self.channels)
        self.reminders = Reminders(settings, self.store, self.redis, self.time)
        self.announcing = Announcing(settings, self.store)
        self.clocks = Clocks(self.store, self.redis, self.time, settings.skew_ms)
        self.withdrawals = Withdrawals(settings, self.store, self.channels, self.clocks.agreed_now_ms)
        self.ending = ending = Ending(self.store, self.redis, self.time, self.clocks, self.opener)
        self.standings = Standings(ending)
        self.drawing = Drawing(self.store, self.redis, self.clocks, beacons_of(settings))
        self.settling = Settling(ending, self.questions, self.standings, self.signing, self.drawing)
        self.voiding = Voiding(ending, self.standings, self.signing)
        self.extending = Extending(ending)
        self.finishing = Finishing(ending, self.standings)
        self.looks: dict[str, asyncio.Future[Any]] = {}
        """Looks at the servers, by name; see :mod:`clock.operators.looks`."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect, learn the time, keep it in step. Servers that do not answer yet are waited for in use."""
        await self.store.open()
        with suppress(RedisError, OSError):
            if self.moved:
                await self.moved.follow_once()
            await self.time.sync(self.redis)
            await self.redis.open()
        self._tasks.append(asyncio.create_task(self.time.keep_in_sync(self.redis)))
        if self.moved:
            self._tasks.append(asyncio.create_task(self.moved.follow()))

    async def stop(self) -> None:
        """Answer what was accepted, then let go."""
        await self.asking.batcher.drain()
        await end(self._tasks)
        await asyncio.gather(*self.looks.values(), return_exceptions=True)
        for channel in self.channels.values():
            await channel.close()
        await self.reminders.close()
        await self.announcing.close()
        await self.store.close()
        await self.redis.aclose()


def channels_of(settings: Settings, wait: Wait) -> dict[str, Channel]:
    """The channels that the settings have. Raises :class:`BadSetting` for keys that do not fit."""
    platform = Platform(settings.platform_url, settings.webhook_secret, settings.timezone)
    channels: dict[str, Channel] = {"platform": platform}
    if settings.wechat_mchid:
        channels["wechat"] = WeChat(settings, wait)
    if settings.alipay_app_id:
        channels["alipay"] = Alipay(settings, wait)
    if settings.channel not in channels:
        raise BadSetting(f"CLOCK_CHANNEL={settings.channel} has no settings: CLOCK_{settings.channel.upper()}_…")
    return channels


async def end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel them until they have ended: before Python 3.12 ``asyncio.wait_for`` may swallow a cancellation."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.5)


async def live_rounds(service: Service) -> list[Recorded]:
    """Rounds whose keys may still be in Redis, oldest first; a day more, for what is written at the last moment."""
    found = await service.store.all("live_rounds", keep_seconds=keys.KEEP_MS // 1000 + 86_400)
    return [recorded(row) for row in found]


def require_secrets(settings: Settings) -> None:
    """Raises :class:`BadSetting` where a secret is missing."""
    if not settings.redis_url:
        raise BadSetting("CLOCK_REDIS_URL is required")
    if not settings.database_url:
        raise BadSetting("CLOCK_DATABASE_URL is required")
    if not (settings.jwt_secret or settings.jwt_public_key):
        raise BadSetting("CLOCK_JWT_SECRET or CLOCK_JWT_PUBLIC_KEY is required")
    if not settings.webhook_secret:
        raise BadSetting("CLOCK_WEBHOOK_SECRET is required")
    if not settings.statement_key:
        raise BadSetting("CLOCK_STATEMENT_KEY is required: clock statement-key NAME makes one")
    if settings.jwt_secret and len(settings.jwt_secret.encode()) < 32:
        raise BadSetting("CLOCK_JWT_SECRET must be at least 32 bytes (RFC 7518, 3.2)")
    Tokens(settings)
