"""What the rounds live on, broken on purpose: one Valkey, or a cluster of six. The service reaches each through a
proxy of its own; both classes have the same methods."""

import random
import signal
from asyncio import sleep
from pathlib import Path

from clock.game import keys
from clock.game.client.calls import connect
from clock.runtime import embedded, processes
from clock.runtime.processes import Process
from tests.cluster import Cluster, Node
from tests.faults.proxy import Armed, RedisProxy
from tests.raw import raw

READY_S = 60.0

FORGET = """
for _, name in ipairs(redis.call('KEYS', 'clock:{*}:*:outbox')) do
  local last = redis.call('XREVRANGE', name, '+', '-', 'COUNT', 1)[1]
  local position = redis.call('GET', (string.gsub(name, 'outbox$', 'position'))) or ''
  if last and last[1] ~= string.match(position, '^%S*') then return 0 end
end
local kept = ARGV[1]
local moved = kept and redis.call('GET', kept)
redis.call('FLUSHALL')
if moved then redis.call('SET', kept, moved) end
return 1
"""
"""Loses everything but the moved clock, if all of it is in Postgres. The clock's key is named where it is."""


class OneServer:
    def __init__(self, data_dir: Path, armed: Armed, chance: random.Random) -> None:
        self.valkey = embedded.Valkey(data_dir)
        self.proxies = [RedisProxy(armed, 0, chance)]
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return self.valkey.url

    @property
    def proxied_url(self) -> str:
        return self.url.replace(f":{self.valkey.port}/", f":{self.proxies[0].port}/")

    async def start(self) -> None:
        self._process = await embedded.start(self.valkey)
        await self.proxies[0].start()
        self.proxies[0].to_port = self.valkey.port

    async def stop(self) -> None:
        if self._process is not None:
            # A stopped process would not hear that it is asked to end.
            await processes.stop(self._process, signal.SIGKILL)
            await self.proxies[0].stop()

    async def kill(self) -> None:
        assert self._process is not None
        processes.kill(self._process)
        await processes.exited(self._process)

    async def restart(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = await embedded.launch(self.valkey, same_port=True)

    async def ready(self) -> None:
        await embedded.wait_ready(self.valkey, READY_S)

    async def freeze(self, seconds: float) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        await sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    async def starve(self, seconds: float) -> None:
        """It refuses to write; what it has, it keeps."""
        client = raw(connect(self.url))
        await client.config_set("maxmemory", 1024)
        await sleep(seconds)
        await client.config_set("maxmemory", 0)
        await client.aclose()

    async def forget(self) -> bool:
        """Lose everything, if all of it is in Postgres; whether that was so."""
        client = raw(connect(self.url))
        try:
            return bool(await client.eval(FORGET, 0, keys.DEV_TIME))
        finally:
            await client.aclose()


class SixNodes:
    """Three primaries with a replica each. Clients are told the addresses of the proxies, nodes those of each other."""

    def __init__(self, data_dir: Path, armed: Armed, chance: random.Random) -> None:
        self.cluster = Cluster(data_dir)
        self.proxies = [RedisProxy(armed, 0, chance) for _ in range(6)]
        self._chance = chance
        self._to_forget: list[Node] = []

    @property
    def url(self) -> str:
        """Whoever follows it is told the proxies' addresses, too."""
        return self.cluster.url

    @property
    def proxied_url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)
        return f"redis+cluster://:{self.cluster.password}@{hosts}"

    async def start(self) -> None:
        for proxy in self.proxies:
            await proxy.start()
            (node,) = await self.cluster.add(lines=(f"cluster-announce-client-port {proxy.port}",))
            proxy.to_port = node.port
        await self.cluster.create(3, (1, 1, 1))

    async def stop(self) -> None:
        await self.cluster.close()
        for proxy in self.proxies:
            await proxy.stop()

    async def _any_primary(self) -> Node:
        return self._chance.choice(await self.cluster.primaries())

    async def kill(self) -> None:
        """A primary; its replica has been promoted when this returns."""
        node = await self._any_primary()
        await self.cluster.kill(node)
        await self.cluster.promoted(node)

    async def restart(self) -> None:
        for node in self.cluster.nodes:
            if node not in self.cluster.processes:
                await self.cluster.restart(node)

    async def ready(self) -> None:
        await self.cluster.become_well()

    async def freeze(self, seconds: float) -> None:
        """Long enough that its replica is promoted: what it is sent meanwhile, it reads as a primary of the past."""
        node = await self._any_primary()
        self.cluster.freeze(node)
        await sleep(seconds)
        self.cluster.thaw(node)

    async def starve(self, seconds: float) -> None:
        node = await self._any_primary()
        await self.cluster.tell(node, "CONFIG", "SET", "maxmemory", 1024)
        await sleep(seconds)
        await self.cluster.tell(node, "CONFIG", "SET", "maxmemory", 0)

    async def forget(self) -> bool:
        """Each node loses everything at an instant at which all that it has is in Postgres; whether all have."""
        self._to_forget = self._to_forget or await self.cluster.primaries()
        slot = await self.cluster.tell(self._to_forget[0], "CLUSTER", "KEYSLOT", keys.DEV_TIME)
        clock = await self.cluster.owner(slot)
        for node in list(self._to_forget):
            if await self.cluster.tell(node, "EVAL", FORGET, 0, *([keys.DEV_TIME] if node == clock else [])):
                self._to_forget.remove(node)
        return not self._to_forget

    async def move(self, seconds: float) -> str:
        """The slot of a key that is there goes to another primary, in one of the two ways; which."""
        source = await self._any_primary()
        while (name := await self.cluster.tell(source, "RANDOMKEY")) is None:
            source = await self._any_primary()
        slot = await self.cluster.tell(source, "CLUSTER", "KEYSLOT", name)
        to = self._chance.choice([node for node in await self.cluster.primaries() if node != source])
        if self._chance.random() < 0.3:
            await self.cluster.move_range(slot, slot, to)
            return "slot moved at once"
        await self.cluster.move(slot, to, between=lambda: sleep(seconds))
        return "slot moved key by key"

    async def swallow(self, seconds: float) -> None:
        """The network between the service and a primary."""
        node = await self._any_primary()
        (proxy,) = (proxy for proxy in self.proxies if proxy.to_port == node.port)
        await proxy.swallow(seconds)
