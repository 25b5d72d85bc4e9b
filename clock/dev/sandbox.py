"""The sandbox provider: a payment provider without money, in its own process, with its own books.

It implements the whole protocol of the platform channel. It takes payments, and sends signed callbacks until one is
answered 2xx. It executes refunds and transfers once per number, answers queries, and has a daily bill. Faults are
configurable (``PUT /trouble``). Its books are an SQLite file, so it may be killed at any time.
"""

import asyncio
import json
import random
import signal
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import msgspec
from aiohttp import web

from clock import logs
from clock.channels import BadSignature
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.runtime.supervise import page

RETRY_SECONDS = (0.5, 1, 2, 5, 15, 30, 60, 120, 300)
"""Delays before a callback without a 2xx is retried; the last one repeats until ``GIVE_UP`` retries."""

GIVE_UP = 40

SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (
    transaction_id TEXT PRIMARY KEY, order_no TEXT NOT NULL, amount INTEGER NOT NULL, payer TEXT NOT NULL,
    at_ms INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS payments_of_order ON payments (order_no);
CREATE TABLE IF NOT EXISTS reminders (id TEXT PRIMARY KEY, body TEXT NOT NULL, times INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS closed (order_no TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS movements (
    no TEXT PRIMARY KEY, kind TEXT NOT NULL, order_no TEXT NOT NULL, payer TEXT NOT NULL, amount INTEGER NOT NULL,
    body TEXT NOT NULL, state TEXT NOT NULL, settles_at REAL NOT NULL, ends TEXT NOT NULL, at_ms INTEGER NOT NULL);
"""


class Trouble(msgspec.Struct, kw_only=True):
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


class Books:
    """The provider's books, written before a request is answered."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)
        self.db.row_factory = sqlite3.Row

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        return self.db.execute(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> sqlite3.Row | None:
        found = self.rows(statement, *values)
        return found[0] if found else None

    def state_of(self, no: str) -> dict[str, Any] | None:
        """State of a refund or a transfer now; a waiting one becomes final once its time has come."""
        row = self.one("SELECT * FROM movements WHERE no = ?", no)
        if row is None:
            return None
        if row["state"] == "processing" and time.time() >= row["settles_at"]:
            self.db.execute("UPDATE movements SET state = ends WHERE no = ?", (no,))
            return {"state": row["ends"], "reason": "" if row["ends"] == "done" else "lapsed"}
        return {"state": row["state"], "reason": "lapsed" if row["state"] == "failed" else ""}


class Provider:
    """``callback_url`` is where the service takes callbacks; ``timezone`` is the zone of ``notify_time``."""

    def __init__(self, path: Path, callback_url: str, secrets: str, timezone: str) -> None:
        self.books = Books(path)
        self.trouble = Trouble()
        self.random = random.Random()  # noqa: S311 - plays trouble
        self._callback_url = callback_url
        self._signatures = Signatures(secrets)
        self._zone = ZoneInfo(timezone)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._session: aiohttp.ClientSession | None = None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/pay", self.pay)
        app.router.add_put("/trouble", self.set_trouble)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_post("/reminders", self.take_reminder)
        app.router.add_get("/reminders", self.list_reminders)
        for action in (
            self.query_order,
            self.close_order,
            self.refund,
            self.query_refund,
            self.transfer,
            self.query_transfer,
            self.bill,
        ):
            app.router.add_post(f"/{action.__name__}", self._signed(action))
        app.cleanup_ctx.append(self._life)
        return app

    async def _life(self, _: web.Application) -> Any:
        timeout = aiohttp.ClientTimeout(total=10)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=64))
        for row in self.books.rows("SELECT * FROM payments WHERE told = 0"):
            self._later(self._tell(row["transaction_id"]))
        yield
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def _later(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _signed(self, action: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            try:
                self._signatures.verify(raw, request.headers)
            except BadSignature:
                return web.json_response({"error": "bad signature"}, status=401)
            body = json.loads(raw)
            if body.get("action") != action.__name__:
                return web.json_response({"error": "another action was signed"}, status=400)
            if self._happens(self.trouble.time_out_before):
                return self._hang_up(request)
            reply = action(body)
            if self._happens(self.trouble.time_out_after):
                return self._hang_up(request)
            if reply is None:
                return web.json_response({"state": "not_found"}, status=404)
            return web.json_response(reply)

        return handle

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    @staticmethod
    def _hang_up(request: web.Request) -> web.StreamResponse:
        """Break the connection instead of answering."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=504)

    # -- payments

    async def healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def set_trouble(self, request: web.Request) -> web.Response:
        self.trouble = msgspec.json.decode(await request.read(), type=Trouble)
        if self.trouble.seed is not None:
            self.random.seed(self.trouble.seed)
        return web.json_response(msgspec.to_builtins(self.trouble))

    async def take_reminder(self, request: web.Request) -> web.StreamResponse:
        """A ``reminder.due``; a repeated message id is the same reminder."""
        raw = await request.read()
        try:
            self._signatures.verify(raw, request.headers)
        except BadSignature:
            return web.json_response({"error": "bad signature"}, status=401)
        if self._happens(self.trouble.time_out_before):
            return self._hang_up(request)
        self.books.db.execute(
            "INSERT INTO reminders (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET times = times + 1",
            (request.headers["webhook-id"], raw.decode()),
        )
        if self._happens(self.trouble.time_out_after):
            return self._hang_up(request)
        return web.Response(status=204)

    async def list_reminders(self, _: web.Request) -> web.Response:
        found = self.books.rows("SELECT * FROM reminders ORDER BY id")
        items = [{"id": row["id"], "times": row["times"], "body": json.loads(row["body"])} for row in found]
        return web.json_response({"items": items})

    async def pay(self, request: web.Request) -> web.Response:
        """A user pays: ``{order_no, amount, buyerId, at_ms, again?}``. Answers with the callback's reply, if any.

        ``again`` pays an order a second time, under another transaction.
        """
        body = json.loads(await request.read())
        number = body["order_no"]
        if self.books.one("SELECT 1 FROM closed WHERE order_no = ?", number):
            return web.json_response({"error": "closed"}, status=409)
        count = len(self.books.rows("SELECT 1 FROM payments WHERE order_no = ?", number))
        transaction_id = f"S{number}{count if body.get('again') else 0}"
        self.books.db.execute(
            "INSERT OR IGNORE INTO payments (transaction_id, order_no, amount, payer, at_ms) VALUES (?, ?, ?, ?, ?)",
            (transaction_id, number, body["amount"], body["buyerId"], body["at_ms"]),
        )
        status, reply = await self._later(self._tell(transaction_id))
        return web.Response(body=reply, status=200, headers={"x-callback-status": str(status)})

    def _callback_body(self, row: sqlite3.Row) -> dict[str, Any]:
        paid_at = datetime.fromtimestamp(row["at_ms"] / 1000, self._zone)
        return {
            "amount": row["amount"],
            "buyerId": row["payer"],
            "notify_time": paid_at.strftime("%Y-%m-%d %H:%M:%S"),
            "content": "clock stake",
            "transactionId": row["transaction_id"],
        }

    async def _tell(self, transaction_id: str) -> tuple[int, bytes]:
        """Send the callback with the configured faults; return the first reply. Without a 2xx it is retried later."""
        row = self.books.one("SELECT * FROM payments WHERE transaction_id = ?", transaction_id)
        assert row is not None
        raw = msgspec.json.encode({"order_no": row["order_no"], "extra": self._callback_body(row)})
        trouble = self.trouble
        if self._happens(trouble.callback_lost):
            return 0, b"{}"
        if trouble.callback_delay_ms:
            await asyncio.sleep(self.random.random() * trouble.callback_delay_ms / 1000)
        if self._happens(trouble.callback_forged):
            await self._send(raw.replace(b'"amount":', b'"amount":1'), self._signatures.sign(raw))
        status, reply = await self._send(raw, self._signatures.sign(raw))
        if self._happens(trouble.callback_twice):
            await self._send(raw, self._signatures.sign(raw))
        if 200 <= status < 300:
            self.books.db.execute("UPDATE payments SET told = 1 WHERE transaction_id = ?", (transaction_id,))
        else:
            self._later(self._tell_again(transaction_id, raw))
        return status, reply

    async def _tell_again(self, transaction_id: str, raw: bytes) -> None:
        for attempt in range(GIVE_UP):
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            status, _ = await self._send(raw, self._signatures.sign(raw))
            if 200 <= status < 300:
                self.books.db.execute("UPDATE payments SET told = 1 WHERE transaction_id = ?", (transaction_id,))
                return

    async def _send(self, raw: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        assert self._session is not None
        try:
            async with self._session.post(self._callback_url, data=raw, headers=headers) as reply:
                return reply.status, await reply.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, b"{}"

    # -- calls by the service, all idempotent

    def query_order(self, body: dict[str, Any]) -> dict[str, Any] | None:
        row = self.books.one("SELECT * FROM payments WHERE order_no = ? ORDER BY at_ms LIMIT 1", body["order_no"])
        if row is not None:
            return {"state": "paid", "payment": self._callback_body(row)}
        closed = self.books.one("SELECT 1 FROM closed WHERE order_no = ?", body["order_no"])
        return {"state": "closed"} if closed else None

    def close_order(self, body: dict[str, Any]) -> dict[str, Any] | None:
        paid = self.query_order(body)
        if paid is not None:
            return paid
        self.books.db.execute("INSERT OR IGNORE INTO closed VALUES (?)", (body["order_no"],))
        return {"state": "closed"}

    def refund(self, body: dict[str, Any]) -> dict[str, Any]:
        paid = self.books.one("SELECT * FROM payments WHERE transaction_id = ?", body["transactionId"])
        if paid is None or paid["order_no"] != body["order_no"]:
            return {"state": "failed", "reason": "no such payment"}
        others = self.books.one(
            "SELECT coalesce(sum(amount), 0) AS fen FROM movements"
            " WHERE kind = 'refund' AND json_extract(body, '$.transactionId') = ? AND no <> ?",
            body["transactionId"],
            body["refund_no"],
        )
        assert others is not None
        if body["amount"] + others["fen"] > paid["amount"]:
            return {"state": "failed", "reason": "more than was paid"}
        return self._move("refund", body["refund_no"], body["order_no"], paid["payer"], body)

    def transfer(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._move("transfer", body["transfer_no"], "", body["openId"], body)

    def query_refund(self, body: dict[str, Any]) -> dict[str, Any] | None:
        return self.books.state_of(body["refund_no"])

    def query_transfer(self, body: dict[str, Any]) -> dict[str, Any] | None:
        return self.books.state_of(body["transfer_no"])

    def _move(self, kind: str, no: str, order_no: str, payer: str, body: dict[str, Any]) -> dict[str, Any]:
        """Once per number; the same number with another body is a conflict."""
        text = json.dumps(body, sort_keys=True)
        known = self.books.one("SELECT body FROM movements WHERE no = ?", no)
        if known is not None and known["body"] != text:
            return {"state": "failed", "reason": "the number was used for something else"}
        if known is None:
            lapses = kind == "transfer" and self._happens(self.trouble.lapses)
            waits = lapses or self._happens(self.trouble.processing)
            self.books.db.execute(
                "INSERT INTO movements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    no,
                    kind,
                    order_no,
                    payer,
                    body["amount"],
                    text,
                    "processing" if waits else "done",
                    time.time() + self.trouble.processing_ms / 1000,
                    "failed" if lapses else "done",
                    int(time.time() * 1000),
                ),
            )
        state = self.books.state_of(no)
        assert state is not None
        return state

    def bill(self, body: dict[str, Any]) -> dict[str, Any]:
        """Payments, refunds and transfers of a day in the sandbox's time zone; those that are done."""
        start = datetime.fromisoformat(body["day"]).replace(tzinfo=self._zone)
        first_ms, last_ms = int(start.timestamp() * 1000), int(start.timestamp() * 1000) + 86_400_000
        lines = [
            {
                "kind": "payment",
                "no": row["transaction_id"],
                "order_no": row["order_no"],
                "amount_fen": row["amount"],
                "at_ms": row["at_ms"],
                "payer": row["payer"],
            }
            for row in self.books.rows("SELECT * FROM payments WHERE at_ms >= ? AND at_ms < ?", first_ms, last_ms)
        ]
        for row in self.books.rows("SELECT * FROM movements WHERE at_ms >= ? AND at_ms < ?", first_ms, last_ms):
            state = self.books.state_of(row["no"])
            if state is not None and state["state"] == "done":
                lines.append(
                    {
                        "kind": row["kind"],
                        "no": row["no"],
                        "order_no": row["order_no"],
                        "amount_fen": row["amount"],
                        "at_ms": row["at_ms"],
                        "payer": row["payer"],
                    }
                )
        return {"lines": lines}


async def serve(settings: Settings) -> None:
    """Listen on 127.0.0.1 until SIGTERM or SIGINT."""
    logs.configure("sandbox")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    callback_url = f"{page(settings)}callbacks/platform"
    path = settings.data_dir / "sandbox.sqlite"
    runner = web.AppRunner(
        Provider(path, callback_url, settings.webhook_secret, settings.timezone).app(), access_log=None
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.sandbox_port, backlog=4096).start()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
    await runner.cleanup()
