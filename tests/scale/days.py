"""Books of many days, made in SQL: a few users who play every round, all of which have ended."""

import hashlib
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import msgspec
import psycopg

from clock.books.migrations import migrations
from clock.books.partitions import PARTITIONED
from clock.config import Settings, rules_of

Connection = psycopg.AsyncConnection[tuple[object, ...]]

USERS = 4
"""Of each round: the first two check in and are paid out, the third does not, the fourth paid too late and gets it
back. The second's payout of every fifth round has failed."""

DAY_PARTITIONS = """
DO $$ DECLARE of_table text; of_day date; BEGIN
    FOREACH of_table IN ARRAY '{{{tables}}}'::text[] LOOP
        FOR of_day IN SELECT generate_series('{first}'::date, '{last}'::date, '1 day')::date LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%L)',
                of_table || to_char(of_day, '_YYYYMMDD'), of_table, of_day);
        END LOOP;
    END LOOP;
END $$
"""

ROWS = Path(__file__).with_name("days.sql")


async def make_rows(connection: Connection, settings: Settings, first: date, days: int) -> None:
    """The rows of so many days from the first on; their partitions are there."""
    rules, seed = msgspec.json.encode(rules_of(settings)).decode(), b"s" * 32
    hashed = hashlib.sha256(seed).hexdigest()
    last = first + timedelta(days - 1)
    words = {"first": first, "last": last, "users": USERS, "rules": rules, "seed": seed.hex(), "seed_hash": hashed}
    text = ROWS.read_text("utf-8")
    for name, value in words.items():
        text = text.replace(f":{name}:", str(value))
    async with connection.transaction():
        await connection.execute("SET LOCAL timezone = 'UTC'")
        for statement in text.split(";\n"):
            await connection.execute(statement.encode())


async def make_day_partitions(connection: Connection, first: date, days: int, tables: Iterable[str]) -> None:
    """As earlier versions made them: one a table and day."""
    text = DAY_PARTITIONS.format(tables=",".join(tables), first=first, last=first + timedelta(days - 1))
    await connection.execute(text.encode())


async def make_old_books(url: str, settings: Settings, first: date, days: int) -> None:
    """An empty database becomes the books of the last version whose partitions were days."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for one in migrations():
            if one.name < "0010":
                await connection.execute(one.text.encode())
                await connection.execute("INSERT INTO migrations VALUES (%s, %s)", [one.name, one.checksum])
        await make_day_partitions(connection, first, days, PARTITIONED)
        await make_rows(connection, settings, first, days)
