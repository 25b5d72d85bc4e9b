"""Carries out a phase's faults, at their seconds, and counts them."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from clock.dev.sandbox import Trouble
from clock.game import keys
from tests.faults.crowd import Client
from tests.faults.schedule import Fault
from tests.faults.stack import Stack

DRAIN_S = 60.0

FORGET = """
for _, name in ipairs(redis.call('KEYS', 'clock:{*}:*:outbox')) do
  local last = redis.call('XREVRANGE', name, '+', '-', 'COUNT', 1)[1]
  local position = redis.call('GET', (string.gsub(name, 'outbox$', 'position'))) or ''
  if last and last[1] ~= string.match(position, '^%S*') then return 0 end
end
local moved = redis.call('GET', KEYS[1])
redis.call('FLUSHALL')
if moved then redis.call('SET', KEYS[1], moved) end
return 1
"""
"""Loses everything but the moved clock, if all of it is in Postgres."""


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
                self._count("connections cut", self._stack.redis_proxy.cut() + self._stack.postgres_proxy.cut())
            case "out_of_memory":
                await self._out_of_memory(fault.seconds)
            case "freeze_valkey":
                await self._freeze(fault.seconds)
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
        """Valkey refuses to write; what it has, it keeps."""
        async with self._stack.locks["valkey"]:
            redis = self._stack.redis()
            await redis.config_set("maxmemory", 1024)
            self._count("Valkey out of memory")
            await asyncio.sleep(seconds)
            await redis.config_set("maxmemory", 0)
            await redis.aclose()

    async def _freeze(self, seconds: float) -> None:
        """Longer than the service waits: what it gave up is done afterwards all the same."""
        async with self._stack.locks["valkey"]:
            self._stack.freeze("valkey")
            self._count("Valkey frozen")
            await asyncio.sleep(seconds)
            self._stack.thaw("valkey")

    async def _lose_redis(self) -> None:
        """Everything in Valkey is gone at an instant at which all of it is in Postgres; then ``clock rebuild``,
        while the load goes on."""
        stack, client = self._stack, self._client
        async with stack.locks["valkey"], stack.locks["postgres"], stack.locks["worker"]:
            redis: Any = stack.redis()
            try:
                async with asyncio.timeout(DRAIN_S):
                    while not await redis.eval(FORGET, 1, keys.DEV_TIME):
                        client.open.clear()  # a moment without load, so that the outbox gets empty
                        await asyncio.sleep(0.05)
            finally:
                client.open.set()
                await redis.aclose()
            self._count("Valkey lost everything, rebuilt")
            await asyncio.sleep(self._chance.uniform(0, 1))
            code, said = await stack.command("rebuild")
            if code:
                self.failed.append(f"clock rebuild ended with {code}: {said}")

    async def trouble(self, knobs: str) -> None:
        """``name=value,…`` to the provider's knobs; nothing turns them all off."""
        values = dict(pair.split("=") for pair in knobs.split(",") if pair)
        trouble = msgspec.convert(values, Trouble, strict=False)
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
