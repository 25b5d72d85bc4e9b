"""Migrations are applied once, in order; a database that does not fit this version is refused."""

import psycopg
import pytest

from clock.books.migrations import BadMigration, migrate, migrations
from clock.domain.outcomes import Unavailable
from clock.runtime.ports import free_port


async def change(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        assert (await connection.execute(statement.encode())).rowcount == 1


async def test_what_is_applied_is_not_applied_again(database_url: str) -> None:
    assert await migrate(database_url) == []


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(database_url: str) -> None:
    await change(database_url, "UPDATE migrations SET checksum = 'another' WHERE name = '0001_rounds_and_books'")
    with pytest.raises(BadMigration, match=r"0001_rounds_and_books\.sql is not what was applied"):
        await migrate(database_url)


async def test_a_database_of_a_later_version_is_refused_and_says_why(database_url: str) -> None:
    await change(database_url, "INSERT INTO migrations (name, checksum) VALUES ('9999_later', '')")
    with pytest.raises(BadMigration, match=r"older than the database .* 9999_later"):
        await migrate(database_url)


async def test_a_postgres_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="Postgres: "):
        await migrate(f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere")


BEFORE_UNPAID = (
    "DELETE FROM migrations WHERE name = '0011_unpaid'",
    "DROP TABLE unpaid",
    "ALTER TABLE rounds DROP COLUMN sweep_began_at, DROP COLUMN swept_uid",
    "INSERT INTO rounds (day, rules, seed, seed_hash, state, finished_at)"
    " SELECT day, '{}', repeat('s', 32)::bytea, sha256(repeat('s', 32)::bytea), 'finished', finished_at"
    " FROM (VALUES ('2026-11-21'::date, now()), ('2026-11-22', NULL)) AS r (day, finished_at)",
    "INSERT INTO orders SELECT day, uid, 'N' || to_char(day, 'DD') || uid, uid, 100, '', 1000"
    " FROM rounds, generate_series(1, 4) AS uid",
    "INSERT INTO payments SELECT day, order_no, 'T', uid, 100, 0, 0, outcome, 'platform', ''"
    " FROM orders JOIN (VALUES (1, 'paid'), (2, 'refund_late')) AS paid (uid, outcome) USING (uid)",
    "INSERT INTO order_questions SELECT day, order_no, 3, 5000, 'unknown' FROM orders WHERE uid IN (2, 3)",
)


async def test_unpaid_orders_of_rounds_that_have_not_ended_keep_when_they_were_asked_about(database_url: str) -> None:
    questions = next(one.text for one in migrations() if one.name == "0002_ledger_and_outgoing")
    start = questions.index("CREATE TABLE order_questions")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(questions[start : questions.index(";", start)].encode())
        for statement in BEFORE_UNPAID:
            await connection.execute(statement.encode())
        assert await migrate(database_url) == ["0011_unpaid"]
        found = await connection.execute("SELECT day::text, uid, order_no, asked, next_at_ms, answer FROM unpaid")
        assert sorted(await found.fetchall()) == [
            ("2026-11-22", 3, "N223", 3, 5000, "unknown"),
            ("2026-11-22", 4, "N224", 0, 121_000, None),
        ]
