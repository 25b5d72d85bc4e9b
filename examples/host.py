"""A host of the game in one file, with Python's standard library alone. docs/embedding.md explains it.

It makes tokens, frames the players' page, takes payments and reports them, carries out refunds and transfers, answers
questions and the daily bill, and receives reminders and other events. Its money is not real; its books are an SQLite
file, written before anything is answered.

    CLOCK_JWT_SECRET=… CLOCK_WEBHOOK_SECRET=whsec_… CLOCK_URL=http://127.0.0.1:8080 HOST_PORT=8090 python3 host.py

The service has the same two secrets, and is told of it with CLOCK_PLATFORM_URL=http://127.0.0.1:8090/platform,
CLOCK_REMINDER_URL and CLOCK_EVENTS_URL=http://127.0.0.1:8090/events, and CLOCK_ORIGINS=http://127.0.0.1:8090.
"""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import threading
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

CLOCK_URL = os.environ.get("CLOCK_URL", "http://127.0.0.1:8080").rstrip("/")
JWT_SECRET = os.environ["CLOCK_JWT_SECRET"].encode()
WEBHOOK_SECRETS = os.environ["CLOCK_WEBHOOK_SECRET"].split()
"""The first one signs, all verify: so a secret can be changed without a gap."""
PORT = int(os.environ.get("HOST_PORT", "8090"))
ZONE = ZoneInfo(os.environ.get("CLOCK_TIMEZONE", "Asia/Shanghai"))

TOKEN_SECONDS = 12 * 3600
TOLERANCE_SECONDS = 300
RETRY_SECONDS = (1, 2, 5, 15, 30, 60, 300)
"""Delays before a payment that the service has not confirmed is reported again; the last one repeats."""
MOST_TRIES = 300
"""About a day: the service asks about its orders itself, and finds the payment in the bill."""
MOST_BODY = 1 << 20

# -- tokens and signatures


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token_for(uid: int) -> str:
    """A JWT, HS256: the user may play with it until it expires."""
    claims = {"sub": str(uid), "exp": int(time.time()) + TOKEN_SECONDS}
    parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.digest(JWT_SECRET, ".".join(parts).encode(), "sha256")
    return ".".join([*parts, base64url(signature)])


def signatures_of(number: str, at: str, raw: bytes) -> list[str]:
    """Standard Webhooks: what each of our secrets makes of the message."""
    signed = f"{number}.{at}.".encode() + raw
    keys = [base64.b64decode(secret.removeprefix("whsec_") + "==") for secret in WEBHOOK_SECRETS]
    return ["v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]


def is_signed(raw: bytes, number: str, at: str, given: str) -> bool:
    if not (number and at.isascii() and at.isdigit()) or abs(time.time() - int(at)) > TOLERANCE_SECONDS:
        return False
    expected = signatures_of(number, at, raw)
    return any(hmac.compare_digest(one.encode(), ours.encode()) for one in given.split() for ours in expected)


# -- the books

SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (order_no TEXT PRIMARY KEY, transaction_id TEXT NOT NULL, amount INTEGER NOT NULL,
    payer TEXT NOT NULL, at_ms INTEGER NOT NULL, answer TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
    next_ms INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS closed (order_no TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS movements (no TEXT PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL,
    order_no TEXT NOT NULL, amount INTEGER NOT NULL, payer TEXT NOT NULL, at_ms INTEGER NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT NOT NULL);
"""

Body = dict[str, Any]


class Books:
    """One thread at a time, so that what is looked at does not change before it is written."""

    def __init__(self, path: str) -> None:
        self.lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(SCHEMA)

    def all(self, statement: str, *values: Any) -> list[Body]:
        with self.lock:
            return [dict(row) for row in self._db.execute(statement, values)]

    def one(self, statement: str, *values: Any) -> Body | None:
        found = self.all(statement, *values)
        return found[0] if found else None


books = Books(os.environ.get("HOST_BOOKS", "host.sqlite"))


def now_ms() -> int:
    return int(time.time() * 1000)


# -- payments: taken here, reported to the service until it has confirmed them


def take_payment(uid: int, order_no: str, amount: int) -> str | None:
    """The user pays an order: here their wallet would be charged, once an order. The service's word; None: not yet."""
    with books.lock:
        if books.one("SELECT 1 FROM closed WHERE order_no = ?", order_no):
            return "order_closed"
        books.all(
            "INSERT OR IGNORE INTO payments (order_no, transaction_id, amount, payer, at_ms) VALUES (?, ?, ?, ?, ?)",
            *(order_no, uuid.uuid4().hex, amount, f"open-{uid}", now_ms()),
        )
    return report(order_no)


def payment_of(order_no: str) -> Body | None:
    """As the service wants to have it, in the callback and when it asks."""
    paid = books.one("SELECT * FROM payments WHERE order_no = ?", order_no)
    return paid and {
        "amount": paid["amount"],
        "buyerId": paid["payer"],
        "transactionId": paid["transaction_id"],
        "notify_time": datetime.fromtimestamp(paid["at_ms"] // 1000, ZONE).isoformat(),
    }


def report(order_no: str) -> str | None:
    """The signed callback. Any 2xx is final: the payment made a member, or will be refunded, or an operator looks."""
    raw = json.dumps({"order_no": order_no, "extra": payment_of(order_no)}).encode()
    number, at = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    headers = {
        "content-type": "application/json",
        "webhook-id": number,
        "webhook-timestamp": at,
        "webhook-signature": signatures_of(number, at, raw)[0],
    }
    request = urllib.request.Request(f"{CLOCK_URL}/callbacks/platform", raw, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            code: str = json.load(reply)["code"]
    except (OSError, ValueError):  # no answer, none with 2xx, or none that can be read
        with books.lock:
            tries = books.all("SELECT tries FROM payments WHERE order_no = ?", order_no)[0]["tries"]
            next_ms = now_ms() + 1000 * RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
            books.all("UPDATE payments SET tries = ?, next_ms = ? WHERE order_no = ?", tries + 1, next_ms, order_no)
        return None
    books.all("UPDATE payments SET answer = ? WHERE order_no = ?", code, order_no)
    return code


def keep_reporting() -> None:
    """Runs as long as the process; what was not confirmed when it died is reported when it is back."""
    while True:
        due = books.all(
            "SELECT order_no FROM payments WHERE answer = '' AND tries < ? AND next_ms <= ? AND at_ms < ? LIMIT 100",
            *(MOST_TRIES, now_ms(), now_ms() - 1000),
        )
        for one in due:
            report(one["order_no"])
        time.sleep(0.5)


# -- what the service calls; None: the number is not known


def query_order(body: Body) -> Body | None:
    if payment := payment_of(body["order_no"]):
        return {"state": "paid", "payment": payment}
    return {"state": "closed"} if books.one("SELECT 1 FROM closed WHERE order_no = ?", body["order_no"]) else None


def close_order(body: Body) -> Body | None:
    """From now on nobody can pay it; a payment that was there before is told."""
    with books.lock:
        if payment_of(body["order_no"]) is None:
            books.all("INSERT OR IGNORE INTO closed VALUES (?)", body["order_no"])
        return query_order(body)


def refund(body: Body) -> Body:
    with books.lock:
        paid = books.one(
            "SELECT * FROM payments WHERE order_no = ? AND transaction_id = ?", body["order_no"], body["transactionId"]
        )
        back = books.all(
            "SELECT amount FROM movements WHERE kind = 'refund' AND order_no = ? AND no <> ? AND state = 'done'",
            *(body["order_no"], body["refund_no"]),
        )
        too_much = paid is None or body["amount"] + sum(one["amount"] for one in back) > paid["amount"]
        return move("refund", body["refund_no"], body, paid["payer"] if paid else "", "too much" if too_much else "")


def transfer(body: Body) -> Body:
    return move("transfer", body["transfer_no"], body, body["openId"], "")


def move(kind: str, no: str, body: Body, payer: str, why_not: str) -> Body:
    """Move money once under this number. Here the wallet of ``payer`` would be credited."""
    text = json.dumps(body, sort_keys=True)
    with books.lock:
        known = books.one("SELECT body FROM movements WHERE no = ?", no)
        if known and known["body"] != text:
            return {"state": "failed", "reason": "the number was used for something else"}
        books.all(
            "INSERT OR IGNORE INTO movements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(no, kind, text, body.get("order_no", ""), body["amount"], payer, now_ms()),
            *("failed" if why_not else "done", why_not),
        )
        return books.all("SELECT state, reason FROM movements WHERE no = ?", no)[0]


def query_refund(body: Body) -> Body | None:
    return books.one("SELECT state, reason FROM movements WHERE no = ?", body["refund_no"])


def query_transfer(body: Body) -> Body | None:
    return books.one("SELECT state, reason FROM movements WHERE no = ?", body["transfer_no"])


def bill(body: Body) -> Body:
    """Everything that moved on a day of the game's calendar."""
    start = datetime.fromisoformat(body["day"]).replace(tzinfo=ZONE)
    first, last = (int(at.timestamp() * 1000) for at in (start, start + timedelta(days=1)))
    lines = books.all(
        "SELECT 'payment' AS kind, transaction_id AS no, order_no, amount AS amount_fen, at_ms, payer FROM payments"
        " WHERE at_ms >= ? AND at_ms < ? UNION ALL SELECT kind, no, order_no, amount, at_ms, payer FROM movements"
        " WHERE at_ms >= ? AND at_ms < ? AND state = 'done'",
        *(first, last, first, last),
    )
    return {"lines": lines}


ACTIONS = {
    one.__name__: one for one in (query_order, close_order, refund, query_refund, transfer, query_transfer, bill)
}

# -- the page

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A host</title>
<style>html, body, iframe {{ width: 100%; height: 100%; margin: 0; border: 0 }}</style>
<iframe id="game" src="{clock}/" title="Early-rise check-in"></iframe>
<script>
  const CLOCK = "{clock}", UID = {uid};
  const say = (type, detail) => document.getElementById("game").contentWindow.postMessage({{ type, detail }}, CLOCK);
  const ask = async (path, options) => (await fetch(`${{path}}?uid=${{UID}}`, options)).json();
  const handOver = async () => say("clock:token", await ask("/token"));
  addEventListener("message", async ({{ origin, data }}) => {{
    if (origin !== CLOCK) return;
    if (data.type === "clock:ready" || data.type === "clock:expired") await handOver();
    if (data.type === "clock:pay") {{
      const {{ order_no, amount }} = data.detail;
      if (!confirm(`Pay ${{amount / 100}} yuan?`)) return;
      const {{ code }} = await ask("/pay", {{ method: "POST", body: JSON.stringify({{ order_no, amount }}) }});
      if (code !== "order_closed") say("clock:paid", {{ order_no }});
    }}
  }});
</script></html>"""


def person(uid: int) -> dict[str, str]:
    """Whom the host knows under this number; ``openId`` is where their money goes."""
    return {"openId": f"open-{uid}", "mobile": f"138{uid:08}", "nickname": f"user {uid}"}


class Handler(BaseHTTPRequestHandler):
    """A real host asks its session who is there: here it is whoever the address says."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self.send(200, PAGE.format(clock=CLOCK_URL, uid=self.uid()).encode(), "text/html; charset=utf-8")
        elif path == "/token":
            self.say(200, {"token": token_for(self.uid()), **person(self.uid())})
        elif path == "/books":
            self.say(200, {name: books.all(f"SELECT * FROM {name}") for name in ("payments", "movements", "events")})
        else:
            self.say(404, {"error": "no such path"})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MOST_BODY:
            self.close_connection = True
            self.say(413, {"error": "a body of at most 1 MB is needed"})
            return
        raw = self.rfile.read(int(length))
        if path == "/pay":
            order = json.loads(raw)
            self.say(200, {"code": take_payment(self.uid(), order["order_no"], order["amount"])})
            return
        if not is_signed(raw, *(self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))):
            self.say(401, {"error": "bad signature"})
        elif path == "/events":  # the same id is the same event
            books.all("INSERT OR IGNORE INTO events VALUES (?, ?)", self.headers["webhook-id"], raw.decode())
            self.send(204)
        else:
            self.carry_out(path.removeprefix("/platform/"), json.loads(raw))

    def carry_out(self, action: str, body: Body) -> None:
        if action not in ACTIONS or body["action"] != action:  # what is signed for one action is not for another
            self.say(400, {"error": "another action was signed"})
            return
        reply = ACTIONS[action](body)
        self.say(200 if reply else 404, reply or {"state": "not_found"})

    def uid(self) -> int:
        return int(parse_qs(urlsplit(self.path).query).get("uid", ["7"])[0])

    def say(self, status: int, body: Body) -> None:
        self.send(status, json.dumps(body).encode())

    def send(self, status: int, body: bytes = b"", content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses and bodies have tokens and people in them."""


if __name__ == "__main__":
    threading.Thread(target=keep_reporting, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print(f"http://127.0.0.1:{PORT}/", flush=True)
    server.serve_forever()
