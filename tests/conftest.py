"""Real servers for every test that touches them: one Valkey and one Postgres a session, emptied for each test."""

import asyncio
import gc
import os
import shutil
import socket
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import hypothesis
import msgspec
import psycopg
import pytest
import uvicorn
from hypothesis import HealthCheck

import clock.dev.app
import clock.http.app
from clock.books.migrations import migrate
from clock.books.partitions import add_partitions
from clock.books.store import Store
from clock.channels import rsa
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.domain.rounds import instant_ms
from clock.game.client import pool
from clock.game.client.calls import call, connect
from clock.game.scripts import load
from clock.http import openapi
from clock.http.lane import LeanPath
from clock.http.server import options
from clock.logs import Said
from clock.runtime import embedded, ports, worker
from clock.runtime.jobs import Lasting
from clock.runtime.ports import free_port
from clock.runtime.supervise import page
from clock.service import Service, end
from tests import servers as system
from tests.raw import Redis, raw

DAY = date(2026, 11, 22)
"""The round that most tests play: people join on this day and check in on the next."""

WEBHOOK_SECRET = "whsec_" + "c2VjcmV0IHVzZWQgaW4gdGVzdHMgb25seSwgMzIgYi4="
STATEMENT_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
"""The key of the example in the documentation of golang.org/x/mod/sumdb/note."""

JWT_SECRET = "a secret that is used in tests only, 32 bytes"

_numbers = count()


@dataclass(frozen=True)
class Servers:
    redis_url: str
    admin_url: str
    """Postgres, a database from which others are made."""

    def database_url(self, name: str) -> str:
        return self.admin_url.rsplit("/", 1)[0] + "/" + name

    async def admin(self, *statements: str) -> None:
        """Run them as superuser, each in a transaction of its own."""
        async with await psycopg.AsyncConnection.connect(self.admin_url, autocommit=True) as connection:
            for statement in statements:
                await connection.execute(statement.encode())


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    with embedded.scratch(in_memory()) as data_dir:
        valkey, postgres = embedded.Valkey(data_dir), embedded.Postgres(data_dir)
        async with embedded.started(valkey), embedded.started(postgres):
            servers = Servers(valkey.url, postgres.url)
            await _forget_on_power_loss(servers)
            await servers.admin("CREATE DATABASE template")
            await _fill_template(servers.database_url("template"))
            yield servers


def in_memory() -> Path | None:
    """Where files are kept in memory, if there is room. On a disk a third of the time goes into making and removing the
    files of each test's database: ext4 looks for an inode that was not deleted in the last seconds."""
    place = Path("/dev/shm")
    return place if place.is_dir() and shutil.disk_usage(place).free > 4 * 2**30 else None


async def _fill_template(url: str) -> None:
    """The tables, and the partitions of the month that most tests play: copying files takes a tenth of making them."""
    await migrate(url)
    store = Store(url)
    await store.open()
    await add_partitions(store, [DAY])
    await store.close()


async def _forget_on_power_loss(servers: Servers) -> None:
    """Each test makes a database of its own: hundreds of files, whose syncs would take a third of the time."""
    for name in ("fsync", "full_page_writes"):
        await servers.admin(f"ALTER SYSTEM SET {name} = off")
    await servers.admin("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
async def durable() -> AsyncIterator[Servers]:
    """A Valkey and a Postgres of their own, as production demands them. A test that changes a setting puts it back."""
    with embedded.scratch(in_memory()) as data_dir:
        valkey, postgres = embedded.Valkey(data_dir), embedded.Postgres(data_dir)
        async with embedded.started(valkey), embedded.started(postgres):
            servers = Servers(valkey.url, postgres.url)
            await servers.admin("CREATE DATABASE template")
            await migrate(servers.database_url("template"))
            yield servers


@pytest.fixture
async def durable_database(durable: Servers) -> AsyncIterator[str]:
    """A migrated, empty database on the durable Postgres."""
    name = f"test_{next(_numbers)}"
    await durable.admin(f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy")
    yield durable.database_url(name)
    await durable.admin(f"DROP DATABASE {name} WITH (FORCE)")


def pytest_configure(config: pytest.Config) -> None:
    """Tests that run side by side take ports of their own. Many applications follow each other in one process: those
    that are frozen would never be collected, and to check the same RSA key anew takes 25 ms each time."""
    clock.http.app.collect_seldom = lambda: None
    rsa.private_key = cache(rsa.private_key)
    hypothesis.settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis.settings.load_profile("unhurried")  # other tests may have the processor for a second
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        ports.RANGE = ports.RANGE[int(worker.removeprefix("gw")) % 8 :: 8]


def pytest_collection_finish() -> None:
    """What is imported and collected stays: nobody has to go through it again. Tests make little garbage: looking for
    it as often as Python does takes a tenth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture
def thrifty() -> Iterator[None]:
    """Python looks for garbage as often as by itself: for tests that measure memory."""
    seldom = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*seldom)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A test that is left out is named, as the Makefile names those that need a browser."""
    if system.MISSING:
        needed = " and ".join(system.MISSING)
        terminalreporter.write_line(f"*** Tests on the system's own servers are left out. They need {needed}. ***")
    if not system.MAY_MOUNT:
        terminalreporter.write_line(
            "*** Tests on read-only file systems are left out. They need the right to mount. ***"
        )


@pytest.fixture
async def redis(servers: Servers) -> AsyncIterator[Redis]:
    """An empty Valkey."""
    client = raw(connect(servers.redis_url))
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def database_url(servers: Servers) -> AsyncIterator[str]:
    """A migrated, empty database of the test's own."""
    name = f"test_{next(_numbers)}"
    await servers.admin(f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy")
    yield servers.database_url(name)
    await servers.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(servers: Servers, redis: Redis, database_url: str, tmp_path: Path) -> Settings:
    """Settings over the test's servers; the number of shards can be given by ``pytest.mark.parametrize``."""
    return settings_over(servers.redis_url, database_url, tmp_path)


def settings_over(redis_url: str, database_url: str, data_dir: Path, **changes: Any) -> Settings:
    return Settings(
        env="dev",
        port=free_port(),
        data_dir=data_dir,
        redis_url=redis_url,
        database_url=database_url,
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        statement_key=STATEMENT_KEY,
        **changes,
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """A process' parts, without HTTP. Its clock can be stopped: ``service.time.stop_at(at("05:00"))``."""
    service = Service(msgspec.structs.replace(settings, env="prod"), answer_seconds=None)  # nobody else moves its clock
    await service.start()
    yield service
    await service.stop()


def at(time_of_day: str, days: int = 0, milliseconds: int = 0) -> int:
    """``HH:MM`` in the game's zone on :data:`DAY` plus ``days``, in ms; ``milliseconds`` are added."""
    day = date.fromordinal(DAY.toordinal() + days)
    return instant_ms(day, time_of_day, "Asia/Shanghai") + milliseconds


class Api:
    """The service over HTTP, in this process, so that its clock can be stopped to the millisecond."""

    lean: Mapping[bytes, LeanPath] = {}
    connections: Collection[Any] = ()
    """Of clients, as the server has them."""

    def __init__(self, settings: Settings, service: Service, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.service = service
        self.session = session
        self.url = page(settings).rstrip("/")

    def token(self, uid: int, role: Any = "user") -> dict[str, str]:
        return {"authorization": f"Bearer {self.service.tokens.issue(uid, role)}"}

    async def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and decoded reply. ``body``: bytes as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.session.request(method, self.url + path, data=data, headers=headers) as reply:
            return reply.status, msgspec.json.decode(await reply.read())

    async def post(self, path: str, uid: int, **body: Any) -> dict[str, Any]:
        """A user's verb with the user's own token; the envelope of a 200."""
        status, reply = await self.send("POST", path, {"uid": uid, **body}, self.token(uid))
        assert status == 200, reply
        return reply

    async def join(self, uid: int) -> dict[str, Any]:
        extra = {"mobile": f"138{uid:08}", "nickname": f"user {uid}", "openId": f"open-{uid}"}
        return await self.post("/api/join", uid, extra=extra)

    async def pay(self, order_no: str, uid: int, **changes: Any) -> tuple[int, dict[str, Any]]:
        """The provider's signed callback for an order; ``changes`` to its ``extra``."""
        extra = {"amount": 100, "buyerId": f"open-{uid}", "transactionId": f"T{order_no}", **changes}
        raw = msgspec.json.encode({"order_no": order_no, "extra": extra})
        return await self.send("POST", "/callbacks/platform", raw, Signatures(WEBHOOK_SECRET).sign(raw))

    async def member(self, uid: int) -> str:
        """Join and pay; the order's number."""
        order_no: str = (await self.join(uid))["data"]["order_no"]
        status, reply = await self.pay(order_no, uid)
        assert (status, reply["code"]) == (200, "paid"), reply
        return order_no


PATIENT_SECONDS = 4.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may stand still for a second, in which a connection is made or a command answered: whoever does
    not test a silent server waits longer for it."""
    monkeypatch.setattr(pool, "COMMAND_SECONDS", PATIENT_SECONDS)


@pytest.fixture
def described() -> bool:
    """Whether the application makes its OpenAPI document, which takes a third of its start."""
    return False


@pytest.fixture
async def api(settings: Settings, described: bool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if not described:
        monkeypatch.setattr(openapi, "describe", lambda app: None)
    async with serving(settings) as api:
        yield api


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """The application of these settings, answering."""
    create_app = clock.dev.app.create_app if settings.env == "dev" else clock.http.app.create_app
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, host=settings.host, port=settings.port, **options(settings)))
    listening = socket.create_server((settings.host, settings.port), backlog=1024)  # uvicorn exits where it cannot
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # uvloop does that, asyncio does not do it here
    task = asyncio.create_task(server.serve([listening]))
    doing = asyncio.create_task(_do_what_is_asked(app.state["service"]))
    async with aiohttp.ClientSession() as session:
        api = Api(settings, app.state["service"], session)
        api.lean = app.lean
        api.connections = server.server_state.connections
        for _ in range(100):
            with suppress(aiohttp.ClientError):
                await api.send("GET", "/healthz")
                if api.service.time.known and api.service.time.follows:  # else its first look undoes stop_at()
                    break
            await asyncio.sleep(0.02)
        yield api
    await end([doing])
    server.should_exit = True
    await task
    listening.close()


async def _do_what_is_asked(service: Service) -> None:
    """As a worker does, for operators' paths; nothing else of a worker's runs."""
    context: dict[str, Any] = {"service": service, "lasting": Lasting(), "said": Said()}
    try:
        while True:
            await asyncio.sleep(0.05)
            await worker.asked(context)
    finally:
        await context["lasting"].end()


async def run_script(redis: Redis, verb: str, now_ms: int, keys: list[str], *args: Any) -> list[Any]:
    """Call ``lua/<verb>.lua`` with the clock stopped at ``now_ms``."""
    return await call(redis, load(verb), keys, [f"={now_ms}", *args])
