"""Relays of a chain that is made here, in the test's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from clock.beacon.relays import Beacon
from clock.dev.beacon import BeaconDouble, BeaconTrouble, Does

NUMBER = 1_000
KEY = bytes(range(32))


def double(does: Does = "answer", ahead_ms: int = 0) -> BeaconDouble:
    """A relay by whose clock the draw of this number came so long ago."""
    made = BeaconDouble(KEY, now_ms=lambda: made.chain.instant_ms(NUMBER) + ahead_ms)
    made.trouble = BeaconTrouble(does=does)
    return made


@asynccontextmanager
async def serving(*doubles: BeaconDouble) -> AsyncIterator[Beacon]:
    """The chain of the first one, and the relays in this order."""
    runners = [web.AppRunner(one.app(), access_log=None, handler_cancellation=True) for one in doubles]
    urls = []
    try:
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield Beacon(doubles[0].chain, tuple(urls))
    finally:
        for runner in runners:
            await runner.cleanup()


def described(**changes: object) -> str:
    """The double's description, as ``CLOCK_BEACON`` takes it, with these values instead."""
    return msgspec.json.encode(msgspec.json.decode(double().info) | changes).decode()
