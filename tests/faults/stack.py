"""The stack as processes under the test's control: each can be killed and started again, by its process id."""

import asyncio
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from clock.config import Settings
from clock.game.client.calls import connect
from clock.runtime import embedded, processes
from clock.runtime.crew import Child
from clock.runtime.ports import free_port
from clock.runtime.processes import Process, Program
from clock.runtime.supervise import environment, plan
from tests.faults.proxy import Armed, PostgresProxy, RedisProxy
from tests.raw import Redis, raw

NAMES = ("api", "worker", "valkey", "postgres", "sandbox")
"""The five processes that are killed."""

READY_S = 60.0


class Stack:
    """Valkey, Postgres, the sandbox provider, the API with two processes, and a worker.

    API and worker reach their servers through the proxies; the test itself goes there directly.
    """

    def __init__(self, data_dir: Path, chance: random.Random, settings: Settings) -> None:
        self.data_dir = data_dir
        self.armed = Armed()
        self.valkey, self.postgres = embedded.Valkey(data_dir), embedded.Postgres(data_dir)
        self.processes: dict[str, Process] = {}
        self.locks = {name: asyncio.Lock() for name in NAMES}
        self.page = ""
        self.direct = settings
        """Settings that lead straight to the servers."""
        self._chance = chance
        self._children: dict[str, Child] = {}
        self._lock = 0

    @property
    def sqlite(self) -> Path:
        """The provider's own books."""
        return self.data_dir / "sandbox.sqlite"

    async def start(self) -> None:
        self.processes["valkey"] = await embedded.start(self.valkey)
        self.processes["postgres"] = await embedded.start(self.postgres)
        self.redis_proxy = RedisProxy(self.armed, self.valkey.port, self._chance)
        self.postgres_proxy = PostgresProxy(self.armed, self.postgres.port, self._chance)
        await self.redis_proxy.start()
        await self.postgres_proxy.start()
        port = free_port()
        self.direct = msgspec.structs.replace(
            self.direct,
            port=free_port(),
            data_dir=self.data_dir,
            redis_url=self.valkey.url,
            database_url=self.postgres.url,
            sandbox_port=port,
            platform_url=f"http://127.0.0.1:{port}",
        )
        self.page = f"http://127.0.0.1:{self.direct.port}"
        await self.command("migrate")
        proxied = msgspec.structs.replace(
            self.direct,
            redis_url=self.valkey.url.replace(f":{self.valkey.port}/", f":{self.redis_proxy.port}/"),
            database_url=self.postgres.url.replace(f":{self.postgres.port}/", f":{self.postgres_proxy.port}/"),
        )
        self._children = {child.name: child for child in plan(proxied).children}
        for name in ("sandbox", "api", "worker"):
            self._spawn(name)
        for name in NAMES:
            await self.ready(name)

    async def stop(self) -> None:
        for name in ("worker", "api", "sandbox", "postgres", "valkey"):
            if name in self.processes:
                # Valkey is asked to end; a stopped process would not hear it.
                processes.kill(self.processes[name])
                await processes.exited(self.processes[name])
        if hasattr(self, "redis_proxy"):
            await self.redis_proxy.stop()
            await self.postgres_proxy.stop()

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
        processes.kill(self.processes[name])
        await processes.exited(self.processes[name])

    async def restart(self, name: str) -> None:
        """Start what has ended, at the same port; returns when it was started, not when it answers."""
        if self.processes[name].poll() is None:
            return
        if name in ("valkey", "postgres"):
            server = self.valkey if name == "valkey" else self.postgres
            self.processes[name] = await embedded.launch(server, same_port=True)
        else:
            self._spawn(name)

    async def ready(self, name: str) -> None:
        """Return once it answers. Raises :class:`TimeoutError`."""
        if name == "valkey":
            await embedded.wait_ready(self.valkey, READY_S)
        elif name == "postgres":
            await embedded.wait_ready(self.postgres, READY_S)
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
                while int(await redis.get("clock:worker:heartbeat") or 0) < began:
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

    def freeze(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    async def heal(self) -> None:
        """Everything runs, nothing is armed."""
        self.armed.clear()
        for name in NAMES:
            async with self.locks[name]:
                await self.restart(name)
        for name in NAMES:
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


@asynccontextmanager
async def started(settings: Settings, chance: random.Random) -> AsyncIterator[Stack]:
    """The whole stack, ready; killed and removed at the end."""
    with embedded.scratch() as data_dir:
        stack = Stack(data_dir, chance, settings)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop()
            if os.environ.get("FAULTS_KEEP"):
                shutil.copytree(data_dir / "log", os.environ["FAULTS_KEEP"], dirs_exist_ok=True)
