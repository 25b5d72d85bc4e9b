"""What the tests of this folder share."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psycopg
from aiohttp import web

from clock.books import outbox
from clock.channels import BillLine, Channel, NoBill
from clock.channels.platform import PaymentCallback, PaymentExtra, Platform
from clock.config import Settings
from clock.dev.providers.double import Trouble
from clock.dev.providers.platform import PlatformDouble
from clock.domain.shapes import Extra
from clock.game import keys
from clock.game.asking import Asking
from clock.game.flags import Flags
from clock.game.home import Home
from clock.game.profiles import Profiles
from clock.game.verbs import Verbs
from clock.payments import outgoing
from clock.payments.incoming import Incoming
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from clock.runtime.worker import count
from clock.service import Service
from tests.conftest import DAY, WEBHOOK_SECRET, Servers, at, settings_over
from tests.flow.scripted import Scripted as Scripted
from tests.model.world import forgetful
from tests.payments import paid

STAKE = 100

ROOT = Path(__file__).parents[2]


IN_TIME = f"{DAY} 20:00:00"


NEXT_DAY = DAY + timedelta(days=1)


ALL_USERS = [f"users.{shard}" for shard in range(keys.USER_SHARDS)]
"""What a rebuild says of them."""


async def drain_users(service: Service) -> None:
    """What users have changed outside of rounds is in the books."""
    for shard in range(keys.USER_SHARDS):
        await outbox.drain(service.store, service.redis, keys.USERS, shard)


class People:
    """Users of a service without HTTP, on a clock that stands where the test puts it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.day = DAY
        self.orders: dict[int, str] = {}
        self.it_is("20:00")

    def use(self, channel: Channel) -> None:
        """Money comes and goes through this channel."""
        self.service.channels[channel.name] = channel

    def it_is(self, time_of_day: str, days: int = 0) -> None:
        """A moment into the minute, on the round's day plus ``days``."""
        self.service.time.stop_at(at(time_of_day, (self.day - DAY).days + days, 10))

    async def join(self, *uids: int, channel: str = "platform") -> None:
        async def join(uid: int) -> None:
            extra = Extra(mobile=f"138{uid:08}", nickname=f"用户 {uid}", openId=f"open-{uid}")
            answer = await self.service.verbs.join(uid, extra, time.monotonic(), channel)
            self.orders[uid] = answer.data["order_no"]

        await asyncio.gather(*(join(uid) for uid in uids))

    async def pay(self, uid: int, transaction: str = "", paid_at: str = "", channel: str = "platform") -> str:
        """The callback of a good payment; its word."""
        number = self.orders[uid]
        extra = PaymentExtra(
            amount=STAKE,
            buyerId=f"open-{uid}",
            notify_time=paid_at or None,
            transactionId=transaction or f"S{number}0",
        )
        callback = PaymentCallback(number, extra)
        return (
            await self.service.incoming.pay(paid(callback, msgspec.json.encode(callback)), channel, time.monotonic())
        ).word

    async def members(self, *uids: int, channel: str = "platform") -> None:
        await self.join(*uids, channel=channel)
        assert set(await asyncio.gather(*(self.pay(uid, channel=channel) for uid in uids))) <= {"paid"}

    async def check_in(self, *uids: int) -> None:
        answers = await asyncio.gather(*(self.service.verbs.check_in(uid, time.monotonic()) for uid in uids))
        assert {answer.word for answer in answers} <= {"checked_in"}

    async def claim(self, *uids: int) -> list[int]:
        """Packets in fen."""
        answers = [await self.service.verbs.claim(uid, time.monotonic()) for uid in uids]
        assert {answer.word for answer in answers} <= {"claimed"}, answers
        return [answer.data["assign"]["money"] for answer in answers]

    async def drain(self) -> None:
        for shard in range(self.service.settings.shards):
            await outbox.drain(self.service.store, self.service.redis, self.day, shard)
        await drain_users(self.service)

    async def settle(self) -> None:
        self.it_is("08:05", 1)
        assert await self.service.settling.settle(self.day) == "settled"

    async def finish(self) -> None:
        self.it_is("00:00", 2)
        assert await self.service.finishing.finish(self.day)

    async def morning(self, winners: int = 0) -> None:
        """At six, and the first ``winners`` of those who ordered are awake."""
        self.it_is("06:00", 1)
        await self.check_in(*sorted(self.orders)[:winners])

    async def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        async with self.service.store.transaction() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def tamper(self, statement: str, *parameters: Any) -> None:
        """As somebody could who switches the triggers off."""
        async with self.service.store.transaction() as connection:
            await connection.execute("SET LOCAL session_replication_role = replica")
            assert (await connection.execute(statement.encode(), parameters)).rowcount > 0, "nothing was changed"

    async def balances(self) -> dict[str, int]:
        """Every account that is not zero."""
        found = await self.rows("SELECT account, sum(amount_fen)::bigint AS fen FROM postings GROUP BY account")
        return {row["account"]: row["fen"] for row in found if row["fen"]}

    async def balance(self, account: str) -> int:
        return (await self.balances()).get(account, 0)

    async def transfers(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM transfers ORDER BY day, kind, cause")


@asynccontextmanager
async def one_database(servers: Servers, data_dir: Path) -> AsyncIterator[Settings]:
    """Settings over one database for the tests of a file: each begins with ``new_world``, which empties it."""
    name = f"shared_{free_port()}"
    settings = settings_over(servers.redis_url, servers.database_url(name), data_dir)
    async with await psycopg.AsyncConnection.connect(servers.admin_url, autocommit=True) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template".encode())
        async with forgetful(settings):
            yield settings
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


class Sandbox(Platform):
    """The channel to a provider over real HTTP, and the provider's books; ``asked`` are the actions sent."""

    def __init__(self, provider: PlatformDouble, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}", WEBHOOK_SECRET)
        self.provider = provider
        self.asked: list[str] = []
        self.down = False

    async def _send(self, action: str, **body: Any) -> tuple[int, bytes]:
        self.asked.append(action)
        if self.down:
            nobody = Platform(f"http://127.0.0.1:{free_port()}", WEBHOOK_SECRET)
            try:
                return await nobody._send(action, **body)
            finally:
                await nobody.close()
        return await super()._send(action, **body)

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        self.asked.append("bill")
        async for page in super().bill(day):
            yield page

    def trouble(self, **knobs: Any) -> None:
        self.provider.trouble = Trouble(**knobs)

    def movements(self) -> list[tuple[str, str, int, str]]:
        """What has moved at the provider: number, kind, fen, state."""
        found = self.provider.books.rows("SELECT no, kind, amount, state FROM movements ORDER BY no")
        return [(row["no"], row["kind"], row["amount"], row["state"]) for row in found]


async def lines_of(channel: Channel, day: str) -> list[BillLine] | None:
    """The whole bill of a day, or ``None`` where there is none."""
    try:
        return [line async for page in channel.bill(day) for line in page]
    except NoBill:
        return None


@asynccontextmanager
async def sandbox(path: Path) -> AsyncIterator[Sandbox]:
    provider = PlatformDouble(path, f"http://127.0.0.1:{free_port()}/", WEBHOOK_SECRET, "Asia/Shanghai")
    runner = web.AppRunner(provider.app(), access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    channel = Sandbox(provider, port)
    yield channel
    await channel.close()
    await runner.cleanup()


async def send(people: People) -> int:
    """As the worker does, once everything that waits has waited long enough."""
    await people.rows("UPDATE outgoing SET next_at = now()")
    return await outgoing.send_some(people.service.store, people.service.channels)


def bill(channel: Sandbox, number: str, transaction: str, uid: int, amount: int = 100, at_ms: int = 0) -> None:
    """The provider has taken a payment, whatever we know of it."""
    channel.provider.books.db.execute(
        "INSERT INTO payments (transaction_id, order_no, amount, payer, at_ms) VALUES (?, ?, ?, ?, ?)",
        (transaction, number, amount, f"open-{uid}", at_ms or at("20:00")),
    )


def move(channel: Sandbox, no: str, kind: str, amount: int, order_no: str = "") -> None:
    """The provider has moved money, whatever we know of it."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    channel.provider.books.db.execute(
        "INSERT INTO movements VALUES (?, ?, ?, 'open', ?, '{}', 'done', 0, 'done', ?)",
        (no, kind, order_no, amount, now_ms),
    )


def forget(people: People) -> None:
    """As after a restart: what the process remembers of rounds is gone."""
    service = people.service
    asking = service.asking = Asking(service.settings, service.redis, service.time, service.opener)
    service.flags = Flags(asking.batcher, service.opener)
    profiles = Profiles(asking)
    service.verbs = Verbs(asking, profiles, service.receipts)
    service.home = Home(asking, service.flags, profiles)
    service.incoming = Incoming(asking, service.redis, service.opener, service.receipts)


async def begin(people: People, winners: list[int], sleepers: list[int]) -> None:
    """A round on ``people.day``, up to six o'clock."""
    people.orders = {}
    people.it_is("20:00")
    if winners or sleepers:
        await people.members(*winners, *sleepers)
    people.it_is("06:00", 1)
    for milliseconds, uid in enumerate(winners):
        people.service.time.stop_at(at("06:00", (people.day - DAY).days + 1, milliseconds))
        await people.check_in(uid)


async def play(people: People, winners: list[int], sleepers: list[int] | None = None, claims: bool = True) -> None:
    """A whole round; the next one is the day after."""
    await people.service.opener.open_round(people.day)
    await begin(people, winners, sleepers or [])
    await people.settle()
    if claims:
        await people.claim(*winners)
        await people.drain()
        await work(people)
    people.day += timedelta(days=1)


async def work(people: People) -> None:
    await count({"service": people.service})


@asynccontextmanager
async def working(
    settings: Settings,
    log: Path = Path(os.devnull),
    env: Mapping[str, str] | None = None,
    *,
    root: Path = ROOT,
    command: Sequence[str] = ("-m", "clock", "worker"),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``python -m clock worker``, of the version in ``root``; killed at the end if it has not ended by then."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env={**environment(settings), "PYTHONPATH": str(root), **(env or {})},
            cwd=root,
            stdout=output,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def answering(
    settings: Settings, log: Path = Path(os.devnull), *, root: Path = ROOT
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``python -m clock api``, of the version in ``root``, ready."""
    async with working(settings, log, root=root, command=("-m", "clock", "api")) as process:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while not await ready(session, settings):
                await asyncio.sleep(0.05)
        yield process


async def ready(session: aiohttp.ClientSession, settings: Settings) -> bool:
    """Whether an API process may get traffic."""
    try:
        async with session.get(f"http://127.0.0.1:{settings.port}/readyz") as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False
