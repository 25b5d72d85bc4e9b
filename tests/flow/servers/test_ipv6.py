"""Addresses of IPv6 alone: the API's, Redis' and Postgres'."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest
from msgspec import structs

from clock.books.migrations import migrate
from clock.config import Settings
from clock.runtime import embedded, supervise
from clock.runtime.ports import free_port, is_free
from clock.runtime.processes import Program
from clock.runtime.start_check import start_check
from clock.tokens import Tokens
from tests import servers
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET
from tests.flow.operators.stage import ROOT

HERE = "::1"


def has_ipv6() -> bool:
    """Whether this host has the address at all."""
    try:
        return is_free(free_port(HERE), HERE)
    except OSError:
        return False


pytestmark = [pytest.mark.long, pytest.mark.skipif(not has_ipv6(), reason=f"this host has no {HERE}")]


class Postgres6(embedded.Postgres, frozen=True):
    """Listens at both, because whoever waits for it asks at 127.0.0.1."""

    @property
    def program(self) -> Program:
        ours = super().program
        return structs.replace(ours, command=[*ours.command, "-c", f"listen_addresses=127.0.0.1,{HERE}"])


def there(url: str) -> str:
    """The same server by its other address."""
    assert "@127.0.0.1:" in url
    return url.replace("@127.0.0.1:", f"@[{HERE}]:")


async def test_everything_works_by_ipv6(tmp_path: Path) -> None:
    with embedded.scratch() as place:
        valkey, postgres = servers.Configured(place, lines=(f"bind 127.0.0.1 {HERE}",)), Postgres6(place)
        async with embedded.started(valkey), embedded.started(postgres):
            settings = Settings(
                env="prod",
                host=HERE,
                port=free_port(HERE),
                data_dir=tmp_path,
                redis_url=there(valkey.url),
                database_url=there(postgres.url),
                jwt_secret=JWT_SECRET,
                webhook_secret=WEBHOOK_SECRET,
                statement_key=STATEMENT_KEY,
                api_workers=1,
            )
            await migrate(settings.database_url)
            await start_check(settings)
            said = await until_ready(settings)
    assert f"http://[{HERE}]:{settings.port}/\n" in said


async def until_ready(settings: Settings) -> str:
    """What ``clock up`` printed. Once it is ready, somebody orders over HTTP."""
    up = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clock", "up"),
        env=supervise.environment(settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert up.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(30):
            while f"\n  {supervise.page(settings)}\n" not in said:
                line = await up.stdout.readline()
                assert line, said
                said += line.decode()
        address = said.split()[-1]
        async with aiohttp.ClientSession() as session:
            extra = {"mobile": "13800000007", "nickname": "seven", "openId": "open-7"}
            bearer = {"authorization": f"Bearer {Tokens(settings).issue(7, 'user')}"}
            async with session.post(f"{address}api/join", json={"uid": 7, "extra": extra}, headers=bearer) as reply:
                assert msgspec.json.decode(await reply.read())["code"] == "ordered", said
    finally:
        up.terminate()
        await asyncio.wait_for(up.communicate(), 30)
    assert up.returncode == 0
    return said
