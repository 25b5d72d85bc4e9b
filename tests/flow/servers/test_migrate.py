"""``clock migrate`` beside a Postgres that is still starting."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from clock.books.migrations import migrate_once_there, migrations
from clock.config import BadSetting, Settings
from clock.domain.outcomes import Unavailable
from clock.runtime import embedded
from clock.runtime.ports import free_port
from tests.conftest import Servers
from tests.flow.operators.stage import clock
from tests.flow.servers.stage import as_role

ALL = [one.name for one in migrations()]


async def test_the_command_waits_for_a_postgres_that_comes_later(settings: Settings) -> None:
    with embedded.scratch() as place:
        server = embedded.Postgres(place)
        server.prepare()
        command = asyncio.create_task(clock(replace(settings, database_url=server.url), "migrate"))
        await asyncio.sleep(1.5)
        assert not command.done()
        async with embedded.started(server):
            status, said = await command
    assert (status, f"{len(ALL)} migrations applied" in said) == (0, True), said
    assert said.count("postgres_waited_for") <= 1, said  # a command that starts slowly meets a Postgres that is there


@asynccontextmanager
async def starting_up(url: str, times: int) -> AsyncIterator[str]:
    """The address of a server that says so ``times``, and from then on is the one of ``url``."""
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    host, port = url.rpartition("@")[2].partition("/")[0].split(":")
    left = times

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        if left:
            left -= 1
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            await reader.readexactly(length - 4)
            writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            writer.close()
            return
        other_reader, other_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pass_on(reader, other_writer), pass_on(other_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield url.replace(f":{port}/", f":{server.sockets[0].getsockname()[1]}/") + "?sslmode=disable"


async def test_a_postgres_that_is_starting_up_is_waited_for(durable: Servers) -> None:
    await durable.admin("CREATE DATABASE early")
    with capture_logs() as logs:
        async with starting_up(durable.database_url("early"), times=2) as url:
            assert await migrate_once_there(url, 10) == ALL
    [waiting] = [log for log in logs if log["event"] == "postgres_waited_for"]
    assert "the database system is starting up" in waiting["reason"]
    await durable.admin("DROP DATABASE early")


async def test_the_wait_has_an_end_and_names_the_setting() -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"waited 1 s for the one of CLOCK_DATABASE_URL; Postgres: .*refused"):
        await migrate_once_there(f"postgresql://clock@127.0.0.1:{free_port()}/clock", 1)
    assert time.monotonic() - began < 8


async def test_a_refused_login_is_not_waited_for(settings: Settings) -> None:
    began = time.monotonic()
    with pytest.raises(BadSetting, match="authentication failed"):
        await migrate_once_there(as_role(settings.database_url, "stranger"), 10)
    assert time.monotonic() - began < 8
