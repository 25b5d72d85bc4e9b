"""Each server is refused, reset and silent, for connections that are open and for new ones: whoever asks hears so
within the bound of docs/operations.md, and everything comes back by itself."""

import asyncio
import socket
from typing import Any, cast

import pytest
from arq.worker import Worker

from clock.channels import calls
from clock.channels.platform import Platform
from clock.channels.webhooks import Signatures
from clock.game import keys
from clock.game.client.node import SCRIPT_SECONDS
from clock.game.client.pipe import PROBE_SECONDS
from clock.game.client.pool import COMMAND_SECONDS
from clock.runtime import worker
from tests.conftest import WEBHOOK_SECRET, Api, at
from tests.flow.operators.stage import clock
from tests.flow.pair import Address
from tests.flow.postgres_at_work.stage import Stopwatch, away
from tests.flow.stage import working
from tests.flow.switch.stage import books_have, says, seconds_until
from tests.raw import Redis

VERB_SECONDS = SCRIPT_SECONDS + COMMAND_SECONDS
"""The bound: a call of a script, and connecting."""

VERBS: dict[str, dict[str, Any]] = {
    "/api/join": {"extra": {"mobile": "13800000009", "nickname": "nine", "openId": "open-9"}},
    "/api/check-in": {},
    "/api/check-in/status": {},
    "/api/claim": {},
    "/api/summary": {},
    "/api/remind": {},
    "/api/alert/ack": {},
}


async def asked(api: Api, path: str, body: dict[str, Any]) -> tuple[str, float]:
    async with Stopwatch() as watch:
        if path.startswith("/callbacks"):
            raw = b'{"order_no": "%b"}' % body["order_no"].encode()
            _, reply = await api.send("POST", path, raw, Signatures(WEBHOOK_SECRET).sign(raw))
        else:
            _, reply = await api.send("POST", path, {"uid": 9, **body}, api.token(9))
        return reply["code"], watch.seconds()


async def all_verbs(api: Api, number: str) -> list[tuple[str, float]]:
    verbs = [*VERBS.items(), ("/callbacks/platform", {"order_no": number})]
    return await asyncio.gather(*(asked(api, path, body) for path, body in verbs for _ in range(2)))


@pytest.mark.long
@pytest.mark.parametrize("how", ["swallowed", "reset", "forgotten"])
async def test_verbs_are_unavailable_in_time_without_redis(api: Api, redis_address: Address, how: str) -> None:
    number = await api.member(9)
    port = redis_address.to_port
    away(how, redis_address)
    for _ in range(2):
        answers = await all_verbs(api, number)
        codes = {code for code, _ in answers}
        assert codes == {"unavailable"} or how == "forgotten"
        slowest = max(seconds for _, seconds in answers)
        print(how, "slowest verb", round(slowest, 1), "s")
        assert slowest < (VERB_SECONDS if how != "forgotten" else PROBE_SECONDS) + 1.0  # the machine may be busy
    redis_address.to_port, redis_address.swallows = port, False

    async def back() -> bool:
        return "unavailable" not in {code for code, _ in await all_verbs(api, number)}

    assert await seconds_until(back, 15) < 8


@pytest.mark.long
@pytest.mark.parametrize("how", ["swallowed", "reset", "forgotten"])
async def test_users_do_not_notice_the_queue_and_the_worker_comes_back(
    api: Api, redis: Redis, queue_address: Address, how: str
) -> None:
    async with working(api.settings) as process:
        await api.send("PUT", "/dev/time", {"now": "2026-11-22T20:00:00+08:00"})
        await api.member(1)
        await seconds_until(lambda: books_have(api.settings, "members", 1), 20)
        port = queue_address.to_port
        away(how, queue_address)
        async with Stopwatch() as watch:
            await api.member(2)
            assert watch.seconds() < 1
        await asyncio.sleep(3)
        queue_address.to_port, queue_address.swallows = port, False
        await redis.delete(keys.HEARTBEAT)
        waited = await seconds_until(lambda: books_have(api.settings, "members", 2), 30)
        waited += await seconds_until(lambda: redis.exists(keys.HEARTBEAT), 10)
        print(how, "worker back after", round(waited, 1), "s")
        assert waited < 15
        assert process.returncode is None
        assert await says(api, "/api/check-in/status", 2) == "ok"


@pytest.mark.parametrize("how", ["swallowed", "reset", "forgotten"])
async def test_a_silent_provider_holds_nobody_up(api: Api, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api.service.time.stop_at(at("20:00"))
    async with Address(api.settings.port).serving() as address:  # answers 404 to everything
        channel = Platform(f"http://127.0.0.1:{address.port}", WEBHOOK_SECRET)
        api.service.channels["platform"] = channel
        assert (await channel.query_refund("R1", "O1")).state == "unknown"
        assert channel.silent_seconds() == 0
        away(how, address)
        with monkeypatch.context() as impatient:
            impatient.setattr(calls, "TIMEOUT_SECONDS", 0.5)
            async with Stopwatch() as watch:
                found = await asyncio.gather(*(channel.query_refund("R1", "O1") for _ in range(20)))
                assert watch.seconds() < 1.5
            assert {one.state for one in found} <= {"again", "unknown"}
            assert channel.silent_seconds() > 0
            await api.member(1)  # joining never waits for it
            address.to_port, address.swallows = api.settings.port, False
            await channel.query_refund("R1", "O1")
        assert (await channel.query_refund("R1", "O1")).state == "unknown"
        assert channel.silent_seconds() == 0
        await channel.close()


@pytest.mark.long
async def test_a_worker_is_healthy_if_it_does_jobs_itself(api: Api, redis: Redis) -> None:
    async def healthy() -> bool:
        return (await clock(api.settings, "worker", "--check"))[0] == 0

    await redis.set(keys.HEARTBEAT, 1)  # another host's
    assert not await healthy()
    async with working(api.settings):
        await seconds_until(healthy, 20)
        assert 0 < await redis.pttl(keys.WORKS + socket.gethostname()) <= 10_000
    await redis.delete(keys.WORKS + socket.gethostname())  # as it expires
    assert not await healthy()


async def test_a_worker_that_ends_no_job_is_not_healthy(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck:
        jobs_complete = 5

    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.5)
    telling = asyncio.create_task(worker.tell(cast(Worker, Stuck()), api.service))
    await seconds_until(lambda: worker.works(api.service), 10)
    await asyncio.sleep(worker.IDLE_SECONDS)
    await api.service.redis.delete(keys.WORKS + socket.gethostname())
    await asyncio.sleep(1.2)
    assert not await worker.works(api.service)
    Stuck.jobs_complete = 6
    await seconds_until(lambda: worker.works(api.service), 10)
    telling.cancel()
