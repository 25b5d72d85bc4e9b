"""The sandbox provider as its own process, and a listener for its callbacks."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from clock.channels import BillLine
from clock.channels.platform import Platform
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, at
from tests.flow.stage import lines_of

AT = at("20:00")
DAY_OF_AT = "2026-11-22"


class Listener:
    """Where callbacks arrive; ``answer`` says with which status, given how many have come before."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.answer: Callable[[int], int] = lambda _: 200

    async def take(self, request: web.Request) -> web.Response:
        status = self.answer(len(self.got))
        self.got.append((await request.read(), {name.lower(): value for name, value in request.headers.items()}))
        return web.json_response({"code": "paid"}, status=status)

    async def wait_for(self, count: int, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                await asyncio.sleep(0.02)


class Sandbox:
    """``python -m clock sandbox`` on a data directory; it may be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{settings.sandbox_port}"
        self.channel = Platform(self.url, WEBHOOK_SECRET)
        self.session = aiohttp.ClientSession()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with (self.settings.data_dir / "sandbox.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "clock", "sandbox"],
                env=environment(self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        async with asyncio.timeout(30):
            while True:
                try:
                    async with self.session.get(f"{self.url}/healthz") as reply:
                        if reply.status == 200:
                            return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals) -> int:
        assert self._process is not None
        os.kill(self._process.pid, number)
        return await asyncio.to_thread(self._process.wait)

    async def trouble(self, **knobs: Any) -> None:
        async with self.session.put(f"{self.url}/trouble", json={"seed": 1, **knobs}) as reply:
            assert reply.status == 200

    async def pay(self, order_no: str, **more: Any) -> tuple[int, int, Any]:
        """Status, the status of the callback, and the callback's reply."""
        body = {"order_no": order_no, "amount": 100, "buyerId": "open-1", "at_ms": AT, **more}
        async with self.session.post(f"{self.url}/pay", json=body) as reply:
            return reply.status, int(reply.headers.get("x-callback-status", 0)), await reply.json(content_type=None)

    async def ask(self, action: str, secret: str = WEBHOOK_SECRET, path: str = "", **body: Any) -> tuple[int, Any]:
        raw = msgspec.json.encode({"action": action, **body})
        headers = Signatures(secret).sign(raw) if secret else {}
        async with self.session.post(f"{self.url}/{path or action}", data=raw, headers=headers) as reply:
            return reply.status, await reply.json()

    async def transfer(self, no: str, amount: int = 100) -> tuple[int, Any]:
        return await self.ask("transfer", transfer_no=no, openId="open-1", amount=amount)

    async def refund(self, no: str, order_no: str, amount: int = 100, transaction: str = "") -> tuple[int, Any]:
        return await self.ask(
            "refund", refund_no=no, order_no=order_no, transactionId=transaction or f"S{order_no}0", amount=amount
        )

    async def lines(self) -> list[BillLine]:
        """Of the payments' date and of today."""
        found = []
        for day in {DAY_OF_AT, time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))}:
            found += await lines_of(self.channel, day) or []
        return found

    async def close(self) -> None:
        await self.channel.close()
        await self.session.close()
        if self._process is not None and self._process.poll() is None:
            await self.end(signal.SIGTERM)


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Listener]:
    listener = Listener(port)
    app = web.Application()
    app.router.add_post("/callbacks/platform", listener.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield listener
    await runner.cleanup()


@asynccontextmanager
async def sandbox_for(port: int, data_dir: Path) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(
        Settings(
            port=port,
            data_dir=data_dir,
            sandbox_port=free_port(),
            redis_url="redis://127.0.0.1:1",
            database_url="postgresql://127.0.0.1:1/none",
            jwt_secret=JWT_SECRET,
            webhook_secret=WEBHOOK_SECRET,
            statement_key=STATEMENT_KEY,
        )
    )
    try:
        await sandbox.start()
        yield sandbox
    finally:
        await sandbox.close()
