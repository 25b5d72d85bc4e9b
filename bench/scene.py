"""The system under test: Valkey and Postgres as the service embeds them, API processes, baselines, users in Redis."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import msgspec
import psutil

from bench.load import Job, Report
from clock.books.migrations import migrate
from clock.books.partitions import PARTITIONED, partition_of
from clock.channels.webhooks import Signatures
from clock.config import Settings, rules_of
from clock.domain import order_no
from clock.domain.rounds import Windows, previous, windows
from clock.game import keys
from clock.game.client.calls import call
from clock.game.gametime import SKEW_MS
from clock.game.scripts import Script, Value, load, of_users
from clock.rounds.opening import around
from clock.runtime import embedded
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from clock.service import Service

JWT_SECRET = "a secret that is used in benchmarks only"
WEBHOOK_SECRET = "whsec_" + "c2VjcmV0IHVzZWQgaW4gYmVuY2htYXJrcyBvbmx5ISE="
STATEMENT_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
WORKERS = 2
VECTOR = 128
FIRST_UID = 10_000_001
"""From here on every uid has eight digits, as in a platform with ten million users."""

MORNING = {"check_in_opens": "00:01", "check_in_closes": "23:50", "settle_at": "23:55"}
"""Check-in is open now, whatever the time of day: the clock is never moved."""
SETTLED = {"check_in_opens": "00:01", "check_in_closes": "00:02", "settle_at": "00:03"}
"""Yesterday's round is settled, today's can be joined."""


def midday_zone() -> str:
    """A zone in which it is now between 11:00 and 13:00, so that no round ends while it is measured."""
    ahead = 12 - datetime.now(UTC).hour
    return "Etc/GMT" if ahead == 0 else f"Etc/GMT{-ahead:+d}"


@asynccontextmanager
async def staged(**changes: Any) -> AsyncIterator["Scene"]:
    """A new Valkey and a new Postgres with rounds open around now; ``changes`` to the settings.

    Each scene has its own servers. A flushed Valkey would be slower than a fresh one: after a million records were
    freed, glibc consolidates thousands of free chunks in one allocation (docs/decisions/0028).
    """
    with embedded.scratch() as data_dir:
        valkey = embedded.Valkey(data_dir)
        async with (
            embedded.started(valkey) as process,
            staged_on(valkey.url, {"redis": process.pid}, **changes) as scene,
        ):
            scene.valkey = valkey
            yield scene


@asynccontextmanager
async def staged_on(redis_url: str, pids: dict[str, int], **changes: Any) -> AsyncIterator["Scene"]:
    """The same on a Redis that is there; ``pids`` are its processes, by role."""
    with embedded.scratch() as data_dir:
        postgres = embedded.Postgres(data_dir)
        async with embedded.started(postgres) as process:
            await migrate(postgres.url)
            settings = Settings(
                env="prod",
                timezone=midday_zone(),
                port=free_port(),
                api_workers=WORKERS,
                redis_url=redis_url,
                database_url=postgres.url,
                jwt_secret=JWT_SECRET,
                webhook_secret=WEBHOOK_SECRET,
                statement_key=STATEMENT_KEY,
                user_rate=1_000_000,
                **changes,
            )
            service = Service(settings, answer_seconds=None)
            await service.start()
            scene = Scene(data_dir, {**pids, "postgres": process.pid}, settings, service)
            for node in await scene.redis.nodes():
                await node.config_set("auto-aof-rewrite-percentage", 0)  # or a rewrite hits one half of a ratio
            try:
                for day in around(scene.today):
                    await service.opener.open_round(day)
                yield scene
            finally:
                await scene.stop()
                await service.stop()


class Scene:
    """A moment of a round's day, with its users and its servers."""

    valkey: embedded.Valkey
    """Where it is one server by itself."""

    def __init__(self, data_dir: Path, pids: dict[str, int], settings: Settings, service: Service) -> None:
        self.data_dir = data_dir
        self.pids = pids
        """Process ids by role, for CPU time and memory."""
        self.settings = settings
        self.service = service
        self.redis: Any = service.redis
        self.today = service.asking.calendar.day_at(service.time.now_ms())
        self.yesterday = previous(self.today)
        self._exits = AsyncExitStack()
        self._next_uid = FIRST_UID
        self._winners = range(0)

    def at(self, day: date) -> Windows:
        return windows(day, rules_of(self.settings))

    def uids(self, count: int) -> range:
        """Unused uids."""
        first, self._next_uid = self._next_uid, self._next_uid + count
        return range(first, self._next_uid)

    def partition(self, table: str) -> str:
        """Where yesterday's rows of a table are."""
        return partition_of(table, self.yesterday) if table in PARTITIONED else table

    # -- servers

    async def serve(self, which: str, role: str = "", **changes: Any) -> int:
        """Start ``service``, ``bare`` or ``ordinary`` in new processes, with ``changes`` to the settings; return the
        port. ``role`` is their name in :attr:`pids`, unless it is the same."""
        role, port = role or which, free_port()
        env = environment(msgspec.structs.replace(self.settings, port=port, **changes))
        env |= {"BENCH_TODAY": self.today.isoformat(), "BENCH_YESTERDAY": self.yesterday.isoformat()}
        command = [sys.executable, "-m", "bench.servers", which, str(port), str(WORKERS)]
        if which == "service":
            command = [sys.executable, "-m", "clock", "api"]
        return await self.run(role, command, port, env, "/readyz" if which == "service" else "/")

    async def run(
        self, role: str, command: Sequence[str], port: int, env: dict[str, str] | None = None, path: str = "/"
    ) -> int:
        """Start a server until the scene ends; return the port when it answers there."""
        log = self.data_dir / f"{role}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(*command, env=env, stdout=output, stderr=output)
        self._exits.push_async_callback(_end, process)
        await _answers(port, path, process)
        self.pids[role] = process.pid
        self._exits.callback(self.pids.pop, role, None)
        return port

    async def stop(self) -> None:
        await self._exits.aclose()

    # -- users

    async def vectors(
        self, verb: str, day: date, rows: Iterable[Sequence[Value]], now_ms: int, fixed: Sequence[Value] = ()
    ) -> list[Any]:
        """Call a script on the users' shards, :data:`VECTOR` users at a time, with the clock stopped; all results.
        A row begins with its uid."""
        script, results = load(verb), []
        vectors: list[list[Sequence[Value]]] = [[] for _ in range(self.settings.shards)]
        for row in rows:
            shard = keys.shard_of(int(row[0]), len(vectors))
            vectors[shard].append(row)
            if len(vectors[shard]) == VECTOR:
                results += await self._vector(script, day, shard, vectors[shard], now_ms, fixed)
                vectors[shard] = []
        for shard, vector in enumerate(vectors):
            if vector:
                results += await self._vector(script, day, shard, vector, now_ms, fixed)
        return results

    async def _vector(
        self, script: Script, day: date, shard: int, rows: list[Sequence[Value]], now_ms: int, fixed: Sequence[Value]
    ) -> list[Any]:
        names = keys.names(day, shard, script.nouns)
        clock: list[Value] = [f"={now_ms}", *((now_ms, SKEW_MS) if "expected_ms" in script.fixed else ())]
        return (await call(self.redis, script, names, [*clock, *fixed, *of_users(script, rows)]))[1:]

    async def join(self, day: date, uids: Sequence[int], channel: str = "platform") -> list[str]:
        """Users with an open order; the order numbers."""
        now_ms = self.at(day).join_opens_ms + 60_000
        tails = [order_no.new_tail(channel) for _ in uids]
        shards = self.settings.shards
        places = [order_no.Place(day, keys.shard_of(u, shards), u, t) for u, t in zip(uids, tails, strict=True)]
        numbers = [order_no.make("TTC", place) for place in places]
        rows = (
            (uid, 0, number, tail, open_id(uid), mobile(uid), nickname(uid))
            for uid, number, tail in zip(uids, numbers, tails, strict=True)
        )
        await self.vectors("join", day, rows, now_ms, [await self.redis.server()])
        return numbers

    async def members(self, day: date, uids: Sequence[int]) -> None:
        """Users who have joined and paid."""
        await self.pay(day, uids, await self.join(day, uids))

    async def pay(self, day: date, uids: Sequence[int], numbers: Sequence[str]) -> None:
        """Users with an open order become members."""
        now_ms = self.at(day).join_opens_ms + 120_000
        rows = (
            (uid, 0, n, n[-12:], 100, transaction(uid), open_id(uid), now_ms, "platform", raw.decode())
            for uid, n, raw in zip(uids, numbers, map(callback_body, numbers, uids), strict=True)
        )
        results = await self.vectors("pay", day, rows, now_ms)
        assert set(results) == {b"paid"}, set(results)

    async def winners(self, day: date, uids: Sequence[int]) -> None:
        """Members who have checked in."""
        await self.members(day, uids)
        await self.check_in(day, uids)

    async def check_in(self, day: date, uids: Sequence[int]) -> None:
        results = await self.vectors("check_in", day, ((uid, 0) for uid in uids), self.at(day).check_in_opens_ms + 1)
        assert {type(one) for one in results} <= {int}, set(results)

    async def settled(self, day: date, packets: int, fen: int = 25) -> None:
        """Close the round, publish equal packets, open claiming; the books know nothing of it."""
        now_ms = self.at(day).settle_ms + 1
        await self.call("close", day, now_ms, now_ms, SKEW_MS, "settle", 5_000)
        for first in range(0, packets, 500):
            await self.call("publish", day, now_ms, first, f"{fen} " * min(500, packets - first))
        assert (await self.call("settle", day, now_ms, "open", packets, packets * fen))[1] == b"settled"

    async def many_winners(self, count: int) -> None:
        """Yesterday's round with so many winners, settled; :meth:`winners_left` hands them out."""
        self._winners = self.uids(count)
        await self.winners(self.yesterday, self._winners)
        await self.settled(self.yesterday, count)
        await self.forget_outbox()

    def winners_left(self, count: int) -> range:
        """Winners who have not claimed."""
        taken, self._winners = self._winners[:count], self._winners[count:]
        assert len(taken) == count
        return taken

    async def call(self, verb: str, day: date, now_ms: int, *args: Value) -> list[Any]:
        script = load(verb)
        return await call(self.redis, script, keys.names(day, 0, script.nouns), [f"={now_ms}", *args])

    async def forget_outbox(self) -> None:
        for day in (self.yesterday, self.today):
            for shard in range(self.settings.shards):
                await self.redis.xtrim(keys.name(day, shard, "outbox"), maxlen=0, approximate=False)

    # -- requests

    def post(self, path: str, body: Any, headers: dict[str, str]) -> bytes:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items() if name != "content-type"]
        return "\r\n".join([*lines, f"content-length: {len(raw)}", "", ""]).encode() + raw

    def of_users(
        self, path: str, uids: Iterable[int], body: Callable[[int], dict[str, Any]] | None = None
    ) -> list[bytes]:
        """One request per user, with the user's own token. ``body`` gives the fields besides the uid."""
        return [self.post(path, {"uid": uid, **(body(uid) if body else {})}, bearer(uid)) for uid in uids]

    def callbacks(self, numbers: Sequence[str], uids: Sequence[int]) -> list[bytes]:
        """The provider's signed callbacks."""
        signatures, requests = Signatures(WEBHOOK_SECRET), []
        for number, uid in zip(numbers, uids, strict=True):
            raw = callback_body(number, uid)
            requests.append(self.post("/callbacks/platform", raw, signatures.sign(raw)))
        return requests


def bearer(uid: int, role: str = "user") -> dict[str, str]:
    """With ``iat``, which Litestar's JWTAuth requires."""
    now = int(time.time())
    claims = {"sub": str(uid), "role": role, "iat": now - 1, "exp": now + 86_400}
    return {"authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, algorithm='HS256')}"}


def open_id(uid: int) -> str:
    """28 characters, as WeChat's."""
    return f"oLVPpjqs9Bhvzw{uid:014d}"


def transaction(uid: int) -> str:
    """28 digits, as WeChat's."""
    return f"42000027{uid:020d}"


def mobile(uid: int) -> str:
    return f"138{uid % 10**8:08d}"


def nickname(uid: int) -> str:
    return f"早起 {uid}"


def extra(uid: int) -> dict[str, Any]:
    return {"extra": {"mobile": mobile(uid), "nickname": nickname(uid), "openId": open_id(uid)}}


def callback_body(number: str, uid: int) -> bytes:
    paid = {"amount": 100, "buyerId": open_id(uid), "transactionId": transaction(uid)}
    return msgspec.json.encode({"order_no": number, "extra": paid})


async def fire(job: Job, started: Callable[[], Any] | None = None) -> Report:
    """Run the load generator in its own process."""
    command = [sys.executable, "-m", "bench.load"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**30)
    assert process.stdin and process.stdout
    encoded = msgspec.msgpack.encode(job)
    process.stdin.write(len(encoded).to_bytes(8) + encoded)
    await process.stdin.drain()
    if await process.stdout.readline() != b"ready\n":
        raise RuntimeError("the load generator did not start")
    if started:
        started()
    process.stdin.write(b"go\n")
    await process.stdin.drain()
    answer = await process.stdout.read()
    await process.wait()
    return msgspec.msgpack.decode(answer, type=Report)


class Cpu:
    """CPU seconds of processes and their children, since the last look."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = dict(pids)
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {name: sum(_cpu_s(one) for one in family(pid)) for name, pid in self._pids.items()}

    def used(self) -> dict[str, float]:
        before, self._before = self._before, self._now()
        return {name: now - before[name] for name, now in self._before.items()}


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # a Postgres backend may exit between two looks
        return 0.0
    return float(times.user + times.system)


def rss_mib(pid: int) -> float:
    return sum(float(one.memory_info().rss) for one in family(pid)) / 2**20


async def _answers(port: int, path: str, process: Any) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}"):
                    return
            except aiohttp.ClientError:
                if process.returncode is not None:
                    raise RuntimeError(f"a server ended with {process.returncode}") from None
                await asyncio.sleep(0.05)
    raise RuntimeError("a server does not answer")


async def _end(process: Any) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()
