"""The commands of docs/servers.md: what is restored is what was backed up."""

import asyncio
import os
import re
import shutil
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from clock.config import Settings
from clock.fair.checkpoints import parse
from clock.fair.trees import Builder
from clock.operators.rounds import reconcile_rounds
from clock.runtime import embedded
from clock.runtime.postgres_install import installation
from clock.runtime.start_check import start_check
from clock.service import Service
from clock.tlog import reading
from tests.conftest import DAY, Servers
from tests.flow.stage import People
from tests.flow.tlog.stage import entries, take_all
from tests.raw import Redis

TEXT = (Path(__file__).parents[3] / "docs" / "servers.md").read_text("utf-8")
BACK_UP, RESTORE = re.findall(r"^```sh\n(.+?)\n```$", TEXT, re.MULTILINE | re.DOTALL)


async def run(command: str, folder: Path, database_url: str) -> None:
    """As it is written, with another folder."""
    process = await asyncio.create_subprocess_shell(
        command.replace("/backup/", f"{folder}/"),
        env={"PATH": f"{installation(None) / 'bin'}:{os.environ['PATH']}", "CLOCK_DATABASE_URL": database_url},
    )
    assert await process.wait() == 0


async def test_a_round_is_restored_from_both_backups(
    settings: Settings, durable: Servers, redis: Redis, tmp_path: Path
) -> None:
    """Redis' is the later one. What happened in between is in its streams, though it was drained."""
    await redis.flushall()
    service = Service(settings)
    await service.start()
    people = People(service)
    await people.members(1, 2)
    await people.drain()
    await take_all(service)
    await run(BACK_UP, tmp_path, settings.database_url)
    await people.members(3)
    await people.drain()
    await people.members(4)
    shutil.copytree(Path((await redis.config_get("dir"))["dir"]) / "appendonlydir", tmp_path / "appendonlydir")
    await service.stop()

    await durable.admin("CREATE DATABASE restored")
    with embedded.scratch() as place:
        server = embedded.Valkey(place)
        server.prepare()
        shutil.copytree(tmp_path / "appendonlydir", place / "valkey" / "appendonlydir")
        restored = replace(settings, redis_url=server.url, database_url=durable.database_url("restored"))
        await run(RESTORE, tmp_path, restored.database_url)
        async with embedded.started(server):
            await start_check(restored)
            await goes_on(restored)
    await durable.admin("DROP DATABASE restored WITH (FORCE)")


async def goes_on(settings: Settings) -> None:
    """The drain brings everything into the books, and the morning comes."""
    service = Service(settings)
    await service.start()
    people = People(service)
    await people.drain()
    assert await people.rows("SELECT uid FROM members ORDER BY uid") == [{"uid": uid} for uid in (1, 2, 3, 4)]
    assert (await reconcile_rounds(service, DAY)).word == "books_agree"
    await the_log_goes_on(service)
    people.it_is("06:00", 1)
    await people.check_in(1, 4)
    await service.stop()


async def the_log_goes_on(service: Service) -> None:
    """Behind the statements that were backed up."""
    assert (before := len(await entries(service)))
    await service.opener.open_round(DAY + timedelta(1))
    await take_all(service)
    texts = await entries(service)
    assert len(texts) > before
    grown = Builder()
    grown.extend(text.encode() for text in texts)
    checkpoint = parse((await reading.checkpoint(service.store) or "").partition("\n\n")[0] + "\n")
    assert (checkpoint.size, checkpoint.root) == (len(texts), grown.root)
