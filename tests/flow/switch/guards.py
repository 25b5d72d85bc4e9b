"""Three Sentinels with the lines of docs/servers.md, around a pair and a second replica."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from clock.game.client.calls import connect
from clock.runtime import directory, embedded
from clock.runtime.processes import Process, stop
from tests import servers
from tests.flow.pair import Pair, Replica
from tests.flow.switch.stage import seconds_until

TEXT = (Path(__file__).parents[3] / "docs" / "servers.md").read_text("utf-8")
LINES = re.findall(r"^sentinel .+$", TEXT, re.MULTILINE)
DOWN_MS = 1_000
"""The documented value is five times as long."""

SECONDS = 30.0


def lines_for(primary: embedded.Valkey) -> tuple[str, ...]:
    """The documented lines, with this primary in the places of theirs."""
    text = "\n".join(LINES).replace("10.0.0.1 6379", f"127.0.0.1 {primary.port}")
    return tuple(text.replace("PASSWORD", primary.password).replace("5000", str(DOWN_MS)).splitlines())


class Guarded:
    """A primary, two replicas, and three Sentinels that know of each other."""

    def __init__(self, two: Pair, second: Replica, process: Process) -> None:
        self.clients: list[Any] = []
        """Of the Sentinels."""
        self._two = two
        self._servers: dict[int, embedded.Valkey] = {one.port: one for one in (two.primary, two.replica, second)}
        self._again: list[Process] = []
        self._processes: dict[int, Process] = {
            two.primary.port: two.first,
            two.replica.port: two.process,
            second.port: process,
        }

    def url(self, *more: int) -> str:
        """It names the Sentinels; ``more`` are ports at which there is none."""
        ports = (*more, *(client.connection_pool.connection_kwargs["port"] for client in self.clients))
        hosts, password = ",".join(f"127.0.0.1:{port}" for port in ports), self._two.primary.password
        return f"redis+sentinel://:{password}@{hosts}/clock?sentinel_password={password}"

    async def primary(self) -> int:
        """Its port, as the first Sentinel names it."""
        _, port = await self.clients[0].execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "clock")
        return int(port)

    async def named_another(self, port: int) -> tuple[int, float]:
        """The port that is named in place of this one, and when."""
        while (named := await self.primary()) == port:
            await asyncio.sleep(0.02)
        return named, time.monotonic()

    async def all_known(self) -> bool:
        found = [await client.execute_command("SENTINEL", "MASTER", "clock") for client in self.clients]
        return all(
            b"num-slaves" in one and after(one, b"num-slaves") == b"2" == after(one, b"num-other-sentinels")
            for one in found
        )

    async def kill(self, port: int) -> None:
        await stop(self._processes[port], signal.SIGKILL)

    async def restart(self, port: int) -> None:
        """As a replica of the primary."""
        password, primary = self._two.primary.password, await self.primary()
        server = Replica(self._servers[port].data_dir, primary_port=primary, primary_password=password)
        self._processes[port] = await embedded.launch(server, same_port=True)
        self._again.append(self._processes[port])

    async def become_well(self) -> None:
        """Every Sentinel sees two replicas that follow the primary: before that, none would promote one and lead the
        other to it at once."""

        async def are_well() -> bool:
            found = [await client.execute_command("SENTINEL", "REPLICAS", "clock") for client in self.clients]
            return all(
                [(after(one, b"flags"), after(one, b"master-link-status")) for one in seen] == [(b"slave", b"ok")] * 2
                for seen in found
            )

        await seconds_until(are_well, SECONDS)

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()
        for process in self._again:
            await stop(process, signal.SIGKILL)


@asynccontextmanager
async def guarded(two: Pair, data_dir: Path) -> AsyncIterator[Guarded]:
    second = Replica(data_dir / "second", primary_port=two.primary.port, primary_password=two.primary.password)
    guards = [
        servers.Configured(
            data_dir / f"guard{n}", lines=("appendonly no", *lines_for(two.primary)), arguments=("--sentinel",)
        )
        for n in range(3)
    ]
    for server in (second, *guards):
        directory.create(server.data_dir)
        directory.write_private(server.data_dir / "valkey.password", two.primary.password)
    async with AsyncExitStack() as running:
        started = [await running.enter_async_context(embedded.started(server)) for server in (second, *guards)]
        found = Guarded(two, second, started[0])
        running.push_async_callback(found.close)
        found.clients = [connect(server.url) for server in guards]
        await seconds_until(found.all_known, SECONDS)
        yield found


def after(fields: list[bytes], name: bytes) -> bytes:
    """The value of a field."""
    return fields[fields.index(name) + 1]
