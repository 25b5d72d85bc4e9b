"""What the rounds of faults have found, each as a test of its own."""

import asyncio
from typing import Any

import msgspec
import pytest
from redis.exceptions import RedisError

from clock.audit.rebuild import rebuild_lost
from clock.books import entries, outbox
from clock.books.store import OUTBOX_LOCK, one
from clock.channels import Result
from clock.channels.platform import Platform
from clock.config import Settings
from clock.game import events, keys
from clock.payments.outgoing import send_some
from clock.runtime.ports import free_port
from clock.service import Service
from tests.conftest import DAY, Api, at
from tests.raw import raw


async def test_a_process_that_starts_without_redis_does_not_guess_the_time(settings: Settings) -> None:
    """It named rounds of 1970, opened them, and quarantined good payments as nobody's."""
    lonely = msgspec.structs.replace(settings, redis_url=f"redis://127.0.0.1:{free_port()}/0", env="prod")
    service = Service(lonely)
    await service.start()
    try:
        with pytest.raises(RedisError):
            service.time.now_ms()
    finally:
        await service.stop()


async def _drain(api: Api) -> None:
    await outbox.drain(api.service.store, api.service.redis, DAY, 0)


async def test_a_drain_that_commits_after_valkey_was_lost_is_in_the_rebuilt_valkey(api: Api) -> None:
    service = api.service
    service.time.stop_at(at("20:00"))
    await api.member(1)
    await _drain(api)
    await api.member(2)
    stream: Any = service.redis
    async with service.store.transaction() as connection:
        await one(connection, "try_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(DAY, 0))
        found = await stream.xrange(keys.name(DAY, 0, "outbox"))
        await entries.write(connection, DAY, 0, [events.decode(fields[b"e"]) for _, fields in found])
        await raw(service.redis).flushall()
        rebuilding = asyncio.create_task(rebuild_lost(service))
        await asyncio.sleep(0.3)
    assert f"{DAY}.0" in await asyncio.wait_for(rebuilding, 10)
    records = await stream.hgetall(keys.name(DAY, 0, "members"))
    assert {uid: record[:1] for uid, record in records.items()} == {b"1": b"M", b"2": b"M"}


async def test_a_valkey_lost_between_its_settling_and_postgres_settling_still_settles(api: Api) -> None:
    """Claims had begun: fewer packets are left than the manifest has."""
    service = api.service
    service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    service.time.stop_at(at("05:00", 1))
    for uid in (1, 2):
        await api.post("/api/check-in", uid)
    service.time.stop_at(at("08:05", 1))
    assert await service.settling.settle(DAY) == "settled"
    first = (await api.post("/api/claim", 1))["data"]["assign"]
    await _drain(api)
    async with service.store.transaction() as connection:
        await connection.execute("UPDATE rounds SET state = 'published', settled_at = NULL WHERE day = %s", [DAY])
    await raw(service.redis).flushall()
    await rebuild_lost(service)
    assert await service.settling.settle(DAY) == "settled"
    assert (await api.post("/api/claim", 1))["data"]["assign"] == first
    second = (await api.post("/api/claim", 2))["data"]["assign"]
    assert first["money"] + second["money"] == 100


class Unreachable(Platform):
    """Nothing gets through to it; it remembers what it was asked to send."""

    def __init__(self) -> None:
        super().__init__("", "")
        self.sent = 0

    def silent_seconds(self) -> float:
        return 0.0

    async def query_transfer(self, transfer_no: str) -> Result:
        return Result("again", "no connection")

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        self.sent += 1
        return Result("unknown")


async def test_a_question_that_did_not_get_through_leaves_what_was_sent_unknown(service: Service) -> None:
    """It made the payout owed again: the next try sent it without asking."""
    channel = Unreachable()
    store = service.store
    await service.opener.open_round(DAY)
    async with store.transaction() as connection:
        await connection.execute(
            "INSERT INTO outgoing (day, no, kind, uid, amount_fen) VALUES (%s, 'P1', 'payout', 1, 100)", [DAY]
        )
        await connection.execute("INSERT INTO orders VALUES (%s, 1, 'O1', 1, 100, 'open-1', 0)", [DAY])
        await connection.execute(
            "INSERT INTO payments VALUES (%s, 'O1', 'T1', 1, 100, 0, 0, 'paid', 'platform', '')", [DAY]
        )
    for _ in range(3):
        await send_some(store, {"platform": channel})
        async with store.transaction() as connection:
            await connection.execute("UPDATE outgoing SET next_at = now()")
    assert channel.sent == 1
    async with store.transaction() as connection:
        row = await (await connection.execute("SELECT state FROM outgoing")).fetchone()
    assert row is not None
    assert row["state"] == "unknown"
