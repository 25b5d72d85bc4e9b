"""A whole day under a Redis user with exactly the rights that docs/servers.md names."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from clock.audit import mend
from clock.audit.counts import Counting
from clock.audit.rebuild import rebuild_lost
from clock.config import Settings
from clock.game import keys
from clock.metrics import Recent
from clock.operators.live import Said
from clock.operators.rounds import reconcile_rounds
from clock.runtime import embedded, worker
from clock.runtime.start_check import start_check
from clock.service import end
from tests import servers
from tests.conftest import DAY, Api, at, serving
from tests.flow.servers.stage import as_role
from tests.raw import Redis, plain

pytestmark = pytest.mark.long

RULE = re.compile(r"^ACL SETUSER clock on >PASSWORD (.+)$", re.MULTILINE)
TEXT = (Path(__file__).parents[3] / "docs" / "servers.md").read_text("utf-8")


def rule() -> list[str]:
    """The line of the document, without user and password."""
    (found,) = RULE.findall(TEXT)
    return str(found).split()


@pytest.fixture
async def administrator(settings: Settings) -> AsyncIterator[Redis]:
    """Makes the user and its empty database; sees which commands were refused, and which were called."""
    async with plain(settings.redis_url) as client:
        await client.flushall()
        await client.execute_command("ACL", "SETUSER", "clock", "on", ">clock", *rule())
        await client.execute_command("ACL", "LOG", "RESET")
        await client.execute_command("CONFIG", "RESETSTAT")
        yield client
        await client.execute_command("ACL", "DELUSER", "clock")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """In a database with a number, which is selected."""
    return replace(settings, redis_url=settings.redis_url[:-1] + "1")


@pytest.fixture
async def api(settings: Settings, administrator: Redis) -> AsyncIterator[Api]:
    async with serving(replace(settings, redis_url=as_role(settings.redis_url, "clock"))) as api:
        yield api


async def until(api: Api, query: str) -> None:
    """Wait for the worker: the query finds a row."""
    async with asyncio.timeout(20):
        while True:
            async with api.service.store.transaction() as connection:
                if (await connection.execute(query.encode())).rowcount:
                    return
            await asyncio.sleep(0.05)


async def evening(api: Api) -> str:
    """Three members, a payment too many, a callback for the quarantine; the order of a fourth, who does not pay."""
    api.service.time.stop_at(at("20:00"))
    orders = [await api.member(uid) for uid in (1, 2, 3)]
    assert (await api.pay(orders[0], 1))[1]["code"] == "already_paid"
    assert (await api.pay(orders[0], 1, transactionId="again"))[1]["code"] == "refund_due"
    await api.pay(orders[1], 2, amount=1, transactionId="wrong")
    await api.post("/api/remind", 1)
    return str((await api.join(4))["data"]["order_no"])


async def morning(api: Api, administrator: Redis) -> None:
    """Two get up and claim; Redis forgets one of the claims, and is told by the books."""
    api.service.time.stop_at(at("06:00", 1))
    for uid in (1, 2):
        assert (await api.post("/api/check-in", uid))["code"] == "checked_in"
    api.service.time.stop_at(at("08:05", 1))
    await until(api, f"SELECT FROM rounds WHERE day = '{DAY}' AND state = 'settled'")
    assert (await api.post("/api/claim", 1))["code"] == "claimed"
    names = keys.names(DAY, 0, ("members", "totals"))
    past = [await administrator.dump(name) for name in names]
    assert (await api.post("/api/claim", 2))["code"] == "claimed"
    await until(api, "SELECT FROM claims WHERE uid = 2")
    for name, value in zip(names, past, strict=True):
        await administrator.restore(name, 0, value, replace=True)
    mended = await mend.mend(api.service, DAY)
    assert mended is not None and mended.users == 1
    await api.post("/api/alert/ack", 1)


async def seen(api: Api, administrator: Redis) -> None:
    """Whoever watches sees it all, and what a dead process said is removed."""
    await administrator.hset(keys.LIVE, "dead", msgspec.msgpack.encode(Said(0.0, 1.0, Recent({}, 0, 0, 0))))
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["schema"], parts["worker"], parts["durability"]["appendfsync"]) == (200, True, True, "always")
    async with api.session.get(f"{api.url}/metrics") as reply:
        assert reply.status == 200 and "clock_redis_up 1.0" in await reply.text()
    boss = api.token(99, "operator")
    assert (await api.send("GET", "/ops/live", None, boss))[1]["data"]["redis"] is True
    assert (await api.send("GET", f"/ops/rounds/{DAY}", None, boss))[0] == 200
    listed = (await api.send("GET", "/ops/quarantine", None, boss))[1]["data"]["items"]
    body = {"action": "refund", "reason": "paid by mistake"}
    assert (await api.send("POST", f"/ops/quarantine/{listed[0]['id']}/release", body, boss))[1]["code"] == "released"


async def test_a_day_needs_these_rights_and_no_others(api: Api, administrator: Redis) -> None:
    service = api.service
    for durability in ("fsync", "replica"):
        await start_check(replace(api.settings, durability=durability))
    service.time.stop_at(at("04:00", 1))
    arq = worker.build(service, Counting(service))
    working = [
        asyncio.create_task(arq.async_run()),
        asyncio.create_task(worker.ring(arq.pool)),
    ]
    try:
        async with asyncio.timeout(20):
            while not await administrator.exists(keys.REWRITTEN):
                await asyncio.sleep(0.05)
        unpaid = await evening(api)
        await morning(api, administrator)
        service.time.stop_at(at("00:00", 2))
        await until(api, f"SELECT FROM rounds WHERE day = '{DAY}' AND state = 'finished'")
        assert (await api.pay(unpaid, 4))[1]["code"] == "refund_due"
        await until(api, "SELECT FROM payments WHERE uid = 4")
        await until(api, "SELECT WHERE NOT EXISTS (SELECT FROM log_waiting) AND EXISTS (SELECT FROM log_entries)")
        await seen(api, administrator)
        await worker.trim({"service": service})
    finally:
        await end(working)
        await worker._close(arq)
    assert (await reconcile_rounds(service, DAY)).word == "books_agree"
    await administrator.flushall()
    assert await rebuild_lost(service)
    assert [str(entry) for entry in await administrator.execute_command("ACL", "LOG")] == []
    used = {name.removeprefix("cmdstat_") for name in await administrator.info("commandstats")}
    allowed = {word.removeprefix("+") for word in rule() if word.startswith("+")}
    assert allowed - used == {"ping"}, "asked only where a reply is late (clock.game.client.pipe)"


SINCE_7_2 = {"+waitaof", "+client|setinfo"}


@servers.needs_redis
async def test_the_systems_redis_knows_the_line_without_what_came_with_7_2(settings: Settings) -> None:
    assert servers.REDIS is not None
    assert set(rule()) > SINCE_7_2 and all(word in TEXT.replace(" ".join(rule()), "") for word in SINCE_7_2)
    with embedded.scratch() as place:
        server = servers.Configured(place, command=servers.REDIS)
        async with embedded.started(server), plain(server.url) as client:
            words = [word for word in rule() if word not in SINCE_7_2]
            await client.execute_command("ACL", "SETUSER", "clock", "on", ">clock", *words)
            await start_check(replace(settings, redis_url=as_role(server.url, "clock")))
