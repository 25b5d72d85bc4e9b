"""The worker as the process that runs in production: killed, cut off, left behind, and never wrong."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from arq.worker import JobExecutionFailed
from structlog.testing import capture_logs

from clock.audit.counts import Counting
from clock.books import outbox
from clock.config import Settings
from clock.game import keys
from clock.runtime import embedded, processes, worker
from clock.service import Service
from tests.conftest import DAY, Api, at
from tests.flow.stage import working
from tests.raw import raw

BOSS = 99
ROOT = Path(__file__).parents[2]


class Valkey:
    """A Valkey of the test's own, which may be stopped and started again at the same address."""

    def __init__(self, place: Path) -> None:
        self.server = embedded.Valkey(place)

    async def start(self) -> None:
        self._process = await embedded.launch(self.server, same_port=(self.server.lock_path.exists()))
        await embedded.wait_ready(self.server, 10)

    async def stop(self) -> None:
        await processes.stop(self._process, self.server.stop_signal)


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    with embedded.scratch() as place:
        valkey = Valkey(place)
        await valkey.start()
        yield valkey
        await valkey.stop()


@pytest.fixture
def settings(settings: Settings, valkey: Valkey) -> Settings:
    return msgspec.structs.replace(settings, redis_url=valkey.server.url)


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


async def it_is(api: Api, instant: str) -> None:
    assert (await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"}))[0] == 200


async def books(api: Api, query: str) -> int:
    """One number from Postgres."""
    async with await psycopg.AsyncConnection.connect(api.settings.database_url) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
        assert row is not None
        return int(row[0])


async def figures(api: Api) -> dict[str, Any]:
    _, reply = await api.send("GET", f"/ops/rounds/{DAY}", headers=api.token(BOSS, "operator"))
    shown: dict[str, Any] = reply["data"]
    return shown


def state_is(api: Api, *states: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return (await figures(api)).get("state") in states

    return holds


def drained(api: Api) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return not await outbox.depth(api.service.redis, DAY, 1)

    return holds


async def test_what_fell_due_while_no_worker_ran_is_done_when_one_starts(api: Api) -> None:
    await it_is(api, "2026-11-22T20:00:00")
    for uid in (1, 2, 3):
        await api.member(uid)
    await it_is(api, "2026-11-23T06:00:00")
    for uid in (1, 2):
        await api.post("/api/check-in", uid)
    await it_is(api, "2026-11-23T11:00:00")
    assert (await api.post("/api/claim", 1))["code"] == "not_settled"
    assert await books(api, "SELECT count(*) FROM members") == 0

    async with working(api.settings) as worker:
        await until(state_is(api, "settled"))
        assert (await api.post("/api/claim", 1))["code"] == "claimed"
        await it_is(api, "2026-11-24T00:00:10")
        await until(state_is(api, "finished"))
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 15) == 0

    shown = await figures(api)
    assert (shown["members"], shown["winners"], shown["pot"], shown["packets_claimed_fen"]) == (3, 2, 100, 100)
    assert await books(api, "SELECT count(*) FROM claims") == 2
    assert await books(api, "SELECT count(*) FROM claims WHERE by = 'system'") == 1


@pytest.mark.long
async def test_a_killed_worker_is_replaced_and_nothing_is_missing_or_twice(api: Api) -> None:
    await it_is(api, "2026-11-22T20:00:00")
    people = list(range(1, 41))

    async def join_all(uids: list[int]) -> None:
        for uid in uids:
            await api.member(uid)

    for start in (0, 20):
        async with working(api.settings) as worker:
            joining = asyncio.create_task(join_all(people[start : start + 20]))
            await until(lambda: api.service.redis.exists(keys.HEARTBEAT))
            await joining
            worker.kill()
            assert await worker.wait() == -signal.SIGKILL
        await api.service.redis.delete(keys.HEARTBEAT)

    await it_is(api, "2026-11-23T05:00:00")
    for uid in people:
        assert (await api.post("/api/check-in", uid))["code"] == "checked_in"
    await it_is(api, "2026-11-23T08:05:00")
    async with working(api.settings):
        await until(state_is(api, "settled"))
        await until(drained(api))
    assert await books(api, "SELECT count(*) FROM members") == 40
    assert await books(api, "SELECT count(*) FROM payments") == 40
    assert await books(api, "SELECT sum(stake_fen) FROM members") == 4000
    assert await books(api, "SELECT count(*) FROM check_ins") == 40
    assert await books(api, "SELECT count(DISTINCT rank) FROM check_ins") == 40
    assert await books(api, "SELECT max(rank) FROM check_ins") == 40


@pytest.mark.long
async def test_it_outlives_a_restart_of_redis_and_the_loss_of_every_connection_to_postgres(
    api: Api, valkey: Valkey
) -> None:
    await it_is(api, "2026-11-22T20:00:00")
    async with working(api.settings) as worker:
        await api.member(1)
        await until(drained(api))

        await valkey.stop()
        await asyncio.sleep(1.5)
        await valkey.start()
        await api.member(2)
        await until(drained(api))

        cut = await books(
            api,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert cut > 0
        await api.member(3)
        await until(drained(api))

        assert await books(api, "SELECT count(*) FROM members") == 3
        assert worker.returncode is None  # the same process, all the time


async def test_what_nobody_foresaw_ends_it_with_its_reason_in_the_log(api: Api, tmp_path: Path) -> None:
    """A job whose name is no text breaks arq's loop, as a fault of a library or of ours would."""
    redis, log = raw(api.service.redis), tmp_path / "worker.log"
    async with working(api.settings, log) as process:
        await until(lambda: redis.exists(keys.HEARTBEAT))
        await redis.zadd(worker.QUEUE, {b"\xff": 0})
        assert await asyncio.wait_for(process.wait(), 10) == 1
    said = [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]
    failed = [line for line in said if line["event"] == "worker_failed"]
    assert len(failed) == 1
    assert "UnicodeDecodeError" in failed[0]["exception"]


STUCK = """
import asyncio, sys
from clock.config import Settings
from clock.runtime import worker
from clock.service import Service

async def fails(service):
    raise ValueError("it goes no further")

async def hangs(service):
    await asyncio.Event().wait()

worker.STOP_SECONDS, Service.start, Service.stop = 1, fails, hangs
asyncio.run(worker.run(Settings(redis_url="redis://127.0.0.1:1", database_url="postgresql://127.0.0.1:1/a")))
"""


async def test_a_server_that_does_not_let_go_of_it_cannot_keep_it(tmp_path: Path) -> None:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STUCK, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == -signal.SIGALRM, said
    assert said.count(b"it goes no further") >= 1
    assert time.monotonic() - began < 15


async def test_its_heart_beats_and_what_it_puts_into_redis_is_no_pickle(api: Api) -> None:
    redis: Any = api.service.redis
    assert (await api.send("GET", "/readyz"))[1]["worker"] is False
    seen: dict[bytes, bytes] = {}
    async with working(api.settings) as worker:
        await until(lambda: redis.exists(keys.HEARTBEAT))

        async def known() -> Any:
            return (await api.send("GET", "/readyz"))[1]["worker"]

        await until(known)
        assert 0 < await redis.pttl(keys.HEARTBEAT) <= 10_000
        first = await redis.get(keys.HEARTBEAT)

        async def caught() -> bool:
            for name in [name async for name in redis.scan_iter("arq:*", count=1000)]:
                if await redis.type(name) == b"string" and (value := await redis.get(name)):
                    seen[name] = value
            return sum(name.startswith(b"arq:job:") for name in seen) >= 5

        await until(caught)

        async def beats_again() -> bool:
            return await redis.get(keys.HEARTBEAT) not in (None, first)

        await until(beats_again)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 15) == 0
    for name, value in seen.items():
        if name.startswith(b"arq:job:"):
            assert value[:1] != b"\x80", name  # a pickle's first byte
            assert isinstance(msgspec.msgpack.decode(value), dict), name


async def test_a_job_that_was_given_up_can_be_written_down(service: Service) -> None:
    """As arq does with one whose worker was killed, and which another worker finds."""
    written = worker.build(service, Counting(service)).job_serializer
    assert written is not None
    assert msgspec.msgpack.decode(written({"r": JobExecutionFailed("max retries 1 exceeded")}))["r"]


async def rewrites(service: Service) -> int:
    """How often Redis has rewritten its append-only file, when it has ended doing so."""
    redis: Any = service.redis
    async with asyncio.timeout(10):
        while (about := await redis.info("persistence"))["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"]:
            await asyncio.sleep(0.02)
    return int(about["aof_rewrites"])


async def test_the_file_is_rewritten_once_in_the_quiet_before_check_in(service: Service) -> None:
    context = {"service": service}
    for day, once in enumerate((1, 2)):
        for moment, seen in (
            (at("02:59", 1 + day, 59_999), once - 1),
            (at("03:00", 1 + day), once),
            (at("03:00", 1 + day, 1), once),
            (at("04:29", 1 + day, 59_999), once),
            (at("04:30", 1 + day), once),
            (at("05:00", 1 + day), once),
        ):
            service.time.stop_at(moment)
            await service.opener.open_around(DAY)
            await worker.rewrite(context)
            assert await rewrites(service) == seen, moment
        assert 0 < await raw(service.redis).pttl(keys.REWRITTEN) <= 2 * 3600 * 1000
        await service.redis.delete(keys.REWRITTEN)  # two hours later


@pytest.mark.parametrize(("before_ms", "asked"), [(0, False), (1, True)])
async def test_the_last_moment_to_begin_is_half_an_hour_before(service: Service, before_ms: int, asked: bool) -> None:
    await service.opener.open_around(DAY)
    service.time.stop_at(at("04:30", 1, -before_ms))
    await worker.rewrite({"service": service})
    assert await rewrites(service) == int(asked)


async def test_where_nobody_knows_whether_redis_heard_it_is_asked_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.opener.open_around(DAY)
    service.time.stop_at(at("03:30", 1))
    redis: Any = service.redis
    real = redis.execute_command

    async def execute_command(*args: Any, **options: Any) -> Any:
        if args[0] == "BGREWRITEAOF":
            raise ConnectionError("cut on purpose")
        return await real(*args, **options)

    with monkeypatch.context() as cut:
        cut.setattr(redis, "execute_command", execute_command)
        await worker.rewrite({"service": service})
    assert 0 < await redis.pttl(keys.REWRITTEN) <= worker.ASKING_MS
    await redis.delete(keys.REWRITTEN)  # a minute later
    await worker.rewrite({"service": service})
    assert await rewrites(service) == 1


async def test_whoever_may_not_have_it_rewritten_is_told_once(service: Service) -> None:
    await service.opener.open_around(DAY)
    service.time.stop_at(at("03:30", 1))
    redis: Any = service.redis
    await redis.execute_command("ACL", "SETUSER", "default", "-bgrewriteaof")
    with capture_logs() as logged:
        for _ in range(3):
            await worker.rewrite({"service": service})
    assert await rewrites(service) == 0
    assert [line["event"] for line in logged].count("rewrite_refused") == 1


async def test_a_job_that_is_cancelled_twice_leaves_no_connection_behind(service: Service) -> None:
    """The process ends while arq looks whether somebody else has the job, and whoever ends it does not wait long."""
    queue: Any = worker.build(service, Counting(service)).pool
    asked = asyncio.Event()

    async def looks() -> None:
        async with queue.pipeline(transaction=True) as pipe:
            await pipe.watch("arq:in-progress:a")
            asked.set()
            await pipe.blpop("arq:never", 0)

    looking = asyncio.create_task(looks())
    await asked.wait()
    await asyncio.sleep(0.01)
    assert len(queue.connection_pool._in_use_connections) == 1
    for _ in range(2):
        looking.cancel()
        await asyncio.sleep(0)
    assert [type(end) for end in await asyncio.gather(looking, return_exceptions=True)] == [asyncio.CancelledError]
    assert not queue.connection_pool._in_use_connections
    await queue.aclose()
