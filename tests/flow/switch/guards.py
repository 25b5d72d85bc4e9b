"""Three Sentinels with the lines of docs/servers.md, around a pair and a second replica."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from clock.game.client import connect
from clock.runtime import directory, embedded
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


@asynccontextmanager
async def guarded(two: Pair, data_dir: Path) -> AsyncIterator[list[Any]]:
    """A second replica, and three Sentinels that know of each other; their clients."""
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
        for server in (second, *guards):
            await running.enter_async_context(embedded.started(server))
        clients = [connect(server.url) for server in guards]
        for client in clients:
            running.push_async_callback(client.aclose)

        async def all_known() -> bool:
            found = [await client.execute_command("SENTINEL", "MASTER", "clock") for client in clients]
            return all(
                b"num-slaves" in one and of(one, b"num-slaves") == 2 == of(one, b"num-other-sentinels") for one in found
            )

        await seconds_until(all_known, SECONDS)
        yield clients


def of(fields: list[bytes], name: bytes) -> int:
    return int(fields[fields.index(name) + 1])


def url_of(two: Pair, guards: Sequence[Any], *more: int) -> str:
    """The URL that names the Sentinels; ``more`` are ports at which there is none."""
    ports = (*more, *(guard.connection_pool.connection_kwargs["port"] for guard in guards))
    hosts, password = ",".join(f"127.0.0.1:{port}" for port in ports), two.primary.password
    return f"redis+sentinel://:{password}@{hosts}/clock?sentinel_password={password}"


async def named_another(guard: Any, port: int) -> tuple[int, float]:
    """The port that a Sentinel names in place of this one, and when."""
    while True:
        _, named = await guard.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "clock")
        if int(named) != port:
            return int(named), time.monotonic()
        await asyncio.sleep(0.02)
