"""Reconciling a day of a million members with the provider's bill, against reading the day's rows once with a cursor;
and the size of the process for a tenth as many members and for all."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import psycopg
from psycopg.rows import dict_row

from bench.auditor import Took
from bench.check_in import ratios
from bench.measure import Result, Scale, spread, target
from bench.million import provider, write_bill, write_day
from bench.scene import SETTLED, Scene, staged
from clock.audit.rebuild import rebuild_lost
from clock.books.partitions import PARTITIONED
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment


async def run(scale: Scale) -> Result:
    members, repetitions = scale.of(1_000_000, 100_000), scale.of(3, 2)
    whole, bare, sizes, smaller = [], [], [], []
    async with played(members // 10) as (scene, _):
        for _ in range(repetitions):
            smaller.append((await audited(scene, "reconcile")).most_mib)
    async with played(members) as (scene, lines):
        for _ in range(repetitions):
            took = await audited(scene, "reconcile")
            assert took.count == lines
            whole.append(took.seconds)
            sizes.append(took.most_mib)
            read = await audited(scene, "read")
            bare.append(read.seconds)
    return Result(
        name="reconcile",
        targets=[
            target(
                f"reconciling {members:,} members, {lines:,} lines of the bill",
                f"reading {read.count:,} rows once",
                ratios(whole, bare),
                "<=",
                4.0,
            ),
            target("the process' largest size", "–", sizes, "<=", 300.0, "MiB"),
            target(
                f"its largest size, {members:,} members",
                f"{members // 10:,} members",
                ratios(sizes, smaller),
                "<=",
                1.5,
            ),
        ],
        figures={"reconciling, s": spread(whole), "reading the rows, s": spread(bare)},
    )


@asynccontextmanager
async def played(members: int) -> AsyncIterator[tuple[Scene, int]]:
    """A scene whose yesterday so many members have played to its end, with Redis and a provider that has the bill; how
    many lines."""
    port = free_port()
    async with staged(**SETTLED, platform_url=f"http://127.0.0.1:{port}") as scene:
        path = scene.data_dir / "bill.json"
        url, day = scene.settings.database_url, scene.yesterday
        async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
            await write_day(scene.service, connection, day, members)
            await connection.commit()
            lines = await write_bill(connection, day, path)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"VACUUM ANALYZE {', '.join(PARTITIONED)}".encode())
            await connection.execute("CHECKPOINT")
        await scene.redis.flushall()
        await rebuild_lost(scene.service)
        async with provider({day.isoformat(): path}, port):
            yield scene, lines


async def audited(scene: Scene, what: str) -> Took:
    """What a process of its own took for it."""
    command = [sys.executable, "-m", "bench.auditor", what, scene.yesterday.isoformat()]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(scene.settings), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(output, type=Took)
