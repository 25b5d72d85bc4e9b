"""The stack as processes under the test's control: each can be killed and started again, by its process id."""

import asyncio
import os
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import aiohttp
import msgspec
from redis.exceptions import RedisError

from clock.config import Settings
from clock.game import keys
from clock.game.client.calls import connect
from clock.runtime import embedded, processes
from clock.runtime.crew import Child
from clock.runtime.directory import with_dev_secrets
from clock.runtime.ports import free_port
from clock.runtime.processes import Process, Program
from clock.runtime.supervise import environment, plan
from tests.conftest import in_memory
from tests.faults.proxy import Armed, PostgresProxy
from tests.faults.valkeys import OneServer, SixNodes
from tests.raw import Redis, raw

Topology = Literal["one", "cluster"]
"""What the rounds live on: a Valkey, or six."""

NAMES = ("api", "worker", "valkey", "postgres", "sandbox")
"""What is killed. Of a cluster it is a primary that is, and its replica takes over."""

QUEUE = "queue"
"""A Valkey for arq alone, which cannot use a cluster; killed as well."""

READY_S = 60.0


class Stack:
    """Valkey or a cluster, Postgres, a double of the provider, the API with two processes, and a worker.

    API and worker reach their servers through the proxies; the test itself goes there directly.
    """

    def __init__(self, data_dir: Path, chance: random.Random, settings: Settings, topology: Topology) -> None:
        self.data_dir = data_dir
        self.armed = Armed()
        self.names = names_of(topology)
        self.valkeys: OneServer | SixNodes = (SixNodes if topology == "cluster" else OneServer)(
            data_dir, self.armed, chance
        )
        self.postgres = embedded.Postgres(data_dir)
        self.servers: dict[str, embedded.Server] = {"postgres": self.postgres}
        if QUEUE in self.names:
            self.servers[QUEUE] = embedded.Valkey(data_dir / QUEUE)
        self.processes: dict[str, Process] = {}
        self.locks = {name: asyncio.Lock() for name in self.names}
        self.page = ""
        self.direct = settings
        """Settings that lead straight to the servers."""
        self._chance = chance
        self._children: dict[str, Child] = {}
        self._lock = 0

    @property
    def sqlite(self) -> Path:
        """The provider's own books."""
        return self.data_dir / (
            "sandbox.sqlite" if self.direct.channel == "platform" else f"{self.direct.channel}.sqlite"
        )

    async def start(self) -> None:
        await self.valkeys.start()
        for name, server in self.servers.items():
            self.processes[name] = await embedded.start(server)
        self.postgres_proxy = PostgresProxy(self.armed, self.postgres.port, self._chance)
        await self.postgres_proxy.start()
        self.direct = msgspec.structs.replace(
            _with_provider(msgspec.structs.replace(self.direct, port=free_port(), data_dir=self.data_dir)),
            redis_url=self.valkeys.url,
            queue_url=self.servers[QUEUE].url if QUEUE in self.servers else "",
            database_url=self.postgres.url,
        )
        self.page = f"http://127.0.0.1:{self.direct.port}"
        await self.command("migrate")
        proxied = msgspec.structs.replace(
            self.direct,
            redis_url=self.valkeys.proxied_url,
            database_url=self.postgres.url.replace(f":{self.postgres.port}/", f":{self.postgres_proxy.port}/"),
        )
        names: dict[str, str] = {self.direct.channel: "sandbox"}
        self._children = {names.get(child.name, child.name): child for child in plan(proxied).children}
        for name in ("sandbox", "api", "worker"):
            self._spawn(name)
        for name in self.names:
            await self.ready(name)

    async def stop(self) -> None:
        for name in ("worker", "api", "sandbox", "postgres", QUEUE):
            if name in self.processes:
                processes.kill(self.processes[name])
                await processes.exited(self.processes[name])
        await self.valkeys.stop()
        if hasattr(self, "postgres_proxy"):
            await self.postgres_proxy.stop()

    def cut(self) -> int:
        """Every connection to a server; how many."""
        return sum(proxy.cut() for proxy in (*self.valkeys.proxies, self.postgres_proxy))

    def redis(self) -> Redis:
        return raw(connect(self.direct.redis_url))

    def _spawn(self, name: str) -> None:
        child = self._children[name]
        log = self.data_dir / "log" / f"{name}.log"
        descriptor = (self.data_dir / "children.lock").open("a")
        with descriptor:
            program = Program(command=child.command, env=child.env, log=log)
            self.processes[name] = processes.spawn(program, descriptor.fileno())

    async def kill(self, name: str) -> None:
        """SIGKILL to the process and its group, without warning; returns when it has ended."""
        if name == "valkey":
            await self.valkeys.kill()
            return
        processes.kill(self.processes[name])
        await processes.exited(self.processes[name])

    async def restart(self, name: str) -> None:
        """Start what has ended, at the same port; returns when it was started, not when it answers."""
        if name == "valkey":
            await self.valkeys.restart()
        elif self.processes[name].poll() is None:
            return
        elif name in self.servers:
            self.processes[name] = await embedded.launch(self.servers[name], same_port=True)
        else:
            self._spawn(name)

    async def ready(self, name: str) -> None:
        """Return once it answers. Raises :class:`TimeoutError`."""
        if name == "valkey":
            await self.valkeys.ready()
        elif name in self.servers:
            await embedded.wait_ready(self.servers[name], READY_S)
        elif name == "worker":
            await self._heartbeat()
        else:
            url = f"{self.page}/healthz" if name == "api" else f"{self.direct.platform_url}/healthz"
            await self._answers(url, name)

    async def _answers(self, url: str, name: str) -> None:
        deadline = time.monotonic() + READY_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while time.monotonic() < deadline:
                try:
                    async with session.get(url) as reply:
                        if reply.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.1)
        raise TimeoutError(f"{name} does not answer at {url}")

    async def _heartbeat(self) -> None:
        """A heart beat that is younger than the wait for it."""
        redis = self.redis()
        began = int(time.time())
        try:
            async with asyncio.timeout(READY_S):
                while True:
                    with suppress(RedisError, OSError):
                        if int(await redis.get(keys.HEARTBEAT) or 0) >= began:
                            return
                    await asyncio.sleep(0.1)
        finally:
            await redis.aclose()

    def api_process(self, chance: random.Random) -> int | None:
        """The process id of one of the API's own worker processes."""
        parent = self.processes["api"].pid
        path = Path(f"/proc/{parent}/task/{parent}/children")
        children = [int(pid) for pid in path.read_text().split()] if path.exists() else []
        serving = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return chance.choice(serving) if serving else None

    async def heal(self) -> None:
        """Everything runs, nothing is armed."""
        self.armed.clear()
        for name in self.names:
            async with self.locks[name]:
                await self.restart(name)
        for name in self.names:
            await self.ready(name)

    async def command(self, *words: str) -> tuple[int, str]:
        """Run ``clock …`` to its end; exit code and what it printed. Raises :class:`TimeoutError`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "clock",
            *words,
            env=environment(self.direct),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(120):
                out, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, out.decode()


def _with_provider(settings: Settings) -> Settings:
    """The sandbox provider, or the double of the channel's: the platform's URL is the one that listens, so that it is
    asked for its health and set its troubles there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    here = {"platform_url": url, "public_url": f"http://127.0.0.1:{settings.port}"}
    match settings.channel:
        case "wechat":
            here |= {"wechat_url": url}
        case "alipay":
            here |= {"alipay_url": f"{url}/gateway.do"}
        case _:
            return msgspec.structs.replace(settings, sandbox_port=port, platform_url=url)
    return with_dev_secrets(msgspec.structs.replace(settings, **here))


def names_of(topology: Topology) -> tuple[str, ...]:
    return (*NAMES, QUEUE) if topology == "cluster" else NAMES


@asynccontextmanager
async def started(settings: Settings, chance: random.Random, topology: Topology) -> AsyncIterator[Stack]:
    """The whole stack, ready; killed and removed at the end."""
    # Six servers that sync one disk would wait for each other, as six hosts do not.
    with embedded.scratch(in_memory() if topology == "cluster" else None) as data_dir:
        stack = Stack(data_dir, chance, settings, topology)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop()
            if os.environ.get("FAULTS_KEEP"):
                shutil.copytree(data_dir / "log", os.environ["FAULTS_KEEP"], dirs_exist_ok=True)
