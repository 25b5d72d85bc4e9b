"""Hosts: processes that share one Redis and one Postgres, of this version and of another one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import aiohttp
import msgspec

from clock.config import Settings
from clock.runtime.ports import free_port
from clock.service import Service
from tests.conftest import DAY, Api
from tests.flow.operators.stage import operate
from tests.flow.pair import Address
from tests.flow.stage import ROOT

EVENTS, ENTRIES = "clock/game/events.py", "clock/books/entries.py"

NEXT_VERSION: list[tuple[str, str, str]] = [
    (EVENTS, "    first_rank: int\n    uids: list[int]\n", "    of_version: str = ''\n"),
    ("lua/check_in.lua", "-- ENTRY   checked_in at_ms first_rank uids", " of_version"),
    ("lua/check_in.lua", "winners + 1, checked_in", ", 'next'"),
    (EVENTS, "    packets_fen: list[int]\n", "    of_version: str = ''\n"),
    ("lua/claim.lua", "-- ENTRY   claimed at_ms by stake_fen indexes uids packets_fen", " of_version"),
    ("lua/claim.lua", "stake, indexes, claimed, packets", ", 'next'"),
    (
        EVENTS,
        "    rows: list[tuple[int, int]]\n",
        "\n\nclass Nudged(msgspec.Struct, frozen=True, array_like=True, tag='nudged'):\n"
        "    at_ms: int\n    uids: list[int]\n",
    ),
    (EVENTS, "Closed | Extended | Reminded | Acknowledged", " | Nudged"),
    (EVENTS, "Closed, Extended, Reminded, Acknowledged", ", Nudged"),
    (
        ENTRIES,
        "    match event:\n",
        "        case events.Nudged(uids=uids):\n"
        "            rows['profiles'] += [(uid, '', '', 'nudged', at_ms) for uid in uids]\n",
    ),
]
"""What the next version has after some text of this one: a field more in two events, and an event of its own."""


def next_version(folder: Path) -> Path:
    """This version's files, changed."""
    for name in ("clock", "lua"):
        copytree(ROOT / name, folder / name, ignore=ignore_patterns("__pycache__"))
    for name in ("sql", "docs"):
        (folder / name).symlink_to(ROOT / name)
    for name, after, more in NEXT_VERSION:
        text = (folder / name).read_text("utf-8")
        assert text.count(after) == 1, f"{name} has no longer one {after!r}: change this test"
        (folder / name).write_text(text.replace(after, after + more), "utf-8")
    return folder


def another(settings: Settings) -> Settings:
    """Of an API process beside the first."""
    return msgspec.structs.replace(settings, port=free_port())


@asynccontextmanager
async def asked_at(settings: Settings) -> AsyncIterator[Api]:
    """To ask an API process, which runs already."""
    async with aiohttp.ClientSession() as session:
        yield Api(settings, Service(settings), session)


async def it_is(api: Api, instant: str) -> None:
    """For every process, once they have all been told."""
    status, said = await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"})
    assert status == 200, said


async def settled(api: Api) -> bool:
    return str((await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]["state"]) == "settled"


async def everything_agrees(api: Api) -> None:
    """Redis, the books, the ledger and the manifest; there is no provider to be asked."""
    status, said = await operate(api, "POST", f"/ops/reconcile/{DAY}")
    assert (status, said["code"]) == (200, "books_agree"), said


async def rows(service: Service, statement: str, *parameters: Any) -> list[dict[str, Any]]:
    async with service.store.transaction() as connection:
        return await (await connection.execute(statement.encode(), parameters)).fetchall()


def counted(service: Service, table: str, count: int) -> Callable[[], Awaitable[bool]]:
    """Whether the books have so many rows of the round."""

    async def have() -> bool:
        [found] = await rows(service, f"SELECT count(*) AS n FROM {table} WHERE day = %s", DAY)
        return bool(found["n"] == count)

    return have


def said(log: Path) -> list[dict[str, Any]]:
    """The lines of a process' log."""
    return [msgspec.json.decode(line) for line in log.read_bytes().splitlines()] if log.exists() else []


async def ended(process: asyncio.subprocess.Process) -> int:
    """The exit status of a process that was asked to end."""
    process.terminate()
    return await asyncio.wait_for(process.wait(), 30)


class Network:
    """The way of one host to the servers. What is silent takes connections, and swallows what is sent: nothing is
    closed, as where a host has vanished from the network."""

    def __init__(self, redis: Address, postgres: Address) -> None:
        self.ways = {"redis": redis, "postgres": postgres}

    def of(self, settings: Settings) -> Settings:
        """Of a process on this host."""
        urls = {"redis": settings.redis_url, "postgres": settings.database_url}
        for name, way in self.ways.items():
            urls[name] = urls[name].replace(f":{way.to_port}/", f":{way.port}/")
        return msgspec.structs.replace(another(settings), redis_url=urls["redis"], database_url=urls["postgres"])

    def falls_silent(self, *names: str) -> None:
        for name in names or self.ways:
            self.ways[name].forget()
            self.ways[name].swallows = True

    def is_back(self) -> None:
        """New connections are carried again; those that were swallowed stay so."""
        for way in self.ways.values():
            way.swallows = False
