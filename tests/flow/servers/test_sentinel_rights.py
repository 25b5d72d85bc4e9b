"""The user that asks Sentinels has exactly the rights that docs/servers.md names."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from clock.config import BadSetting, Settings
from clock.game.client.calls import connect
from clock.runtime import embedded
from clock.runtime.start_check import start_check
from tests import servers
from tests.raw import Redis, plain

TEXT = (Path(__file__).parents[3] / "docs" / "servers.md").read_text("utf-8")
[RULE] = re.findall(r"^ACL SETUSER clock-asks on >PASSWORD (.+)$", TEXT, re.MULTILINE)


@pytest.fixture
async def guard(settings: Settings) -> AsyncIterator[Redis]:
    """A Sentinel that watches the durable server, and has the user in its configuration; a client with every right."""
    server = urlsplit(settings.redis_url)
    lines = (f"sentinel monitor clock 127.0.0.1 {server.port} 1", f"sentinel auth-pass clock {server.password}")
    user = f"user clock-asks on >asks {RULE}"
    with embedded.scratch() as place:
        sentinel = servers.Configured(place, lines=("appendonly no", *lines, user), arguments=("--sentinel",))
        async with embedded.started(sentinel), plain(sentinel.url, decode_responses=True) as client:
            yield client


async def connect_by(guard: Redis, settings: Settings) -> None:
    """As an API process does when it starts."""
    port = guard.connection_pool.connection_kwargs["port"]
    login = f":{urlsplit(settings.redis_url).password}"
    url = f"redis+sentinel://{login}@127.0.0.1:{port}/clock?sentinel_username=clock-asks&sentinel_password=asks"
    await start_check(replace(settings, redis_url=url))
    client = connect(url)
    await client.open()
    await client.aclose()


async def refused(guard: Redis) -> set[str]:
    return {entry[entry.index("object") + 1] for entry in await guard.execute_command("ACL", "LOG")}


async def test_the_user_needs_these_rights_and_no_others(guard: Redis, settings: Settings) -> None:
    await connect_by(guard, settings)
    assert await refused(guard) == set()
    needed = [word for word in RULE.split() if word.startswith("+")]
    assert len(needed) == 2
    for word in needed:
        others = [other for other in RULE.split() if other != word]
        await guard.execute_command("ACL", "LOG", "RESET")
        await guard.execute_command("ACL", "SETUSER", "clock-asks", "reset", "on", ">asks", *others)
        with suppress(BadSetting):
            await connect_by(guard, settings)
        assert await refused(guard) == {word.removeprefix("+")}
