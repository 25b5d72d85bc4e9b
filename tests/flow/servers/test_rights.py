"""What the database role must be allowed to do, and which sets of roles work."""

import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from clock.books.migrations import migrate, migrations
from clock.books.partitions import add_partitions, measure
from clock.books.store import Store
from clock.config import BadSetting, Settings
from clock.runtime.start_check import start_check
from tests.conftest import Servers
from tests.flow.servers.stage import as_role, refusal

pytestmark = pytest.mark.long

DAY = date(2031, 1, 1)
REPEATED = "0005_outbox_positions"
"""A migration that changes a table."""

ALL_TABLES = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"


@pytest.fixture
async def roles(durable: Servers) -> AsyncIterator[Servers]:
    """``owner`` migrated the database ``books``; ``app`` is to run the service there."""
    await durable.admin(
        "CREATE ROLE owner LOGIN PASSWORD 'owner'",
        "CREATE ROLE app LOGIN PASSWORD 'app'",
        "CREATE DATABASE books OWNER owner",
        "REVOKE ALL ON DATABASE books FROM public",
        "GRANT CONNECT ON DATABASE books TO app",
    )
    await migrate(as_role(durable.admin_url, "owner", "books"))
    yield durable
    await durable.admin("DROP DATABASE books WITH (FORCE)", "DROP ROLE app", "DROP ROLE owner")


@pytest.fixture
def settings(settings: Settings, roles: Servers) -> Settings:
    return replace(settings, database_url=as_role(roles.admin_url, "app", "books"))


async def owner(roles: Servers, *statements: str) -> None:
    url = as_role(roles.admin_url, "owner", "books")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def works(settings: Settings) -> None:
    """The start check passes, and what it vouches for can be done."""
    await start_check(settings)
    store = Store(settings.database_url)
    await store.open()
    await add_partitions(store, [DAY])
    await measure(store, DAY)
    async with store.transaction() as connection:
        await connection.execute("INSERT INTO packets VALUES (%s, 0, 0, 1)", [DAY])
        await connection.execute("DELETE FROM packets")
    await store.close()


async def test_who_migrated_may_run(settings: Settings, roles: Servers) -> None:
    await works(replace(settings, database_url=as_role(roles.admin_url, "owner", "books")))


async def test_each_missing_right_has_a_sentence_until_none_is_missing(settings: Settings, roles: Servers) -> None:
    for env in ("prod", "dev"):
        assert "role 'app' may not read the table migrations" in await refusal(replace(settings, env=env))
    await owner(roles, f"GRANT {ALL_TABLES} TO app", "REVOKE DELETE ON packets FROM app")
    sentence = await refusal(settings)
    assert (
        "role 'app' may not read and write the tables packets" in sentence and f"GRANT {ALL_TABLES} TO app" in sentence
    )

    await owner(roles, f"GRANT {ALL_TABLES} TO app")
    sentence = await refusal(settings)
    assert "role 'app' may not add partitions" in sentence and "belongs to 'owner'" in sentence
    assert "run as 'owner' (CLOCK_DATABASE_URL), or GRANT owner TO app and ALTER ROLE app SET role TO owner" in sentence

    await roles.admin("GRANT owner TO app")
    await works(settings)


async def test_a_member_that_takes_the_owners_role_may_run_and_migrate(settings: Settings, roles: Servers) -> None:
    """Its partitions belong to the owner, so that either may change the tables later."""
    await roles.admin("GRANT owner TO app", "ALTER ROLE app SET role TO owner")
    await works(settings)
    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        cursor = await connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'orders_203101'")
        assert await cursor.fetchone() == ("owner",)
    assert await migrate(settings.database_url) == []
    await owner(roles, "ALTER TABLE orders ADD COLUMN later int")


async def test_a_schema_that_takes_no_tables_is_refused(settings: Settings, roles: Servers) -> None:
    await roles.admin("ALTER ROLE app SET search_path TO nothing")
    for sentence in (await refusal(settings), await message(settings.database_url)):
        assert "search_path" in sentence and "role 'app'" in sentence and "nothing" in sentence
    await roles.admin("ALTER ROLE app RESET search_path")
    assert "GRANT CREATE ON SCHEMA public TO app" in await message(settings.database_url)


async def test_tables_may_be_in_a_schema_of_their_own(settings: Settings, roles: Servers) -> None:
    await roles.admin("CREATE DATABASE shared", "ALTER ROLE app IN DATABASE shared SET search_path TO clock")
    superuser = roles.database_url("shared")
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection:
        await connection.execute("CREATE SCHEMA clock AUTHORIZATION app")
    url = as_role(roles.admin_url, "app", "shared")
    assert len(await migrate(url)) == len(migrations())
    await works(replace(settings, database_url=url))
    assert "'owner' can see" in await refusal(replace(settings, database_url=as_role(url, "owner")))
    await roles.admin("DROP DATABASE shared")


TEXT = (Path(__file__).parents[3] / "docs" / "servers.md").read_text("utf-8")


@pytest.mark.parametrize("block", re.findall(r"^```\n(CREATE ROLE.+?)^```$", TEXT, re.MULTILINE | re.DOTALL))
async def test_the_roles_of_the_document_migrate_and_run(settings: Settings, durable: Servers, block: str) -> None:
    """As they are written, but for the names: ``clock`` is the tests' superuser."""
    renamed = re.sub(r"\bclock", "shop", block).replace("PASSWORD 'PASSWORD'", "PASSWORD 'shop'")
    await durable.admin(*renamed.strip().split("\n"))
    url = as_role(durable.admin_url, "shop", "shop")
    await migrate(url)
    await works(replace(settings, database_url=url))
    await durable.admin("DROP DATABASE shop WITH (FORCE)", "DROP ROLE shop", "DROP ROLE IF EXISTS shop_owner")


async def message(url: str) -> str:
    """What ``clock migrate`` says."""
    with pytest.raises(BadSetting) as refused:
        await migrate(url)
    return str(refused.value)


async def test_a_migration_that_the_role_may_not_apply_is_refused(settings: Settings, roles: Servers) -> None:
    """The tables are another's."""
    await roles.admin("GRANT CREATE ON DATABASE books TO app")
    await owner(roles, f"GRANT {ALL_TABLES} TO app", f"DELETE FROM migrations WHERE name = '{REPEATED}'")
    await roles.admin("ALTER ROLE app SET search_path TO mine, public")
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
        await connection.execute("CREATE SCHEMA mine")
    sentence = await message(settings.database_url)
    assert "the role of CLOCK_DATABASE_URL may not change the tables of clock" in sentence
    assert "run clock migrate as the role that owns them" in sentence
