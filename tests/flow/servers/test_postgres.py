"""Which Postgres the service starts with, and what it says of one that it refuses."""

import asyncio
import socket
from collections.abc import AsyncIterator

import psycopg
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from clock.books import postgres_check
from clock.books.migrations import migrate, migrations
from clock.books.store import Store
from clock.config import BadSetting, Settings
from clock.domain.outcomes import Unavailable
from clock.runtime import embedded
from clock.runtime import start_check as start_check_module
from clock.runtime.ports import free_port
from clock.runtime.start_check import start_check
from tests import servers
from tests.conftest import Servers
from tests.flow.servers.stage import as_role, refusal

pytestmark = pytest.mark.long


async def run(url: str, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


def database_of(settings: Settings) -> str:
    return settings.database_url.rpartition("/")[2]


async def test_a_version_that_is_too_old_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_check, "OLDEST", 990_000)
    for env in ("prod", "dev"):
        sentence = await refusal(replace(settings, env=env))
        assert "Postgres is version 18" in sentence and "99 or newer" in sentence and "CLOCK_DATABASE_URL" in sentence
    with pytest.raises(BadSetting, match="99 or newer"):
        await migrate(settings.database_url)


async def test_a_standby_is_refused(settings: Settings) -> None:
    with embedded.scratch() as place:
        standby = servers.Standby(place)
        async with embedded.started(standby):
            sentence = await refusal(replace(settings, database_url=standby.url))
            with pytest.raises(BadSetting, match="leads to a standby"):
                await migrate(standby.url)
    assert "CLOCK_DATABASE_URL leads to a standby" in sentence and "target_session_attrs=read-write" in sentence


@pytest.fixture
async def other(durable: Servers) -> AsyncIterator[Servers]:
    """The durable servers, with their settings put back at the end."""
    yield durable
    await durable.admin("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


async def in_effect(url: str, name: str, value: str) -> None:
    """Return when a new session has the setting: a reload takes a moment."""
    async with asyncio.timeout(10):
        while True:
            async with await psycopg.AsyncConnection.connect(url) as connection:
                row = await (await connection.execute(f"SHOW {name}".encode())).fetchone()
            if row == (value,):
                return
            await asyncio.sleep(0.02)


async def test_a_postgres_that_may_forget_is_refused_in_production_alone(settings: Settings, other: Servers) -> None:
    await other.admin("ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()")
    await in_effect(settings.database_url, "full_page_writes", "off")
    sentence = await refusal(settings)
    await start_check(replace(settings, env="dev"))
    await other.admin("ALTER SYSTEM RESET full_page_writes", "SELECT pg_reload_conf()")
    await in_effect(settings.database_url, "full_page_writes", "on")
    assert "Postgres has full_page_writes='off'" in sentence and "must be 'on'" in sentence


async def test_a_postgres_without_fsync_is_refused(settings: Settings) -> None:
    with embedded.scratch() as place:
        server = servers.Forgetful(place)
        async with embedded.started(server):
            sentence = await refusal(replace(settings, database_url=server.url))
    assert "Postgres has fsync='off'" in sentence and "must be 'on'" in sentence


@pytest.mark.parametrize("target", ["DATABASE {}", "ROLE clock IN DATABASE {}"])
async def test_commits_that_nobody_waits_for_are_refused_wherever_they_are_set(
    settings: Settings, durable: Servers, target: str
) -> None:
    changed = target.format(database_of(settings))
    await durable.admin(f"ALTER {changed} SET synchronous_commit = off")
    sentence = await refusal(settings)
    assert "synchronous_commit='off'" in sentence and "ALTER ROLE or ALTER DATABASE" in sentence
    await start_check(replace(settings, env="dev"))
    for enough in ("local", "remote_apply"):
        await durable.admin(f"ALTER {changed} SET synchronous_commit = {enough}")
        await start_check(settings)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_another_encoding_is_refused_before_anything_is_created(
    settings: Settings, durable: Servers, encoding: str
) -> None:
    name = f"in_{encoding.lower()}"
    await durable.admin(
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
    )
    url = durable.database_url(name)
    for env in ("prod", "dev"):
        sentence = await refusal(replace(settings, database_url=url, env=env))
        assert f"the database '{name}' has the encoding {encoding}" in sentence and "ENCODING 'UTF8'" in sentence
    with pytest.raises(BadSetting, match=encoding):
        await migrate(url)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).fetchone()
    assert row == (0,)
    await durable.admin(f"DROP DATABASE {name}")


TIMEOUTS = ["idle_in_transaction_session_timeout", "statement_timeout", "transaction_timeout"]


async def test_a_timeout_that_would_end_long_work_is_refused_and_named(settings: Settings, durable: Servers) -> None:
    database = database_of(settings)
    for name in TIMEOUTS:
        await durable.admin(f"ALTER ROLE clock IN DATABASE {database} SET {name} = '299s'")
        for env in ("prod", "dev"):
            sentence = await refusal(replace(settings, env=env))
            assert f"Postgres has a short {name} for 'clock' in '{database}'" in sentence
        with pytest.raises(BadSetting, match=f"a short {name} "):
            await migrate(settings.database_url)
        remedy = sentence.partition("5 minutes (")[2].removesuffix(")")
        await durable.admin(remedy)
        await start_check(settings)
        await durable.admin(f"ALTER DATABASE {database} SET {name} = '5min'", f"ALTER ROLE clock RESET {name}")
        await start_check(settings)


async def test_an_idle_connection_that_postgres_ends_is_replaced(settings: Settings, durable: Servers) -> None:
    await durable.admin(f"ALTER DATABASE {database_of(settings)} SET idle_session_timeout = '1500ms'")
    await start_check(settings)
    store = Store(settings.database_url)
    await store.open()
    for pause_s in (2, 0):
        assert await store.one("get_round", day="2026-11-22") is None
        await asyncio.sleep(pause_s)
    await store.close()


async def test_a_database_that_was_not_migrated_is_refused(settings: Settings, durable: Servers) -> None:
    await durable.admin("CREATE DATABASE bare")
    url = durable.database_url("bare")
    for env in ("prod", "dev"):
        sentence = await refusal(replace(settings, database_url=url, env=env))
        assert "'bare' has no tables of clock" in sentence and "run clock migrate" in sentence
    await start_check(replace(settings, database_url=url), migrated=False)
    await migrate(url)
    await start_check(replace(settings, database_url=url))
    await durable.admin("DROP DATABASE bare")


LAST = migrations()[-1].name


async def test_a_schema_of_another_version_is_refused_and_says_which_is_older(settings: Settings) -> None:
    url = settings.database_url
    await run(url, f"DELETE FROM migrations WHERE name = '{LAST}'")
    sentence = await refusal(settings)
    assert f"lacks the migration {LAST}: run clock migrate" in sentence
    assert sentence == await refusal(replace(settings, env="dev"))
    await run(url, f"INSERT INTO migrations (name, checksum) VALUES ('{LAST}', 'another')")
    assert f"{LAST}.sql is not what was applied under that name" in await refusal(settings)
    await run(url, f"DELETE FROM migrations WHERE name = '{LAST}'")
    await run(url, "INSERT INTO migrations (name, checksum) VALUES ('9999_later', '')")
    assert "this version of clock is older than the database" in (later := await refusal(settings))
    assert "9999_later" in later


async def test_a_refused_login_is_no_silence(settings: Settings, durable: Servers) -> None:
    stranger = replace(settings, database_url=as_role(settings.database_url, "stranger"))
    nowhere = replace(settings, database_url=durable.database_url("nowhere"))
    encrypted = replace(settings, database_url=f"{settings.database_url}?sslmode=require")
    for wrong, why in ((stranger, "authentication failed"), (nowhere, '"nowhere" does not exist'), (encrypted, "SSL")):
        sentence = await refusal(wrong)
        assert sentence.startswith("Postgres refuses CLOCK_DATABASE_URL: ") and why in sentence, sentence
        with pytest.raises(BadSetting):  # the API, too: it is no outage
            await start_check(wrong, postgres_may_be_away=True)


async def test_a_postgres_that_is_away_stops_the_worker_and_not_the_api(settings: Settings) -> None:
    """Check-ins and payments go on without it, so an API process that is restarted meanwhile serves them."""
    away = replace(settings, database_url=f"postgresql://clock@127.0.0.1:{free_port()}/clock")
    sentence = await refusal(away)
    assert sentence.startswith("Postgres (CLOCK_DATABASE_URL) does not answer: ")
    with capture_logs() as logs:
        await start_check(away, postgres_may_be_away=True)
        await start_check(replace(away, env="dev"))
    assert [log["event"] for log in logs] == 2 * ["server_not_checked"]
    with pytest.raises(Unavailable):
        await migrate(away.database_url)


async def test_a_postgres_that_does_not_answer_is_not_waited_for_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_check_module, "ANSWER_SECONDS", 1.0)
    async with asyncio.timeout(5):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"postgresql://clock@127.0.0.1:{mute.getsockname()[1]}/clock"
            sentence = await refusal(replace(settings, database_url=url))
    assert sentence == "Postgres (CLOCK_DATABASE_URL) does not answer: no answer within 1 s"


async def test_a_host_that_is_dead_does_not_hide_the_next(settings: Settings, durable: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        hosts = f"@127.0.0.1:{mute.getsockname()[1]},127.0.0.1:"
        url = settings.database_url.replace("@127.0.0.1:", hosts) + "?target_session_attrs=read-write"
        await start_check(replace(settings, database_url=url))


@servers.needs_postgres
async def test_the_systems_postgres_is_migrated_and_accepted(settings: Settings) -> None:
    with embedded.scratch() as place:
        server = servers.SystemPostgres(place)
        async with embedded.started(server):
            await migrate(server.url)
            await start_check(replace(settings, database_url=server.url))
            store = Store(server.url)
            await store.open()
            assert await store.one("get_round", day="2026-11-22") is None
            await store.close()
