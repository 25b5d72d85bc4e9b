"""A whole day through PgBouncer in transaction mode, whose two server connections are shared by all clients."""

import asyncio
import os
import shutil
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from clock.config import Settings
from clock.runtime import embedded, processes
from clock.runtime.ports import free_port
from clock.runtime.postgres_install import plain_env, unprivileged
from clock.runtime.supervise import running
from tests.conftest import DAY, Servers

pytestmark = pytest.mark.long

SERVER_CONNECTIONS = 2
PEOPLE = range(1, 31)
AWAKE = range(1, 21)
BOSS = 99


def pgbouncer() -> str:
    """The program; skips the test where there is none."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        warnings.warn("PgBouncer is not installed: nothing was played through it", stacklevel=2)
        pytest.skip("PgBouncer is not installed")
    return found


@asynccontextmanager
async def bouncing(program: str, place: Path, database_url: str) -> AsyncIterator[str]:
    """The URL of a PgBouncer before the database."""
    to, port = conninfo_to_dict(database_url), free_port()
    configuration = place / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{to['dbname']} = host={to['host']} port={to['port']}"
        f" user={to['user']} password={to['password']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 200\n"
    )
    account = unprivileged() if os.geteuid() == 0 else None
    if account:
        os.chown(configuration, account.uid, account.gid)
    process = processes.spawn(
        processes.Program(
            command=[program, "-q", str(configuration)],
            env=plain_env(),
            log=place / "log" / "pgbouncer.log",
            account=account,
            cwd="/",
        ),
        os.open(os.devnull, os.O_RDONLY),
    )
    try:
        async with asyncio.timeout(10):
            while not _listens(port):
                await asyncio.sleep(0.02)
        yield f"postgresql://anybody@127.0.0.1:{port}/{to['dbname']}"
    finally:
        processes.kill(process)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def database_url(servers: Servers, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database behind PgBouncer: ``clock migrate`` goes through it, too."""
    program, name = pgbouncer(), f"bounced_{free_port()}"
    async with await psycopg.AsyncConnection.connect(servers.admin_url, autocommit=True) as admin:
        await admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            with embedded.scratch() as place:  # another account can reach it
                async with bouncing(program, place, servers.database_url(name)) as url:
                    yield url
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


class Town:
    """Thirty users and an operator, over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, page: str) -> None:
        self.session = session
        self.page = page.rstrip("/")
        self.tokens: dict[int, str] = {}

    async def send(self, method: str, path: str, uid: int = 0, body: Any = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.tokens[uid]}"} if uid else {}
        async with self.session.request(method, self.page + path, json=body, headers=headers) as reply:
            envelope: dict[str, Any] = await reply.json()
            assert reply.status == 200, (path, envelope)
            return envelope

    async def sign_in(self, uid: int, role: str = "user") -> None:
        reply = await self.send("POST", "/dev/token", body={"uid": uid, "role": role})
        self.tokens[uid] = reply["data"]["token"]

    async def it_is(self, instant: str) -> None:
        await self.send("PUT", "/dev/time", body={"now": f"{instant}+08:00"})

    async def all(self, uids: range, path: str) -> set[str]:
        """The codes of a verb that all send at once."""
        return {one["code"] for one in await asyncio.gather(*(self.does(uid, path) for uid in uids))}

    async def does(self, uid: int, path: str) -> dict[str, Any]:
        extra = {"mobile": f"138{uid:08}", "nickname": f"user {uid}", "openId": f"open-{uid}"}
        return await self.send("POST", path, uid, {"uid": uid, **({"extra": extra} if path.endswith("join") else {})})

    async def member(self, uid: int) -> None:
        number = (await self.does(uid, "/api/join"))["data"]["order_no"]
        assert (await self.send("POST", "/dev/pay", body={"order_no": number}))["code"] == "paid"

    async def look(self) -> None:
        """Everybody reads what only Postgres has, and the operator the round, several times over."""
        for _ in range(6):
            reads = [self.send("GET", "/api/me/history", uid) for uid in AWAKE]
            reads += [
                self.send("GET", path, BOSS) for path in (f"/ops/rounds/{DAY}", "/ops/outgoing", "/ops/quarantine")
            ]
            await asyncio.gather(*reads)

    async def figures(self) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.send("GET", f"/ops/rounds/{DAY}", BOSS))["data"]
        return shown


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)


async def test_a_whole_day_through_two_connections(settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, api_workers=2, shards=2)
    async with running(settings, quiet=True) as stack, aiohttp.ClientSession() as session:
        town = Town(session, stack["page"])
        for uid in PEOPLE:
            await town.sign_in(uid)
        await town.sign_in(BOSS, "operator")

        await town.it_is("2026-11-22T20:00:00")
        await asyncio.gather(*(town.member(uid) for uid in PEOPLE), town.look())
        await town.it_is("2026-11-23T05:00:00")
        assert await town.all(AWAKE, "/api/check-in") == {"checked_in"}

        await town.it_is("2026-11-23T08:05:00")
        await until(lambda: _is(town, "settled"))
        assert await town.all(AWAKE[:15], "/api/claim") == {"claimed"}
        await town.look()
        await town.it_is("2026-11-24T00:00:10")
        await until(lambda: _is(town, "finished"))

        async def paid_out() -> bool:
            items = (await town.send("GET", "/ops/outgoing?state=done&limit=100", BOSS))["data"]["items"]
            return len(items) == len(AWAKE)

        await until(paid_out)
        found = await town.send("POST", f"/ops/reconcile/{DAY}", BOSS)
        assert found["code"] == "books_agree", found
    assert _complaints(settings.data_dir / "log") == []


async def _is(town: Town, state: str) -> bool:
    return bool((await town.figures())["state"] == state)


def _complaints(logs: Path) -> list[str]:
    """What API and worker logged of Postgres that went wrong."""
    lines = [line for name in ("api", "worker") for line in (logs / f"{name}.log").read_text().splitlines()]
    return [
        line for line in lines if any(word in line for word in ("prepared statement", '"level": "error"', "psycopg"))
    ]
