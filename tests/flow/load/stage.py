"""Targets that behave as a test says: they answer the home page, and everything else after some time, or not at all."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, time
from typing import Any

import msgspec
from aiohttp import web
from click.testing import CliRunner

from clock.cli.main import cli
from clock.runtime.ports import free_port
from tests.conftest import DAY

SLOW = ("--processes", "1", "--late-bound", "20000")
"""Other tests may have the processor."""


async def load(*arguments: str) -> tuple[int, str]:
    """``clock load`` in this process, whose own loop goes on; the generators are processes of their own. Exit status,
    and what it said."""
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["load", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((folder / "report.json").read_bytes())
    return found


class Double:
    """``says``: status (0: none, the connection breaks), headers and seconds of delay for the n-th request of players,
    counted from 0. ``seen``: when each of them came, and its body."""

    def __init__(self, says: Callable[[int], tuple[int, dict[str, str], float]], is_dev: bool) -> None:
        self._says = says
        self._is_dev = is_dev
        self.seen: list[tuple[float, bytes]] = []
        self.url = ""
        self._peers: set[Any] = set()

    @property
    def connections(self) -> int:
        return len(self._peers)

    async def answer(self, request: web.Request) -> web.Response:
        self._peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        if request.method == "GET" and request.path == "/api/summary":
            now_ms = int(1000 * time())
            rules = {"join_closes_ms": now_ms + 3_600_000}
            return self._envelope(200, "ok", {"summary": {"round": str(DAY), "server_time": now_ms, "rules": rules}})
        if request.path.startswith("/dev/"):
            return self._envelope(405, "method_not_allowed") if self._is_dev else self._envelope(404, "not_found")
        number = len(self.seen)
        self.seen.append((monotonic(), await request.read()))
        status, headers, delay_s = self._says(number)
        await asyncio.sleep(delay_s)
        if not status and request.transport:
            request.transport.abort()
        return self._envelope(status, "ok" if status == 200 else "busy", headers=headers)

    def _envelope(
        self, status: int, code: str, data: object = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        body = {"status": int(status == 200), "code": code, "message": code, "data": data or {}}
        return web.Response(status=status, body=msgspec.json.encode(body), headers=headers)


@asynccontextmanager
async def double(
    says: Callable[[int], tuple[int, dict[str, str], float]] = lambda number: (200, {}, 0.0),
    is_dev: bool = True,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Double]:
    made = Double(says, is_dev)
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    made.url = f"http{'s' * (context is not None)}://127.0.0.1:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()
