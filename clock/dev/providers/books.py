"""A double's books: an SQLite file, written before a request is answered, so the process may be killed at any time.

``orders`` are those that were asked for, and ``payments`` those that were paid. ``movements`` is money that left:
refunds and transfers, each under one number. ``told`` is 1 once the service has taken the notification.
"""

import json
import sqlite3
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

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

FOREIGN_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    order_no TEXT PRIMARY KEY, how TEXT NOT NULL, asked TEXT NOT NULL, amount INTEGER NOT NULL, payer TEXT NOT NULL,
    expires_ms INTEGER NOT NULL, notify_url TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ends (
    no TEXT PRIMARY KEY, transaction_id TEXT NOT NULL, notify_url TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    at_ms INTEGER NOT NULL DEFAULT 0, told INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS ends_untold ON ends (no) WHERE told = 0;
"""
"""Of providers whose orders have to be made before they can be paid, and who tell when money has moved: ``ends``
belongs to a movement."""

PENDING = ("processing", "waiting")

BEIJING = timezone(timedelta(hours=8))
"""Where WeChat Pay and Alipay date everything."""

LAST_MOMENT_MS = 120_000
"""Who had the password page open when the order expired may still be through with it so much later."""


class Books:
    def __init__(self, path: Path, schema: str = "") -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA + schema)
        self.db.row_factory = sqlite3.Row

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        return self.db.execute(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> sqlite3.Row | None:
        found = self.rows(statement, *values)
        return found[0] if found else None

    def is_closed(self, order_no: str) -> bool:
        return self.one("SELECT 1 FROM closed WHERE order_no = ?", order_no) is not None

    def close(self, order_no: str) -> None:
        self.db.execute("INSERT OR IGNORE INTO closed VALUES (?)", (order_no,))

    def pay(self, order_no: str, amount: int, payer: str, at_ms: int, again: bool) -> str:
        """The transaction; ``again``: one more of the same order."""
        count = len(self.rows("SELECT 1 FROM payments WHERE order_no = ?", order_no))
        transaction_id = f"S{order_no}{count if again else 0}"
        self.db.execute(
            "INSERT OR IGNORE INTO payments (transaction_id, order_no, amount, payer, at_ms) VALUES (?, ?, ?, ?, ?)",
            (transaction_id, order_no, amount, payer, at_ms),
        )
        return transaction_id

    def payment(self, transaction_id: str) -> sqlite3.Row | None:
        return self.one("SELECT * FROM payments WHERE transaction_id = ?", transaction_id)

    def payment_of(self, order_no: str) -> sqlite3.Row | None:
        """The first one."""
        return self.one("SELECT * FROM payments WHERE order_no = ? ORDER BY at_ms LIMIT 1", order_no)

    def refunded(self, transaction_id: str, but: str = "") -> int:
        """Fen of a payment's refunds that have not failed; without number ``but``."""
        found = self.one(
            "SELECT coalesce(sum(amount), 0) AS fen FROM movements WHERE kind = 'refund' AND state <> 'failed'"
            " AND json_extract(body, '$.transactionId') = ? AND no <> ?",
            transaction_id,
            but,
        )
        assert found is not None
        return int(found["fen"])

    def move(
        self, kind: str, no: str, order_no: str, payer: str, body: dict[str, Any], state: str, ends: str, wait_ms: int
    ) -> None:
        """``body``: what was asked, ``amount`` in fen included. ``state`` becomes ``ends`` after ``wait_ms``."""
        now = time.time()
        self.db.execute(
            "INSERT INTO movements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(no, kind, order_no, payer, body["amount"], text_of(body), state),
                *(now + wait_ms / 1000, ends, int(now * 1000)),
            ),
        )

    def movement(self, no: str) -> sqlite3.Row | None:
        """A refund or a transfer as it is now: one that was pending becomes what it ends as, once its time has come."""
        row = self.one("SELECT * FROM movements WHERE no = ?", no)
        if row is None or row["state"] not in PENDING or time.time() < row["settles_at"]:
            return row
        self.db.execute("UPDATE movements SET state = ends WHERE no = ?", (no,))
        return self.one("SELECT * FROM movements WHERE no = ?", no)

    def paid_on(self, first_ms: int) -> list[sqlite3.Row]:
        """Payments of the day that begins then."""
        return self.rows("SELECT * FROM payments WHERE at_ms >= ? AND at_ms < ?", first_ms, first_ms + DAY_MS)

    def moved_on(self, first_ms: int) -> list[sqlite3.Row]:
        found = self.rows("SELECT no FROM movements WHERE at_ms >= ? AND at_ms < ?", first_ms, first_ms + DAY_MS)
        return [row for one in found if (row := self.movement(one["no"])) is not None]


DAY_MS = 86_400_000


def text_of(body: dict[str, Any]) -> str:
    """The same for the same body."""
    return json.dumps(body, sort_keys=True, ensure_ascii=False)


def rfc3339(at_ms: int) -> str:
    """In Beijing, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, BEIJING).isoformat()


def beijing(at_ms: int) -> str:
    """``YYYY-MM-DD HH:MM:SS``, without a zone."""
    return datetime.fromtimestamp(at_ms // 1000, BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def beijing_ms(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING).timestamp() * 1000)


def day_ms(day: str) -> int:
    """Raises :class:`ValueError`."""
    return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=BEIJING).timestamp() * 1000)


def yuan(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"
