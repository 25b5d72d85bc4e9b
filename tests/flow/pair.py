"""Two servers of which one follows the other, and an address that means one of them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from clock.runtime import directory, embedded
from clock.runtime.processes import stop
from tests.raw import plain


class Replica(embedded.Valkey, frozen=True):
    """As durable as its primary, which it follows and whose password it has."""

    primary_port: int = 0
    primary_password: str = ""

    def prepare(self, *, same_port: bool = False) -> None:
        super().prepare(same_port=same_port)
        with (self.data_dir.absolute() / "valkey.conf").open("a") as configuration:
            configuration.write(f"replicaof 127.0.0.1 {self.primary_port}\nmasterauth {self.primary_password}\n")
            configuration.write("repl-diskless-sync-delay 0\n")  # it may become the primary


class Pair:
    """A primary and its replica; processes are ended by their id."""

    def __init__(self, primary: embedded.Valkey, replica: Replica) -> None:
        self.primary = primary
        self.replica = replica
        self.redis: Any = plain(primary.url)  # waits as long as it takes
        self.copy: Any = plain(replica.url)
        self.first: Any = None
        self.process: Any = None

    async def follow(self) -> None:
        """The replica runs and has everything."""
        if self.process is None:
            self.process = await embedded.start(self.replica)
        async with asyncio.timeout(20):
            while True:
                link = (await self.copy.info("replication"))["master_link_status"]
                state = (await self.redis.info("replication")).get("slave0", {}).get("state")
                if (link, state) == ("up", "online"):
                    break
                await asyncio.sleep(0.02)
            pipeline: Any = self.redis.pipeline(transaction=False)
            pipeline.set("mark", 1)
            pipeline.execute_command("WAIT", 1, 5_000)
            pipeline.execute_command("WAITAOF", 1, 1, 5_000)
            assert (await pipeline.execute())[-1] == [1, 1]

    async def lose(self) -> None:
        """The replica is killed, and the primary has noticed."""
        os.kill(self.process.pid, signal.SIGKILL)
        await stop(self.process, signal.SIGKILL)
        self.process = None
        async with asyncio.timeout(20):
            while (await self.redis.info("replication"))["connected_slaves"]:
                await asyncio.sleep(0.02)

    def freeze(self) -> None:
        """The replica hangs, as behind a broken network: the primary still takes it for connected."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)  # whoever has ended gets none

    async def close(self) -> None:
        await self.redis.aclose()
        await self.copy.aclose()
        if self.process is not None:
            self.thaw()
            await stop(self.process, signal.SIGKILL)


@asynccontextmanager
async def pair(data_dir: Path) -> AsyncIterator[Pair]:
    primary = embedded.Valkey(data_dir / "primary")
    async with embedded.started(primary) as first:
        async with plain(primary.url) as client:
            await client.config_set("repl-diskless-sync-delay", 0)
            await client.config_set("masterauth", primary.password)  # it may become the replica
        replica = Replica(data_dir / "replica", primary_port=primary.port, primary_password=primary.password)
        directory.create(replica.data_dir)
        directory.write_private(replica.data_dir / "valkey.password", primary.password)
        process = await embedded.start(replica)
        both = Pair(primary, replica)
        both.first, both.process = first, process
        try:
            await both.follow()
            yield both
        finally:
            await both.close()


class Address:
    """An address in front of a server, as a balancer or NAT is. It may come to mean another server, and it may forget
    the connections that it has: both without a word to whoever uses them."""

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self.port = 0
        self._links: set[asyncio.Task[None]] = set()
        self._open: list[asyncio.StreamWriter] = []
        self._forgotten: set[asyncio.StreamWriter] = set()
        self.swallows = False
        """Whether connections are taken, and everything that is sent on them is swallowed."""

    def forget(self) -> None:
        """From now on whatever is sent on an open connection is swallowed."""
        self._forgotten.update(self._open)

    def cut(self) -> None:
        """Every open connection is reset."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, here: asyncio.StreamReader, to_here: asyncio.StreamWriter) -> None:
        try:
            there, to_there = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:  # nobody is there
            to_here.transport.abort()
            return
        self._open += (to_here, to_there)
        if self.swallows:
            self._forgotten.update((to_here, to_there))
        for reader, writer in ((here, to_there), (there, to_here)):
            self._links.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if writer not in self._forgotten:
                    writer.write(data)
                    await writer.drain()
            if writer not in self._forgotten:
                writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Address"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for link in self._links:
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)
            self.cut()
