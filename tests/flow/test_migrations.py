"""Migrations are applied once, in order; a database that does not fit this version is refused."""

import psycopg
import pytest

from clock.books.migrations import BadMigration, migrate, migrations
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.runtime.ports import free_port
from clock.service import Service
from clock.tlog.sequencer import take_some
from tests.conftest import Servers


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


BEFORE_LOG = (
    "DELETE FROM migrations WHERE name = '0018_log'",
    "DROP TRIGGER logged ON statements",
    "DROP FUNCTION wait_for_log()",
    "ALTER TABLE statements DROP CONSTRAINT statements_fit",
    "DROP TABLE log_waiting, log_entries, log_checkpoints, log_hashes, log_cosignatures, log_witnesses CASCADE",
    "INSERT INTO statements (day, kind, text, note) SELECT '2026-11-22'::date - number, 'opened', number::text, ''"
    " FROM generate_series(1, 600) AS number",
)


async def test_statements_of_before_there_was_a_log_are_taken_in_oldest_first(
    settings: Settings, service: Service
) -> None:
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
        for statement in BEFORE_LOG:
            await connection.execute(statement.encode())
        assert await migrate(settings.database_url) == ["0018_log"]
        assert [await take_some(service.store, service.signing) for _ in range(4)] == [256, 256, 88, 0]
        found = await connection.execute(
            "SELECT text FROM log_entries JOIN statements USING (day, kind) ORDER BY index"
        )
        assert [int(text) for (text,) in await found.fetchall()] == list(range(1, 601))


MONEY_BEFORE_WITHDRAWALS = (
    "CREATE TABLE outgoing_202611 (LIKE outgoing INCLUDING ALL)",
    "ALTER TABLE outgoing ATTACH PARTITION outgoing_202611 FOR VALUES IN ('2026-11-20', '2026-11-21')",
    "INSERT INTO outgoing (day, no, kind, uid, amount_fen, state)"
    " SELECT '2026-11-20', 'P' || uid, 'payout', uid, 100, CASE WHEN uid <= 10000 THEN 'failed' ELSE 'done' END"
    " FROM generate_series(1, 20000) AS uid",
    "INSERT INTO outgoing (day, no, kind, uid, amount_fen) VALUES ('2026-11-21', 'P7', 'payout', 7, 100)",
    "ANALYZE",
)


async def test_failed_money_gets_its_user_without_reading_all_that_was_ever_sent(servers: Servers) -> None:
    """Everybody waits for the migration."""
    name = "before_withdrawals"
    url = servers.database_url(name)
    await servers.admin(f"CREATE DATABASE {name}")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT NULL)")
        for one in migrations()[:14]:
            await connection.execute(one.text.encode())
            await connection.execute("INSERT INTO migrations VALUES (%s, %s)", [one.name, one.checksum])
        for statement in MONEY_BEFORE_WITHDRAWALS:
            await connection.execute(statement.encode())
        read = "SELECT coalesce(sum(seq_tup_read), 0)::int FROM pg_stat_user_tables WHERE relname = 'outgoing_202611'"
        await connection.execute("SELECT pg_stat_force_next_flush()")
        [before] = await (await connection.execute(read)).fetchone() or []
        assert await migrate(url) == [one.name for one in migrations()[14:]]
        others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        while (await connection.execute(f"{others} AND pid <> pg_backend_pid()".encode())).rowcount:
            pass  # it reports what it has read when it ends
        [after] = await (await connection.execute(read)).fetchone() or []
        assert after == before
        await connection.execute("UPDATE outgoing SET state = 'failed' WHERE day = '2026-11-21' AND no = 'P7'")
        found = await connection.execute("SELECT count(*), count(uid) FROM unsent WHERE state = 'failed'")
        assert await found.fetchone() == (10001, 10001)
    await servers.admin(f"DROP DATABASE {name} WITH (FORCE)")
