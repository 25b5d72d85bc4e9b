"""What the audit compares: a round in Postgres, in Valkey, and in the provider's own books, read as they are."""

import asyncio
import sqlite3
from collections import defaultdict
from datetime import date
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from clock.game import keys
from tests.faults.stack import Stack

Row = dict[str, Any]


class Payment(msgspec.Struct):
    order_no: str
    amount_fen: int
    refunds_fen: list[int]


class Provider(msgspec.Struct):
    """Of one round. Money that the provider moved: ``done`` or still ``processing``; what lapsed is apart."""

    payments: dict[str, Payment]
    """By transaction."""
    transfers: dict[str, list[int]]
    """Fen by openId."""
    lapsed: dict[str, list[int]]


class Books(msgspec.Struct):
    """Of one round, in Postgres."""

    round: Row
    orders: dict[int, Row]
    payments: dict[str, Row]
    """By transaction."""
    members: dict[int, Row]
    check_ins: dict[int, Row]
    claims: dict[int, Row]
    refunds: dict[str, Row]
    packets_fen: list[int]
    outgoing: list[Row]
    accounts: dict[str, int]
    """Each account of the ledger: what this round's transfers left in it."""


async def read_provider(stack: Stack, day: date) -> Provider:
    return await asyncio.to_thread(_read_provider, stack.sqlite, f"-{day:%m%d}")


def _read_provider(path: Any, ending: str) -> Provider:
    """The round's payments are those whose payer's openId ends with its day."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    payments = {
        row["transaction_id"]: Payment(row["order_no"], row["amount"], [])
        for row in db.execute("SELECT * FROM payments")
        if row["payer"].endswith(ending)
    }
    transfers: dict[str, list[int]] = defaultdict(list)
    lapsed: dict[str, list[int]] = defaultdict(list)
    for row in db.execute("SELECT * FROM movements"):
        if not row["payer"].endswith(ending):
            continue
        fails = row["state"] == "failed" or (row["state"] == "processing" and row["ends"] == "failed")
        if row["kind"] == "refund":
            if not fails:
                transaction = msgspec.json.decode(row["body"])["transactionId"]
                payments[transaction].refunds_fen.append(row["amount"])
        else:
            (lapsed if fails else transfers)[row["payer"]].append(row["amount"])
    db.close()
    return Provider(payments, dict(transfers), dict(lapsed))


async def read_books(url: str, day: date) -> Books:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)

        async def rows(text: Any) -> list[Row]:
            return await (await connection.execute(text, {"day": day})).fetchall()

        async def by(key: str, table: Any) -> dict[Any, Row]:
            found = await rows(f"SELECT * FROM {table} WHERE day = %(day)s")
            assert len({row[key] for row in found}) == len(found), f"{table}: {key} twice"
            return {row[key]: row for row in found}

        accounts = await rows(
            "SELECT account, sum(amount_fen)::bigint AS fen FROM postings WHERE day = %(day)s GROUP BY account"
        )
        packets = await rows("SELECT fen FROM packets WHERE day = %(day)s")
        return Books(
            round=(await rows("SELECT * FROM rounds WHERE day = %(day)s"))[0],
            orders=await by("uid", "orders"),
            payments=await by("transaction_id", "payments"),
            members=await by("uid", "members"),
            check_ins=await by("uid", "check_ins"),
            claims=await by("uid", "claims"),
            refunds=await by("transaction_id", "refunds"),
            packets_fen=[row["fen"] for row in packets],
            outgoing=await rows("SELECT * FROM outgoing WHERE day = %(day)s"),
            accounts={row["account"]: row["fen"] for row in accounts},
        )


async def read_states(stack: Stack, day: date, shards: int) -> dict[int, str]:
    """uid to the letter of the user's record in Valkey."""
    redis: Any = stack.redis()
    try:
        found: dict[int, str] = {}
        for shard in range(shards):
            records = await redis.hgetall(keys.name(day, shard, "members"))
            found |= {int(uid): chr(record[0]) for uid, record in records.items()}
        return found
    finally:
        await redis.aclose()
