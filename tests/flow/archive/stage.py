"""Months that were played long ago, made in SQL: every table has rows, whose texts are hard on CSV."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg

from clock.books.months import Month
from clock.books.partitions import PARTITIONED, add_partitions
from clock.config import rules_of
from clock.domain.outcomes import Answer
from clock.operators.acts import By
from clock.operators.records import archive
from clock.service import Service

ANNA = By("anna", "127.0.0.1")
USERS = 20
"""Members of a round: the odd ones won."""

PLAYED = """
WITH d AS (SELECT generate_series(%(first)s::date, %(last)s::date, '1 day')::date AS day),
u AS (SELECT day, uid, 'TTC' || to_char(day, 'YYYYMMDD') || uid AS no,
             (extract(epoch FROM day) * 1000)::bigint + uid AS ms FROM d, generate_series(1, %(users)s) AS uid),
round AS (INSERT INTO rounds (day, rules, seed, seed_hash, state, members, winners, pool_fen, settled_at, finished_at,
              tallied_at, credited_at)
    SELECT day, %(rules)s::jsonb, sha256(day::text::bytea), sha256(sha256(day::text::bytea)), 'finished', %(users)s,
           %(users)s / 2, %(users)s * 100, now(), now(), now(), now() FROM d),
report AS (INSERT INTO reconciliations (day, at, differences, mended) SELECT day, now(), '[]', '[]' FROM d),
closing AS (INSERT INTO closings SELECT day, 0, 1, 'time', %(users)s, %(users)s / 2, 0, %(users)s * 100 FROM d),
ordered AS (INSERT INTO orders SELECT day, uid, no, uid, 100, 'open-' || uid, ms FROM u),
paid AS (INSERT INTO payments SELECT day, no, 'T"' || uid || E',\\n', uid, 100, ms, ms, 'paid', 'platform',
             '{"buyerId": "open-' || uid || '"}' FROM u),
member AS (INSERT INTO members SELECT day, uid, 100, false, ms FROM u),
up AS (INSERT INTO check_ins SELECT day, uid, ms, (uid + 1) / 2 FROM u WHERE uid % 2 = 1),
packet AS (INSERT INTO packets SELECT day, 0, (uid - 1) / 2, uid FROM u WHERE uid % 2 = 1),
claim AS (INSERT INTO claims SELECT day, uid, 0, (uid - 1) / 2, uid, 100, 'user', ms FROM u WHERE uid % 2 = 1),
refund AS (INSERT INTO refunds SELECT day, no, 'T' || uid, 'R' || no, uid, 100, 'void', ms FROM u WHERE uid = 2),
staked AS (INSERT INTO transfers
    SELECT day, 'stake', no || ':T', uid, 'channel:platform', 'pool:' || day, 100, ms FROM u),
fee AS (INSERT INTO transfers SELECT day, 'fee', 'settlement', NULL, 'pool:' || day, 'fee', 7, 7 FROM d),
withdrawn AS (INSERT INTO outgoing (day, no, kind, uid, amount_fen, state, handled, channel, open_id)
    SELECT day, 'W' || no, 'withdrawal', uid, uid, CASE uid WHEN 3 THEN 'failed' ELSE 'done' END,
           CASE uid WHEN 3 THEN 'returned' END, 'wechat', 'open-' || uid FROM u WHERE uid IN (3, 5))
INSERT INTO outgoing (day, no, kind, uid, amount_fen, state, handled, reason)
    SELECT day, 'P' || no, 'payout', uid, 100 + uid, CASE uid WHEN 1 THEN 'failed' ELSE 'done' END,
           CASE uid WHEN 1 THEN 'acknowledged' END, CASE uid WHEN 1 THEN '' END FROM u WHERE uid % 2 = 1
"""
"""A payout failed and was seen to: its reason is an empty text, where those of others are NULL."""


async def played(service: Service, text: str, users: int = USERS) -> Month:
    """A month (``YYYY-MM``) with a finished round a day."""
    month = Month.parse(text)
    await add_partitions(service.store, month.days)
    rules = msgspec.json.encode(rules_of(service.settings)).decode()
    await run(service, PLAYED.replace("% 2", "%% 2"), first=month.first, last=month.last, users=users, rules=rules)
    return month


async def run(service: Service, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    async with service.store.transaction() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def contents(service: Service, month: Month) -> dict[str, list[dict[str, Any]]]:
    """Every row of the month, by table, in some fixed order."""
    found = {}
    for table in PARTITIONED:
        statement = f"SELECT t.* FROM {table} t WHERE day BETWEEN %(first)s AND %(last)s ORDER BY t::text"
        found[table] = await run(service, statement, first=month.first, last=month.last)
    return found


def nameless(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """As the archive keeps them: nobody is named."""
    names = {"orders": "open_id", "payments": "raw", "outgoing": "open_id"}
    return {
        table: [
            row if (name := names.get(table)) is None or row[name] is None else row | {name: ""} for row in of_table
        ]
        for table, of_table in rows.items()
    }


async def take(service: Service, month: Month) -> Answer:
    return await archive.archive(service, ANNA, month)


async def restore(service: Service, month: Month) -> Answer:
    return await archive.restore(service, ANNA, month)


async def tables_of(service: Service, month: Month) -> list[str]:
    found = await run(
        service,
        "SELECT relname::text AS name FROM pg_class WHERE relkind = 'r' AND relname ~ %(like)s ORDER BY 1",
        like=f"_{month.first:%Y%m}\\d*$",
    )
    return [row["name"] for row in found]


@asynccontextmanager
async def locked(service: Service, statement: str) -> AsyncIterator[None]:
    """Somebody is in the middle of a transaction."""
    async with await psycopg.AsyncConnection.connect(service.settings.database_url) as connection:
        await connection.execute(statement.encode())
        yield
        await connection.rollback()
