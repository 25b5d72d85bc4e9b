"""Rounds with a beacon, whose relay is the double over HTTP, on the clock of the round's service."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from clock.audit.manifest import compare_packets
from clock.audit.report import Report
from clock.config import Settings
from clock.dev.beacon import BeaconDouble, BeaconTrouble, Does
from clock.fair.statements import drawn_from
from clock.http.players import public
from clock.proofs import statements
from clock.proofs.statements import Written
from clock.rounds import recorded
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import CROWD, audited, play, row_of, stop
from tests.model.world import new_world, service_with

KEY = bytes(range(32))
LATEST = 1 << 40
"""A draw of long after any round."""

PATIENCE_MS = 1_800_000


class Relay:
    """A relay and its chain, which has every draw. ``url``: where it listens."""

    def __init__(self, key: bytes = KEY) -> None:
        self.url = ""
        self.asked: Callable[[], object] = lambda: None
        """Called when it is asked for something."""
        self.double = BeaconDouble(key, now_ms=self._now_ms)

    def _now_ms(self) -> int:
        self.asked()
        return self.double.chain.instant_ms(LATEST)

    def does(self, does: Does) -> None:
        self.double.trouble = BeaconTrouble(does=does)

    @property
    def settings(self) -> dict[str, Any]:
        """Those that name it; in production no chain but quicknet is taken."""
        return {"env": "dev", "beacon": self.double.info, "beacon_relays": self.url}


@asynccontextmanager
async def relay(key: bytes = KEY) -> AsyncIterator[Relay]:
    made = Relay(key)
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
    async with new_world(settings, **{"shards": 2, **relay.settings, **rules}) as service:
        yield service


@asynccontextmanager
async def another(settings: Settings, living: Service, **changes: Any) -> AsyncIterator[Service]:
    """Another process, at the same time of the game."""
    async with service_with(settings, **{"env": "dev", "shards": 2, **changes}) as service:
        service.time.setting = living.time.setting
        yield service


async def sealed(service: Service, at_ms: int | None = None) -> int:
    """Play, and settle as far as can be at this instant, or as soon as check-in has closed; when the draw is out."""
    await play(service, DAY, CROWD)
    stop(service, DAY, "08:00", 5_000)
    if at_ms is not None:
        service.time.stop_at(at_ms)
    assert await service.settling.settle(DAY) == "not_due"
    row = await row_of(service, DAY)
    assert row["state"] == "sealed"
    return int(row["draw_ms"])


async def out_ms(service: Service) -> int:
    """When the draw of the round is out."""
    return int((await row_of(service, DAY))["draw_ms"])


async def tick(service: Service, at_ms: int) -> str:
    """What a worker does at this instant."""
    service.time.stop_at(at_ms)
    return await service.settling.settle(DAY)


async def settle_at_last(service: Service) -> dict[str, Any]:
    """The row, after checking that sums, packets and statements agree."""
    stop(service, DAY, "08:05")
    assert await service.settling.settle(DAY) == "settled"
    return await proved(service)


async def proved(service: Service) -> dict[str, Any]:
    row, said = await audited(service, DAY), await said_of(service)
    signature = b"" if row["draw"] in ("missing", "late") else bytes.fromhex(row["draw"])
    drawn = drawn_from(row["seed"], signature, said.texts["closed"])
    assert row["drawn"] == drawn == bytes.fromhex(said.published.drawn)
    assert said.published.beacon == row["draw"]
    assert await differences(service) == []
    return row


async def expect_equal(service: Service, why: str) -> None:
    """The settled round says why it was split equal, and that this is not proved."""
    row, said = await proved(service), await said_of(service)
    assert (row["draw"], said.published.beacon, said.published.split) == (why, why, "equal")
    assert row["largest_fen"] - row["smallest_fen"] <= 1
    assert await missing(service) == ["draw", "witnesses"]


async def said_of(service: Service) -> Written:
    return await statements.find(service.store, DAY)


async def missing(service: Service) -> list[str]:
    """What the public answer says is not proved."""
    words: list[str] = (await public.proof(service, DAY)).data["missing"]
    return words


async def differences(service: Service) -> list[str]:
    """What a comparison of the books finds in what was drawn."""
    round_ = await recorded.find(service.store, DAY)
    assert round_ is not None
    report = Report(day=DAY.isoformat())
    await compare_packets(service, round_, list(round_.shards), report)
    return [f"{one.what}: {one.subject}" for one in report.differences]
