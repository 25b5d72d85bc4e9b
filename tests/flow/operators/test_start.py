"""What does not start, and says why."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from msgspec import structs

from clock.cli.main import main
from clock.config import Settings
from clock.runtime.supervise import environment
from tests.conftest import Servers
from tests.flow.operators.stage import ROOT, clock
from tests.raw import plain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOCK_PORT", "eighty"),
        ("CLOCK_STAKE_FEN", "0"),
        ("CLOCK_TIMEZONE", "Mars/Olympus"),
        ("CLOCK_SETTLE_AT", "07:00"),
        ("CLOCK_WEBHOOK_SECRET", "nonsense"),
        ("CLOCK_WEBHOOK_SECRET", "whsec_"),
        ("CLOCK_JWT_PUBLIC_KEY", "nonsense"),
    ],
)
def test_a_bad_setting_stops_every_command_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv("CLOCK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["clock", "token", "7"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert name in capsys.readouterr().err


def test_a_data_directory_that_cannot_be_used_is_not_taken_for_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLOCK_DATA_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(sys, "argv", ["clock", "reconcile"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"clock: {tmp_path}/file/running.json: Not a directory\n"


async def test_a_bad_setting_stops_the_start_and_is_named(settings: Settings) -> None:
    bad = {"CLOCK_PORT": "eighty", "CLOCK_JWT_PUBLIC_KEY": "nonsense"}
    results = await asyncio.gather(*(clock(settings, "api", **{name: value}) for name, value in bad.items()))
    for name, (status, said) in zip(bad, results, strict=True):
        assert (status, name in said, "Traceback" in said) == (2, True, False), said


async def test_a_port_on_which_somebody_listens_stops_the_start(settings: Settings) -> None:
    """Also where its owner would share it: users would be answered by either."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        status, said = await clock(settings, "api", CLOCK_PORT=str(taken.getsockname()[1]))
    assert (status, "CLOCK_PORT" in said, "Traceback" in said) == (1, True, False), said


@pytest.fixture
async def production(settings: Settings, durable: Servers, durable_database: str) -> AsyncIterator[Settings]:
    """Settings over servers that production accepts."""
    yield structs.replace(settings, env="prod", redis_url=durable.redis_url, database_url=durable_database)


async def test_production_refuses_a_redis_that_may_forget_and_says_why(production: Settings) -> None:
    forgetful = [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
    ]
    async with plain(production.redis_url) as redis:
        for command, (name, wrong, right) in zip(("api", "worker", "up", "api"), forgetful, strict=True):
            await redis.config_set(name, wrong)
            status, said = await clock(production, command)
            await redis.config_set(name, right)
            assert status == 2, said
            assert name in said and wrong in said and right in said
            assert "Traceback" not in said


async def test_every_process_refuses_a_database_of_another_version_and_says_why(production: Settings) -> None:
    async with await psycopg.AsyncConnection.connect(production.database_url, autocommit=True) as connection:
        await connection.execute("INSERT INTO migrations (name, checksum) VALUES ('9999_later', '')")
    commands = ("api", "worker", "migrate")
    results = await asyncio.gather(*(clock(production, command) for command in commands))
    for command, (status, said) in zip(commands, results, strict=True):
        assert (status, "older than the database" in said, "Traceback" in said) == (2, True, False), (command, said)


async def test_up_refuses_a_database_before_its_children_do(production: Settings, durable: Servers) -> None:
    """A child that refuses would be started again for ever."""
    await durable.admin("CREATE DATABASE old_text ENCODING 'LATIN1' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    for env in ("prod", "dev"):
        status, said = await clock(
            structs.replace(production, env=env, database_url=durable.database_url("old_text")), "up"
        )
        assert (status, "ENCODING 'UTF8'" in said, "child_started" in said) == (2, True, False), said
    await durable.admin("DROP DATABASE old_text")


@pytest.mark.long
async def test_production_refuses_to_start_without_its_secrets_and_names_what_is_missing(
    production: Settings,
) -> None:
    needed = {
        "CLOCK_JWT_SECRET": "api",
        "CLOCK_WEBHOOK_SECRET": "worker",
        "CLOCK_REDIS_URL": "worker",
        "CLOCK_DATABASE_URL": "api",
    }
    for name, command in [*needed.items(), ("CLOCK_DATABASE_URL", "migrate")]:
        status, said = await clock(production, command, **{name: ""})
        assert (status, name in said, "Traceback" in said) == (2, True, False), said
    status, said = await clock(production, "api", CLOCK_JWT_SECRET="hush")
    assert (status, "CLOCK_JWT_SECRET" in said) == (2, True)
    assert "hush" not in said


async def test_production_starts_with_servers_that_remember(production: Settings) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clock", "worker"),
        env=environment(production),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while b"worker_started" not in (line := await process.stdout.readline()):
            assert line, "it ended"
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0
    assert os.environ.get("CLOCK_ENV") is None
