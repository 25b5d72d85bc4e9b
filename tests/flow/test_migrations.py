"""Migrations are applied once, in order; a database that does not fit this version is refused."""

import psycopg
import pytest

from clock.books.migrations import BadMigration, migrate
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
