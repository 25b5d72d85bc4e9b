"""What all doubles have: users who pay, notifications until they are taken, troubles that ``PUT /trouble`` sets."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import msgspec
from aiohttp import web

from clock.dev.providers.books import Books

RETRY_SECONDS = (0.5, 1, 2, 5, 15, 30, 60, 120, 300)
"""Delays before a notification that was not taken is retried; the last one repeats until ``GIVE_UP`` retries. Real
providers wait longer."""

GIVE_UP = 40


class Trouble(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Probabilities 0…1 and waits in ms. All off by default."""

    callback_twice: float = 0
    callback_lost: float = 0
    callback_forged: float = 0
    callback_delay_ms: int = 0
    """Each callback is delayed by a random part of this, so they also arrive out of order."""
    time_out_after: float = 0
    """The call is carried out, and the connection breaks."""
    time_out_before: float = 0
    processing: float = 0
    """A refund or transfer answers "processing" for a while."""
    processing_ms: int = 500
    lapses: float = 0
    """A transfer waits for its user, who never accepts it: it fails after ``processing_ms``."""
    seed: int | None = None


class Message(msgspec.Struct, frozen=True):
    """A notification: where it goes, and what it says before it is sealed."""

    url: str
    raw: bytes


Sealed = tuple[bytes, Mapping[str, str]]
"""Body and headers."""

Action = Callable[..., Any]


class Double:
    """A subclass says what its provider's protocol is."""

    name: ClassVar[str]
    trouble: Trouble

    def __init__(self, path: Path, schema: str = "") -> None:
        self.books = Books(path, schema)
        self.random = random.Random()  # noqa: S311 - plays trouble
        self._tasks: set[asyncio.Task[Any]] = set()
        self._session: aiohttp.ClientSession | None = None

    # -- the provider's protocol

    def add_routes(self, router: web.UrlDispatcher) -> None:
        raise NotImplementedError

    def message_of(self, payment: sqlite3.Row) -> Message:
        raise NotImplementedError

    def seal(self, raw: bytes) -> Sealed:
        """As it goes out: signed now."""
        raise NotImplementedError

    def bad(self, raw: bytes) -> list[Sealed]:
        """What arrives before the true one, and must not be believed."""
        raise NotImplementedError

    def taken(self, status: int, reply: bytes) -> bool:
        """Whether the answer to a notification ends its retries."""
        return 200 <= status < 300

    def paid(self, status: int, reply: bytes) -> bytes:
        """What ``/pay`` answers, given the answer to the notification."""
        return reply

    def refusal_of(self, body: dict[str, Any]) -> str:
        """Why a user cannot pay; empty: they can. May fill in what the order says better."""
        return "closed" if self.books.is_closed(body["order_no"]) else ""

    async def resume(self) -> None:
        """What was not told when the process ended."""
        for row in self.books.rows("SELECT * FROM payments WHERE told = 0"):
            self.later(self.tell(row["transaction_id"]))

    # -- the process

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/pay", self._pay)
        app.router.add_put("/trouble", self._set_trouble)
        app.router.add_get("/healthz", self._healthz)
        self.add_routes(app.router)
        app.cleanup_ctx.append(self._life)
        return app

    async def _life(self, _: web.Application) -> Any:
        timeout = aiohttp.ClientTimeout(total=10)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=64))
        await self.resume()
        yield
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def later(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def happens(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    @staticmethod
    def hang_up(request: web.Request) -> web.StreamResponse:
        """Break the connection instead of answering."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=504)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _set_trouble(self, request: web.Request) -> web.Response:
        try:
            self.trouble = msgspec.json.decode(await request.read(), type=type(self.trouble))
        except msgspec.ValidationError as error:
            return web.json_response({"error": str(error)}, status=400)
        if self.trouble.seed is not None:
            self.random.seed(self.trouble.seed)
        return web.json_response(msgspec.to_builtins(self.trouble))

    # -- users pay

    async def _pay(self, request: web.Request) -> web.Response:
        """A user pays: ``{order_no, amount, buyerId, at_ms, again?, pay?}``. Answers with the callback's reply, if any.

        ``again`` pays an order a second time, under another transaction. ``pay`` is what the service has given the
        client to pay with.
        """
        body = json.loads(await request.read())
        if refusal := self.refusal_of(body):
            return web.json_response({"error": refusal}, status=409)
        again = bool(body.get("again"))
        transaction_id = self.books.pay(body["order_no"], body["amount"], body["buyerId"], body["at_ms"], again)
        status, reply = await self.later(self.tell(transaction_id))
        headers = {"x-callback-status": str(status)}
        return web.Response(body=self.paid(status, reply), status=200, headers=headers)

    async def tell(self, transaction_id: str) -> tuple[int, bytes]:
        """Tell of a payment; the first answer."""
        payment = self.books.payment(transaction_id)
        assert payment is not None
        return await self.deliver(
            self.message_of(payment), "UPDATE payments SET told = 1 WHERE transaction_id = ?", transaction_id
        )

    async def deliver(self, message: Message, done: str, key: str) -> tuple[int, bytes]:
        """Send a notification with the configured faults; return the first reply. One that is not taken is retried
        later. ``done`` is written when it has been taken."""
        trouble = self.trouble
        if self.happens(trouble.callback_lost):
            return 0, b"{}"
        if trouble.callback_delay_ms:
            await asyncio.sleep(self.random.random() * trouble.callback_delay_ms / 1000)
        for body, headers in self.bad(message.raw):
            await self._send(message.url, body, headers)
        status, reply = await self._send(message.url, *self.seal(message.raw))
        if self.happens(trouble.callback_twice):
            await self._send(message.url, *self.seal(message.raw))
        if self.taken(status, reply):
            self.books.db.execute(done, (key,))
        else:
            self.later(self._again(message, done, key))
        return status, reply

    async def _again(self, message: Message, done: str, key: str) -> None:
        for attempt in range(GIVE_UP):
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            if self.taken(*await self._send(message.url, *self.seal(message.raw))):
                self.books.db.execute(done, (key,))
                return

    async def _send(self, url: str, raw: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status 0: no answer."""
        assert self._session is not None
        try:
            async with self._session.post(url, data=raw, headers=headers) as reply:
                return reply.status, await reply.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, b"{}"
