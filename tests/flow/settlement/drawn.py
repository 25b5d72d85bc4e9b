"""Rounds with a beacon, whose relay is the double over HTTP, on the clock of the round's service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from clock.config import Settings
from clock.dev.beacon import BeaconDouble, BeaconTrouble, Does
from clock.service import Service
from tests.model.world import forgetful, new_world

KEY = bytes(range(32))
OUT = "08:03"
"""When the draw of a round is out by the usual rules."""


class Relay:
    """A relay and its chain. ``now_ms``: its clock; ``url``: where it listens."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.url = ""
        self.double = BeaconDouble(KEY, now_ms=lambda: self.now_ms)

    def does(self, does: Does) -> None:
        self.double.trouble = BeaconTrouble(does=does)

    @property
    def settings(self) -> dict[str, Any]:
        """Those that name it."""
        return {"beacon": self.double.info, "beacon_relays": self.url}


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """One that has every draw."""
    made = Relay()
    made.now_ms = made.double.chain.instant_ms(1 << 40)
    runner = web.AppRunner(made.double.app(), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def drawing_world(settings: Settings, relay: Relay, **rules: Any) -> AsyncIterator[Service]:
    """An emptied world whose rounds have the relay's beacon; its clock is moved by the test alone."""
    async with (
        forgetful(settings),
        new_world(settings, env="dev", **relay.settings, **{"shards": 2, **rules}) as service,
    ):
        yield service
