"""A process that is asked to end answers what it has accepted first, and then really ends."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest

from clock.audit.counts import Counting
from clock.config import Settings
from clock.game import keys
from clock.http.server import HUNG_SECONDS
from clock.runtime import embedded, worker
from clock.runtime.ports import free_port
from clock.service import Service
from clock.tokens import Tokens
from tests.conftest import DAY, Api, at
from tests.flow.stage import answering
from tests.raw import Redis

pytestmark = pytest.mark.long

PEOPLE = range(1, 201)
ROOT = Path(__file__).parents[2]


class Phone:
    """One user's connection, kept open; speaks HTTP itself, so that it knows what was sent when."""

    def __init__(self, settings: Settings, tokens: Tokens, uid: int) -> None:
        self.uid = uid
        self.answers: list[str] = []
        self._port = settings.port
        self._token = tokens.issue(uid)

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self.send("/api/check-in/status")
        assert await self.answer() == "ok"  # the process knows this connection

    async def send(self, path: str) -> None:
        body = msgspec.json.encode({"uid": self.uid})
        head = (
            f"POST {path} HTTP/1.1\r\nhost: clock\r\nauthorization: Bearer {self._token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        await self._writer.drain()

    async def answer(self) -> str:
        """The code of the next answer; raises ``IncompleteReadError`` or ``ConnectionError`` if none comes."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        reply: dict[str, Any] = msgspec.json.decode(await self._reader.readexactly(length))
        self.answers.append(str(reply["code"]))
        return self.answers[-1]

    def close(self) -> None:
        self._writer.close()


async def checked_in(redis: Redis) -> set[int]:
    """Who is checked in, as Redis has it."""
    records: dict[bytes, bytes] = await redis.hgetall(keys.name(DAY, 0, "members"))
    return {int(uid) for uid, record in records.items() if record[:1] == b"C"}


async def morning(settings: Settings, session: aiohttp.ClientSession) -> None:
    """Everybody is a member, and it is 05:00."""
    service = Service(msgspec.structs.replace(settings, env="prod"))
    await service.start()
    api = Api(settings, service, session)
    async with session.put(f"{api.url}/dev/time", json={"now": "2026-11-22T20:00:00+08:00"}) as reply:
        assert reply.status == 200
    for start in range(0, len(PEOPLE), 20):
        await asyncio.gather(*(api.member(uid) for uid in PEOPLE[start : start + 20]))
    async with session.put(f"{api.url}/dev/time", json={"now": "2026-11-23T05:00:00+08:00"}) as reply:
        assert reply.status == 200
    await service.stop()


async def test_sigterm_under_load_answers_everything_that_was_sent_before_it(settings: Settings, redis: Redis) -> None:
    tokens = Tokens(settings)
    async with answering(settings) as process, aiohttp.ClientSession() as session:
        await morning(settings, session)
        phones = [Phone(settings, tokens, uid) for uid in PEOPLE]
        await asyncio.gather(*(phone.open() for phone in phones))

        # Redis holds its breath, so that every request is under way when the signal comes.
        await redis.client_pause(700)
        await asyncio.gather(*(phone.send("/api/check-in") for phone in phones))
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        codes = await asyncio.gather(*(phone.answer() for phone in phones), return_exceptions=True)
        assert codes == ["checked_in"] * len(phones)
        assert await checked_in(redis) == set(PEOPLE)
        assert await asyncio.wait_for(process.wait(), 15) == 0
        for phone in phones:
            phone.close()


async def test_what_was_acknowledged_until_the_end_is_what_redis_has(settings: Settings, redis: Redis) -> None:
    settings = msgspec.structs.replace(settings, user_rate=100_000)  # these phones ask as fast as they are answered
    tokens = Tokens(settings)
    async with answering(settings) as process, aiohttp.ClientSession() as session:
        await morning(settings, session)
        phones = [Phone(settings, tokens, uid) for uid in PEOPLE]
        await asyncio.gather(*(phone.open() for phone in phones))
        sent: set[int] = set()

        async def taps(phone: Phone, delay: float) -> None:
            """One check-in somewhere around the signal; then status after status, until the connection is closed."""
            await asyncio.sleep(delay)
            try:
                await phone.send("/api/check-in")
                sent.add(phone.uid)
                await phone.answer()
                while True:
                    await phone.send("/api/check-in/status")
                    await phone.answer()
            except (ConnectionError, asyncio.IncompleteReadError):
                phone.close()

        tapping = [asyncio.create_task(taps(phone, n * 0.002)) for n, phone in enumerate(phones)]
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*tapping), 20)
        assert await asyncio.wait_for(process.wait(), 15) == 0

        acknowledged = {phone.uid for phone in phones if "checked_in" in phone.answers}
        assert acknowledged
        assert acknowledged <= await checked_in(redis) <= sent
        assert {code for phone in phones for code in phone.answers} <= {"ok", "checked_in"}
        assert int(await redis.hget(keys.name(DAY, 0, "totals"), "winners") or 0) == len(await checked_in(redis))


async def test_a_process_ends_even_when_a_cancellation_was_swallowed(settings: Settings) -> None:
    """As ``asyncio.wait_for`` does before Python 3.12 when result and cancellation come together."""
    service = Service(settings)
    await service.start()
    swallowed = asyncio.Event()

    async def busy() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.sleep(60)

    service._tasks.append(asyncio.create_task(busy()))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await service.stop()
    assert swallowed.is_set()


async def test_a_callers_answer_comes_before_the_connections_are_let_go(service: Service) -> None:
    service.time.stop_at(at("06:00", 1))
    loop = asyncio.get_running_loop()
    await service.verbs.check_in(1, loop.time())
    asked = [asyncio.create_task(service.verbs.check_in(uid, loop.time())) for uid in range(2, 52)]
    await asyncio.sleep(0)
    await service.asking.batcher.drain()
    assert {(await one).word for one in asked} == {"not_joined"}


async def test_a_worker_that_is_asked_to_end_in_the_middle_of_its_jobs_ends_in_order(service: Service) -> None:
    for tenths in range(12):
        stopping = asyncio.Event()
        working = asyncio.create_task(worker._work(service, Counting(service), stopping))
        await asyncio.sleep(0.05 + tenths / 10)
        stopping.set()
        await asyncio.wait_for(working, 10)


async def test_a_job_that_is_cancelled_between_two_of_arqs_commands_does_not_fail_the_end(service: Service) -> None:
    ending = worker.build(service, Counting(service))
    ending.tasks = {"a job": asyncio.create_task(asyncio.sleep(60))}
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await worker._close(ending)


async def test_when_the_parent_of_the_api_processes_is_killed_they_end_too_and_the_port_is_free(
    settings: Settings,
) -> None:
    async with answering(settings) as process:
        process.kill()
        await process.wait()
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", settings.port)
                except ConnectionRefusedError:
                    break
                writer.close()
                await asyncio.sleep(0.1)


async def test_an_api_process_that_dies_is_replaced_and_the_log_says_so(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    async with answering(settings, log) as process:
        victim = next(one for one in api_processes(process.pid))
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(HUNG_SECONDS + 15):  # its parent may be waiting for its answer just then
            while victim in api_processes(process.pid) or len(api_processes(process.pid)) < 2:
                await asyncio.sleep(0.1)
        assert process.returncode is None
    said = [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]
    assert any(line["event"] == f"Child process [{victim}] died" for line in said)


@pytest.mark.parametrize("api_workers", [1, 2])
async def test_what_the_processes_of_an_api_answered_is_counted_for_prometheus(
    settings: Settings, api_workers: int
) -> None:
    asked, settings = 20, msgspec.structs.replace(settings, api_workers=api_workers)
    async with answering(settings), aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{settings.port}"
        for _ in range(asked):
            async with session.get(f"{url}/api/summary") as reply:
                assert reply.status == 200
        async with asyncio.timeout(10):
            while True:
                async with session.get(f"{url}/metrics") as reply:
                    lines = (await reply.text()).splitlines()
                if f'clock_requests_total{{code="ok",verb="summary"}} {asked}.0' in lines:
                    break
                await asyncio.sleep(0.2)


def api_processes(parent: int) -> set[int]:
    found = set()
    for one in psutil.Process(parent).children():
        with suppress(psutil.NoSuchProcess):  # it may end while we look
            if one.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(one.cmdline()):
                found.add(one.pid)
    return found


async def test_everything_starts_restarts_and_ends_though_nobody_reads_what_it_says() -> None:
    """``make run 2>&1 | tee log``, and ``tee`` is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    port = free_port()
    url = f"http://127.0.0.1:{port}/readyz"
    with embedded.scratch() as data_dir:
        environ = {**os.environ, "CLOCK_ENV": "dev", "CLOCK_DATA_DIR": str(data_dir), "CLOCK_PORT": str(port)}
        command = [sys.executable, "-m", "clock", "up"]
        up = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=writer, stderr=writer)
        os.close(writer)
        try:
            async with asyncio.timeout(60):
                while not await ready(url):
                    await asyncio.sleep(0.1)
            worker = await another_worker(up)
            worker.kill()
            await another_worker(up, than=worker)
            up.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(up.wait, 30) == 0
        finally:
            up.kill()


async def ready(url: str) -> bool:
    """Whether everything answers, the worker too."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            return bool((await reply.json())["worker"])
    except aiohttp.ClientError:
        return False


async def another_worker(up: subprocess.Popen[bytes], than: psutil.Process | None = None) -> psutil.Process:
    async with asyncio.timeout(30):
        while True:
            for child in psutil.Process(up.pid).children():
                with suppress(psutil.NoSuchProcess):  # it may end while we look
                    if child.cmdline()[-1:] == ["worker"] and child != than:
                        return child
            await asyncio.sleep(0.1)


async def test_nobody_connects_to_processes_that_end(settings: Settings, redis: Redis) -> None:
    """Two share their parent's socket. A connection that none of them takes would wait until the last has ended."""
    async with answering(settings) as process:
        phone = Phone(settings, Tokens(settings), 1)
        await phone.open()
        await redis.client_pause(4_000)
        await phone.send("/api/check-in")
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(3):
            while await connects(settings):
                await asyncio.sleep(0.05)
        assert process.returncode is None
        assert await phone.answer() in ("too_early", "not_joined", "too_late", "unavailable")
        assert await asyncio.wait_for(process.wait(), 15) == 0
        phone.close()


async def connects(settings: Settings) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", settings.port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
