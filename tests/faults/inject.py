"""Carries out a phase's faults, at their seconds, and counts them."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable

import aiohttp
import msgspec

from clock.dev.providers.alipay import AlipayTrouble
from clock.dev.providers.double import Trouble
from clock.dev.providers.wechat import WechatTrouble
from tests.faults.crowd import Client
from tests.faults.schedule import Fault
from tests.faults.stack import Stack
from tests.faults.valkeys import SixNodes

DRAIN_S = 60.0

TROUBLES: dict[str, type[Trouble]] = {"platform": Trouble, "wechat": WechatTrouble, "alipay": AlipayTrouble}

OF_A_CHANNEL = {
    "wechat": {
        "old_key": "0.5",
        "signtest": "0.2",
        "busy": "0.2",
        "coupon": "0.2",
        "unsigned": "0.1",
        "not_enough": "0.1",
    },
    "alipay": {"fund_change_n": "0.3", "system_error": "0.1", "unsigned": "0.1", "not_enough": "0.1"},
}
"""What its double suffers besides."""

REBUILDS = 3
"""So often a rebuild is begun before it counts as failed: connections break under it, too."""


class Injector:
    def __init__(self, stack: Stack, client: Client, chance: random.Random, say: Callable[[str], None]) -> None:
        self.injected: Counter[str] = Counter()
        self.failed: list[str] = []
        """Commands of ours that did not do what they should."""
        self._stack = stack
        self._say = say
        self._client = client
        self._chance = chance

    async def during(self, faults: list[Fault]) -> None:
        """All of a phase, some at the same time; returns when each has ended."""
        await asyncio.gather(*(self._one(fault) for fault in faults))

    async def _one(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at_s)
        match fault.kind:
            case "kill":
                await self._kill(fault.what, fault.seconds)
            case "postgres_away":
                await self._kill("postgres", fault.seconds, "postgres away")
            case "api_away":
                await self._kill("api", fault.seconds, "all API processes away")
            case "kill_api_process":
                await self._kill_api_process()
            case "cut":
                self._count("connections cut", self._stack.cut())
            case "out_of_memory":
                await self._out_of_memory(fault.seconds)
            case "freeze_valkey":
                await self._freeze(fault.seconds)
            case "move_slot":
                await self._move_slot(fault.seconds)
            case "swallow":
                await self._swallow(fault.seconds)
            case "lose_redis":
                await self._lose_redis()
            case "trouble":
                await self.trouble(fault.what)
            case _:
                getattr(self._stack.armed, fault.kind)[fault.what] += 1

    def _count(self, what: str, times: int = 1) -> None:
        self.injected[what] += times
        self._say(f"  {what}")

    async def _kill(self, name: str, away_s: float, what: str = "") -> None:
        stack = self._stack
        async with stack.locks[name]:
            await stack.kill(name)
            self._count(what or f"kill -9 {name}")
            await asyncio.sleep(away_s)
            await stack.restart(name)
            await stack.ready(name) if name != "worker" else await asyncio.sleep(1)

    async def _kill_api_process(self) -> None:
        """One of the two; its parent starts another."""
        async with self._stack.locks["api"]:
            pid = self._stack.api_process(self._chance)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                self._count("kill -9 one API process of two")

    async def _out_of_memory(self, seconds: float) -> None:
        async with self._stack.locks["valkey"]:
            self._count("Valkey out of memory")
            await self._stack.valkeys.starve(seconds)

    async def _freeze(self, seconds: float) -> None:
        """Longer than the service waits: what it gave up is done afterwards all the same."""
        async with self._stack.locks["valkey"]:
            self._count("Valkey frozen")
            await self._stack.valkeys.freeze(seconds)
            await self._stack.valkeys.ready()

    async def _move_slot(self, seconds: float) -> None:
        valkeys = self._stack.valkeys
        assert isinstance(valkeys, SixNodes)
        async with self._stack.locks["valkey"]:
            self._count(await valkeys.move(seconds))

    async def _swallow(self, seconds: float) -> None:
        valkeys = self._stack.valkeys
        assert isinstance(valkeys, SixNodes)
        async with self._stack.locks["valkey"]:
            self._count("network cut, swallows")
            await valkeys.swallow(seconds)

    async def _lose_redis(self) -> None:
        """Everything in Valkey is gone at an instant at which all of it is in Postgres; then ``clock rebuild``,
        while the load goes on."""
        stack, client = self._stack, self._client
        async with stack.locks["valkey"], stack.locks["postgres"], stack.locks["worker"]:
            try:
                async with asyncio.timeout(DRAIN_S):
                    while not await stack.valkeys.forget():
                        client.open.clear()  # a moment without load, so that the outbox gets empty
                        await asyncio.sleep(0.05)
            finally:
                client.open.set()
            self._count("Valkey lost everything, rebuilt")
            await asyncio.sleep(self._chance.uniform(0, 1))
            for _ in range(REBUILDS):
                code, said = await stack.command("rebuild")
                if not code:
                    break
            else:
                self.failed.append(f"clock rebuild ended with {code}: {said}")

    async def trouble(self, knobs: str) -> None:
        """``name=value,…`` to the provider's knobs; nothing turns them all off."""
        values = dict(pair.split("=") for pair in knobs.split(",") if pair)
        channel = self._stack.direct.channel
        if channel != "platform":
            values |= OF_A_CHANNEL[channel] if values else {}
        trouble = msgspec.convert(values, TROUBLES[channel], strict=False)
        for _ in range(50):
            try:
                async with aiohttp.ClientSession() as session:
                    url = f"{self._stack.direct.platform_url}/trouble"
                    async with session.put(url, data=msgspec.json.encode(trouble)) as reply:
                        if reply.status == 200:
                            break
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.2)
        for name in values:
            self._count(f"provider: {name}")
