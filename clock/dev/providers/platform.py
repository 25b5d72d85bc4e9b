"""The sandbox provider: the double of the platform.

It implements the whole protocol of the platform channel. It takes payments, and sends signed callbacks until one is
answered 2xx. It executes refunds and transfers once per number, answers queries, has a daily bill, and receives
reminders.
"""

import json
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web

from clock.channels import BadSignature
from clock.channels.webhooks import Signatures
from clock.dev.providers.books import text_of
from clock.dev.providers.double import Double, Message, Sealed, Trouble


class PlatformDouble(Double):
    """``callback_url`` is where the service takes callbacks; ``timezone`` is the zone of ``notify_time``."""

    name = "platform"

    def __init__(self, path: Path, callback_url: str, secrets: str, timezone: str) -> None:
        super().__init__(path)
        self.trouble = Trouble()
        self._callback_url = callback_url
        self._signatures = Signatures(secrets)
        self._zone = ZoneInfo(timezone)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/reminders", self.take_reminder)
        router.add_get("/reminders", self.list_reminders)
        for action in (
            self.query_order,
            self.close_order,
            self.refund,
            self.query_refund,
            self.transfer,
            self.query_transfer,
            self.bill,
        ):
            router.add_post(f"/{action.__name__}", self._signed(action))

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
            if self.happens(self.trouble.time_out_before):
                return self.hang_up(request)
            reply = action(body)
            if self.happens(self.trouble.time_out_after):
                return self.hang_up(request)
            if reply is None:
                return web.json_response({"state": "not_found"}, status=404)
            return web.json_response(reply)

        return handle

    # -- what it sends

    def message_of(self, payment: sqlite3.Row) -> Message:
        body = {"order_no": payment["order_no"], "extra": self._callback_body(payment)}
        return Message(self._callback_url, msgspec.json.encode(body))

    def seal(self, raw: bytes) -> Sealed:
        return raw, self._signatures.sign(raw)

    def bad(self, raw: bytes) -> list[Sealed]:
        if not self.happens(self.trouble.callback_forged):
            return []
        return [(raw.replace(b'"amount":', b'"amount":1'), self._signatures.sign(raw))]

    def _callback_body(self, row: sqlite3.Row) -> dict[str, Any]:
        paid_at = datetime.fromtimestamp(row["at_ms"] / 1000, self._zone)
        return {
            "amount": row["amount"],
            "buyerId": row["payer"],
            "notify_time": paid_at.strftime("%Y-%m-%d %H:%M:%S"),
            "content": "clock stake",
            "transactionId": row["transaction_id"],
        }

    # -- reminders

    async def take_reminder(self, request: web.Request) -> web.StreamResponse:
        """A ``reminder.due``; a repeated message id is the same reminder."""
        raw = await request.read()
        try:
            self._signatures.verify(raw, request.headers)
        except BadSignature:
            return web.json_response({"error": "bad signature"}, status=401)
        if self.happens(self.trouble.time_out_before):
            return self.hang_up(request)
        self.books.db.execute(
            "INSERT INTO reminders (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET times = times + 1",
            (request.headers["webhook-id"], raw.decode()),
        )
        if self.happens(self.trouble.time_out_after):
            return self.hang_up(request)
        return web.Response(status=204)

    async def list_reminders(self, _: web.Request) -> web.Response:
        found = self.books.rows("SELECT * FROM reminders ORDER BY id")
        items = [{"id": row["id"], "times": row["times"], "body": json.loads(row["body"])} for row in found]
        return web.json_response({"items": items})

    # -- calls by the service, all idempotent

    def query_order(self, body: dict[str, Any]) -> dict[str, Any] | None:
        row = self.books.payment_of(body["order_no"])
        if row is not None:
            return {"state": "paid", "payment": self._callback_body(row)}
        return {"state": "closed"} if self.books.is_closed(body["order_no"]) else None

    def close_order(self, body: dict[str, Any]) -> dict[str, Any] | None:
        paid = self.query_order(body)
        if paid is not None:
            return paid
        self.books.close(body["order_no"])
        return {"state": "closed"}

    def refund(self, body: dict[str, Any]) -> dict[str, Any] | None:
        paid = self.books.payment(body["transactionId"])
        if paid is None or paid["order_no"] != body["order_no"]:
            return {"state": "failed", "reason": "no such payment"}
        if body["amount"] + self.books.refunded(body["transactionId"], body["refund_no"]) > paid["amount"]:
            return {"state": "failed", "reason": "more than was paid"}
        return self._move("refund", body["refund_no"], body["order_no"], paid["payer"], body)

    def transfer(self, body: dict[str, Any]) -> dict[str, Any] | None:
        return self._move("transfer", body["transfer_no"], "", body["openId"], body)

    def query_refund(self, body: dict[str, Any]) -> dict[str, Any] | None:
        return self._state_of(body["refund_no"])

    def query_transfer(self, body: dict[str, Any]) -> dict[str, Any] | None:
        return self._state_of(body["transfer_no"])

    def _state_of(self, no: str) -> dict[str, Any] | None:
        row = self.books.movement(no)
        if row is None:
            return None
        return {"state": row["state"], "reason": "lapsed" if row["state"] == "failed" else ""}

    def _move(self, kind: str, no: str, order_no: str, payer: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Once per number; the same number with another body is a conflict."""
        known = self.books.movement(no)
        if known is not None and known["body"] != text_of(body):
            return {"state": "failed", "reason": "the number was used for something else"}
        if known is None:
            lapses = kind == "transfer" and self.happens(self.trouble.lapses)
            state = "processing" if lapses or self.happens(self.trouble.processing) else "done"
            ends = "failed" if lapses else "done"
            self.books.move(kind, no, order_no, payer, body, state, ends, self.trouble.processing_ms)
        return self._state_of(no)

    def bill(self, body: dict[str, Any]) -> dict[str, Any]:
        """Payments, refunds and transfers of a day in the sandbox's time zone; those that are done."""
        start = datetime.fromisoformat(body["day"]).replace(tzinfo=self._zone)
        first_ms = int(start.timestamp() * 1000)
        done = [row for row in self.books.moved_on(first_ms) if row["state"] == "done"]
        payments = [("payment", row["transaction_id"], row) for row in self.books.paid_on(first_ms)]
        lines = [
            {
                "kind": kind,
                "no": no,
                "order_no": row["order_no"],
                "amount_fen": row["amount"],
                "at_ms": row["at_ms"],
                "payer": row["payer"],
            }
            for kind, no, row in [*payments, *((row["kind"], row["no"], row) for row in done)]
        ]
        return {"lines": lines}
