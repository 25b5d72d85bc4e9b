"""What the doubles of WeChat Pay and Alipay have in common: an order is made by the service before anybody can pay it,
and it says where its notifications go; money that has moved is told of as well."""

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from clock.dev.providers.books import FOREIGN_SCHEMA, LAST_MOMENT_MS, PENDING, text_of
from clock.dev.providers.double import Double, Message, Trouble

LOOK_SECONDS = 0.05
"""How often the double looks for movements that have ended."""

UNDER_WAY = 2
"""``ends.told``, while it is told of by this process."""


class ForeignTrouble(Trouble):
    not_enough: float = 0
    """The merchant's account is empty: a refund or transfer is refused, and nothing is done."""
    unsigned: float = 0
    """The call is carried out, and the answer's signature is missing or wrong."""
    bill_missing: float = 0


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A refund (``paid``: of which payment) or a transfer, as it was asked for; ``body`` has its ``amount`` in fen."""

    kind: Literal["refund", "transfer"]
    no: str
    payer: str
    body: dict[str, Any]
    notify_url: str
    paid: Any = None


class Outcome(msgspec.Struct, frozen=True):
    """``state`` becomes ``ends`` after ``wait_ms``; ``reason``: why it will have failed."""

    state: str
    ends: str
    wait_ms: int = 0
    reason: str = ""


DONE = Outcome("done", "done")


class ForeignDouble(Double):
    def __init__(self, path: Path) -> None:
        super().__init__(path, FOREIGN_SCHEMA)

    def end_message_of(self, movement: sqlite3.Row, end: sqlite3.Row) -> Message:
        """The notification that a movement has ended."""
        raise NotImplementedError

    async def resume(self) -> None:
        await super().resume()
        self.books.db.execute("UPDATE ends SET told = 0 WHERE told = ?", (UNDER_WAY,))
        self.later(self._watch())

    async def _watch(self) -> None:
        """Tell of movements when they have ended."""
        while True:
            for end in self.books.rows("SELECT * FROM ends WHERE told = 0"):
                movement = self.books.movement(end["no"])
                if movement is not None and movement["state"] not in PENDING:
                    self.books.db.execute("UPDATE ends SET told = ? WHERE no = ?", (UNDER_WAY, end["no"]))
                    self.later(self._tell_end(movement))
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell_end(self, movement: sqlite3.Row) -> None:
        no = movement["no"]
        self.books.db.execute("UPDATE ends SET at_ms = ? WHERE no = ? AND at_ms = 0", (now_ms(), no))
        await self.deliver(self.end_message_of(movement, self.end_of(no)), "UPDATE ends SET told = 1 WHERE no = ?", no)

    def end_of(self, no: str) -> sqlite3.Row:
        end = self.books.one("SELECT * FROM ends WHERE no = ?", no)
        assert end is not None
        return end

    def paid(self, status: int, reply: bytes) -> bytes:
        return word("told" if self.taken(status, reply) else "untold")

    # -- orders

    def order(self, order_no: str) -> sqlite3.Row | None:
        return self.books.one("SELECT * FROM orders WHERE order_no = ?", order_no)

    def make_order(
        self, order_no: str, how: str, asked: dict[str, Any], amount: int, payer: str, expires_ms: int, notify_url: str
    ) -> bool:
        """Whether the order is there as it was asked for: it may be asked for again, with the same parameters."""
        self.books.db.execute(
            "INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (order_no, how, text_of(asked), amount, payer, expires_ms, notify_url, now_ms()),
        )
        order = self.order(order_no)
        assert order is not None
        return (order["how"], order["asked"]) == (how, text_of(asked))

    def refusal_of(self, body: dict[str, Any]) -> str:
        """An order is paid as it was made. Its expiry is compared with the payment's instant, which is by the game's
        clock; ours does not move with it."""
        order = self.order(body["order_no"])
        if order is None:
            return "no such order"
        if super().refusal_of(body):
            return "closed"
        if body["at_ms"] >= order["expires_ms"] + LAST_MOMENT_MS:
            return "expired"
        if order["payer"] and order["payer"] != body["buyerId"]:
            return "the order is another user's"
        if body["amount"] != order["amount"]:
            return "the order has another amount"
        return ""

    # -- money out

    def begin(self, movement: Movement, outcome: Outcome) -> sqlite3.Row:
        paid, body = movement.paid, movement.body
        transaction_id, order_no = (paid["transaction_id"], paid["order_no"]) if paid is not None else ("", "")
        body = {**body, "transactionId": transaction_id}
        asked = movement.kind, movement.no, order_no, movement.payer, body
        db = self.books.db
        db.execute("BEGIN")
        try:
            self.books.move(*asked, outcome.state, outcome.ends, outcome.wait_ms)
            db.execute(
                "INSERT INTO ends (no, transaction_id, notify_url, reason, told) VALUES (?, ?, ?, ?, ?)",
                (movement.no, transaction_id, movement.notify_url, outcome.reason, 0 if movement.notify_url else 1),
            )
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        found = self.books.movement(movement.no)
        assert found is not None
        return found

    def was_asked(self, movement: sqlite3.Row, body: dict[str, Any]) -> bool:
        """Whether a known number was asked for just this."""
        return bool(
            movement["body"] == text_of({**body, "transactionId": self.end_of(movement["no"])["transaction_id"]})
        )


def word(code: str) -> bytes:
    """In the envelope of the service's own answers: notifications' answers have no word of ours."""
    return json.dumps({"status": int(code != "untold"), "code": code, "message": code, "data": {}}).encode()


def now_ms() -> int:
    return int(time.time() * 1000)
