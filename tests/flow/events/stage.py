"""A host's end, which verifies what it gets as a host would, and events to send to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import msgspec
from aiohttp import web
from standardwebhooks import Webhook

from clock.domain.webhooks import TYPES
from clock.runtime.ports import free_port
from clock.runtime.sending import announce
from tests.conftest import DAY, WEBHOOK_SECRET
from tests.flow.stage import People

Answer = Callable[[str, dict[str, Any]], Awaitable[web.StreamResponse | None]]
"""What a receiver does with an event, by id and body; None: its ``status``."""


class Receiver:
    """Notes what arrives, and answers what the test says. ``got``: id and body, in order."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.elsewhere = 0
        self.status = 200
        self.answer: Answer = self._plainly

    async def _plainly(self, _id: str, _body: dict[str, Any]) -> web.StreamResponse | None:
        return None

    async def take(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        Webhook(WEBHOOK_SECRET).verify(raw.decode(), dict(request.headers))
        body = msgspec.json.decode(raw)
        assert set(body) == {"type", "timestamp", "data"}
        self.request = request
        self.got.append((request.headers["webhook-id"], body))
        answered = await self.answer(*self.got[-1])
        return answered or web.Response(status=self.status, headers={"location": f"{self.url}/elsewhere"})

    async def follow(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()

    @property
    def ids(self) -> list[str]:
        return [id_ for id_, _ in self.got]

    def of(self, day: date) -> list[dict[str, Any]]:
        """What a round's events say, in order; each is of the shape that is documented."""
        own = [body for _, body in self.got if body["data"]["round"] == day.isoformat()]
        for body in own:
            msgspec.convert(body["data"], TYPES[body["type"]])
        return own


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    app.router.add_route("*", "/hook/elsewhere", receiver.follow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", receiver.port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def work(people: People) -> None:
    """As the worker does, once."""
    await announce({"service": people.service})


async def hurry(people: People) -> None:
    """What waits for its next attempt is due."""
    await people.rows("UPDATE events SET next_at = now() WHERE state = 'due'")


async def write(people: People, *ids: str, day: date = DAY) -> None:
    """Events of a round, in this order."""
    for id_ in ids:
        await people.rows(
            "INSERT INTO events (id, day, type, at_ms, data) VALUES (%s, %s, 'round.closed', 0, %s)",
            *(id_, day, f'{{"round": "{day}"}}'),
        )


async def states(people: People) -> dict[str, str]:
    return {row["id"]: row["state"] for row in await people.rows("SELECT id, state FROM events ORDER BY sequence")}


async def types(people: People, day: date = DAY) -> list[str]:
    """Of a round's events in the order of sending, without the opening."""
    found = await people.rows("SELECT type FROM events WHERE day = %s ORDER BY sequence", day)
    return [row["type"] for row in found if row["type"] != "round.opened"]


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)
