"""``python -m bench.auditor reconcile|rebuild|read DAY``: the same in a process of its own, as the worker does it."""

import asyncio
import os
import sys
from datetime import date
from time import monotonic

import msgspec
import structlog
from psycopg import sql

from bench.settler import peak_mib
from clock.audit.rebuild import rebuild_lost
from clock.audit.reconcile import reconcile
from clock.books.partitions import PARTITIONED
from clock.books.store import PAGE
from clock.config import load
from clock.domain.rounds import parse_day
from clock.service import Service


class Took(msgspec.Struct, kw_only=True):
    """``most_mib`` is the process' largest size; ``count`` is of rows, of the bill's lines, or of rebuilt shards."""

    seconds: float
    before_mib: float
    most_mib: float
    count: int


async def run(what: str, day: date) -> Took:
    structlog.configure(processors=[_drop])
    service = Service(load(os.environ), answer_seconds=None)
    await service.start()
    before, began = peak_mib(), monotonic()
    try:
        if what == "reconcile":
            report = await reconcile(service, day)
            assert report is not None
            assert (report.differences, report.mended) == ([], []), report.differences[:3]
            count = report.bill_lines or 0
        else:
            count = len(await rebuild_lost(service)) if what == "rebuild" else await _read(service, day)
        seconds = monotonic() - began
    finally:
        await service.stop()
    return Took(seconds=seconds, before_mib=before, most_mib=peak_mib(), count=count)


def _drop(*_: object) -> str:
    raise structlog.DropEvent


async def _read(service: Service, day: date) -> int:
    """Every row that a day has, once."""
    count = 0
    for table in PARTITIONED:
        async with service.store.transaction() as connection, connection.cursor(name="read") as cursor:
            await connection.execute("SET LOCAL cursor_tuple_fraction = 1")
            await cursor.execute(sql.SQL("SELECT * FROM {} WHERE day = %s").format(sql.Identifier(table)), [day])
            while page := await cursor.fetchmany(PAGE):
                count += len(page)
    return count


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(run(sys.argv[1], parse_day(sys.argv[2])))))
