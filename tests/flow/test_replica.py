"""``CLOCK_DURABILITY=replica``: what is acknowledged is in the append-only files of two servers."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.exceptions import RedisError

from clock.books import outbox
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.game.client.pool import NotReplicated
from clock.game.limits import Limits
from clock.runtime import embedded
from clock.runtime.ports import free_port
from clock.service import Service
from tests.conftest import DAY, JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, Api, at
from tests.flow.pair import Pair, pair
from tests.flow.stage import People
from tests.model.world import service_with

pytestmark = pytest.mark.long

MEMBERS = keys.name(DAY, 0, "members")


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""


@pytest.fixture(scope="module")
async def servers_of_two() -> AsyncIterator[Pair]:
    with embedded.scratch() as data_dir:
        async with pair(data_dir) as both:
            yield both


@pytest.fixture
async def two(servers_of_two: Pair) -> Pair:
    """Empty, and the replica follows."""
    await servers_of_two.redis.flushall()
    await servers_of_two.follow()
    return servers_of_two


@pytest.fixture
async def redis(two: Pair) -> Any:
    return two.redis


@pytest.fixture
def settings(two: Pair, database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        env="dev",
        port=free_port(),
        data_dir=tmp_path,
        redis_url=two.primary.url,
        database_url=database_url,
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        statement_key=STATEMENT_KEY,
        durability="replica",
    )


@pytest.fixture
async def people(service: Service) -> People:
    return People(service)


async def calls(redis: Any, command: str) -> int:
    stats = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def letter(redis: Any, uid: int) -> str:
    """What the user is in this server's memory."""
    record = await redis.hget(MEMBERS, uid)
    return str(record[:1].decode()) if record else "-"


# -- with a replica


async def test_what_is_acknowledged_is_on_the_replica_when_the_answer_goes_out(people: People, two: Pair) -> None:
    for uid in range(1, 6):
        await people.join(uid)
        assert await letter(two.copy, uid) == "O"
        assert await people.pay(uid) == "paid"
        assert await letter(two.copy, uid) == "M"
    people.it_is("06:00", 1)
    for uid in range(1, 6):
        await people.check_in(uid)
        assert await letter(two.copy, uid) == "C"
    await people.settle()
    for uid in range(1, 6):
        await people.claim(uid)
        assert await letter(two.copy, uid) == "P"


async def test_a_batch_waits_once_for_all_its_users(people: People, two: Pair) -> None:
    uids = range(1, 101)
    await people.members(101, *uids)
    people.it_is("06:00", 1)
    await people.check_in(101)  # the script is known to the server now
    await two.redis.config_resetstat()
    await people.check_in(*uids)
    assert (await calls(two.redis, "evalsha"), await calls(two.redis, "waitaof")) == (1, 1)


async def test_an_answer_does_not_wait_for_the_replicas_report_of_every_second(people: People, two: Pair) -> None:
    uids = range(1, 31)
    await people.members(*uids)
    people.it_is("06:00", 1)
    started = time.monotonic()
    for uid in uids:
        await people.check_in(uid)
    assert time.monotonic() - started < len(uids) / 2


async def test_reading_waits_for_nobody(people: People, two: Pair) -> None:
    await people.members(1)
    await two.redis.config_resetstat()
    await people.service.verbs.check_in_status(1, time.monotonic())
    assert await calls(two.redis, "waitaof") == 0


async def test_without_this_setting_nobody_waits(settings: Settings, two: Pair) -> None:
    """The file of the one server is enough."""
    await two.lose()
    async with service_with(settings, durability="fsync") as service:
        await People(service).members(1)
    await two.follow()


# -- without one


async def test_without_a_replica_nothing_is_acknowledged_and_the_retry_says_that_it_was_done(
    api: Api, two: Pair
) -> None:
    people = People(api.service)
    await people.members(1)
    people.it_is("06:00", 1)
    await two.lose()
    started = time.monotonic()
    for _ in range(2):
        async with api.session.post(api.url + "/api/check-in", json={"uid": 1}, headers=api.token(1)) as reply:
            assert (reply.status, (await reply.json())["code"]) == (503, "unavailable")
            assert int(reply.headers["Retry-After"]) > 0
    assert time.monotonic() - started < 5
    await two.follow()
    reply_ = await api.post("/api/check-in", 1)
    assert (reply_["code"], reply_["data"]) == ("already_checked_in", {"money": 100})
    assert await letter(two.copy, 1) == "C"


async def test_without_a_replica_money_goes_on_within_a_providers_limits(service: Service, two: Pair) -> None:
    """How many calls there were is nothing to be kept."""
    await two.lose()
    started = time.monotonic()
    for _ in range(10):
        await Limits(service.redis, service.time).wait("double.refund", 100)
    assert time.monotonic() - started < 5
    await two.follow()


async def test_readiness_says_the_durability_in_force_and_needs_a_replica(api: Api, two: Pair) -> None:
    status, parts = await api.send("GET", "/readyz")
    durability = parts["durability"]
    assert (status, durability["mode"], durability["replicas"]) == (200, "replica", 1)
    assert (durability["appendonly"], durability["appendfsync"]) == ("yes", "always")
    await two.lose()
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["durability"]["replicas"]) == (503, False, 0)
    await two.follow()
    assert (await api.send("GET", "/readyz"))[0] == 200


# -- the replica hangs


async def tap(service: Service, uid: int) -> str:
    """A check-in's word, ``unavailable`` included."""
    try:
        return (await service.verbs.check_in(uid, time.monotonic())).word
    except Unavailable:
        return "unavailable"


async def test_a_retry_in_another_process_is_not_told_what_no_replica_has(people: People, two: Pair) -> None:
    """It writes nothing itself, so its own connection would have nothing to wait for."""
    await people.members(1)
    people.it_is("06:00", 1)
    async with service_with(people.service.settings) as other:
        other.time.setting = people.service.time.setting
        assert await tap(other, 99) == "not_joined"
        two.freeze()
        try:
            assert await tap(people.service, 1) == "unavailable"
            assert await tap(other, 1) == "unavailable"
        finally:
            two.thaw()
        assert await tap(other, 1) == "already_checked_in"
    assert await letter(two.copy, 1) == "C"


async def test_the_books_have_nothing_that_no_replica_has(people: People, two: Pair) -> None:
    await people.members(1)
    await people.drain()
    people.it_is("06:00", 1)
    two.freeze()
    try:
        assert await tap(people.service, 1) == "unavailable"
        with pytest.raises(NotReplicated):
            await outbox.drain(people.service.store, people.service.redis, DAY, 0)
        assert (await people.service.store.all("count_books", day=DAY))[0]["winners"] == 0
    finally:
        two.thaw()
    await people.drain()
    assert (await people.service.store.all("count_books", day=DAY))[0]["winners"] == 1


async def test_settlement_waits_for_the_replica_and_goes_on_with_it(people: People, two: Pair) -> None:
    await people.members(1, 2)
    people.it_is("06:00", 1)
    await people.check_in(1)
    await people.drain()
    people.it_is("08:05", 1)
    two.freeze()
    try:
        with pytest.raises(Unavailable):
            await people.service.settling.settle(DAY)
    finally:
        two.thaw()
    assert await people.service.settling.settle(DAY) == "settled"
    assert (await two.copy.hget(keys.name(DAY, 0, "round"), "state")) == b"settled"


# -- the primary dies


@pytest.mark.long
async def test_a_promoted_replica_has_every_check_in_that_was_acknowledged(database_url: str, tmp_path: Path) -> None:
    with embedded.scratch() as data_dir:
        async with pair(data_dir) as both:
            settings = Settings(
                redis_url=both.primary.url,
                database_url=database_url,
                durability="replica",
                webhook_secret=WEBHOOK_SECRET,
                statement_key=STATEMENT_KEY,
            )
            uids = range(1, 101)
            acknowledged: set[int] = set()
            async with service_with(settings) as service:
                people = People(service)
                await people.members(*uids)
                await people.drain()
                people.it_is("06:00", 1)

                async def tap(uid: int) -> None:
                    try:
                        answer = await service.verbs.check_in(uid, time.monotonic())
                    except (Unavailable, RedisError, OSError):
                        return
                    assert answer.word == "checked_in"
                    acknowledged.add(uid)

                taps = []
                for uid in uids:
                    taps.append(asyncio.create_task(tap(uid)))
                    if uid == 50:
                        while not acknowledged:
                            await asyncio.sleep(0)
                        both.freeze()
                    if uid % 10 == 0:
                        await asyncio.sleep(0.002)
                await asyncio.gather(*taps)
            assert 0 < len(acknowledged) < len(uids)
            os.kill(both.first.pid, signal.SIGKILL)
            both.thaw()
            await both.copy.execute_command("REPLICAOF", "NO", "ONE")
            promoted = msgspec.structs.replace(settings, redis_url=both.replica.url, durability="fsync")
            async with service_with(promoted) as service:
                service.time.stop_at(at("06:30", 1))
                answers = await asyncio.gather(*(service.verbs.check_in(uid, time.monotonic()) for uid in uids))
                words = {uid: answer.word for uid, answer in zip(uids, answers, strict=True)}
                assert set(words.values()) <= {"already_checked_in", "checked_in"}
                assert {words[uid] for uid in acknowledged} == {"already_checked_in"}
                await outbox.drain(service.store, service.redis, DAY, 0)
                found = await service.store.all("count_books", day=DAY)
                assert (found[0]["members"], found[0]["winners"]) == (100, 100)
