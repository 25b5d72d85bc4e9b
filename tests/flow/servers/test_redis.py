"""Which Redis the service starts with, and what it says of one that it refuses."""

import asyncio
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec.structs import replace

from clock.config import Settings
from clock.game.client.calls import connect
from clock.operators import redis_check
from clock.operators.readiness import readiness
from clock.operators.redis_check import DURABLE, durability_of, version_of
from clock.runtime import embedded
from clock.runtime import start_check as start_check_module
from clock.runtime.ports import free_port
from clock.runtime.start_check import start_check
from clock.service import Service
from tests import servers
from tests.flow.servers.stage import as_role, refusal
from tests.raw import Redis

pytestmark = pytest.mark.long

WRONG = {
    "appendonly": "no",
    "appendfsync": "everysec",
    "maxmemory-policy": "allkeys-lru",
    "no-appendfsync-on-rewrite": "yes",
}


async def test_a_durable_primary_is_accepted(settings: Settings) -> None:
    await start_check(settings)
    await start_check(replace(settings, durability="replica"))  # whether there is one is for /readyz to say


async def test_a_redis_that_may_forget_is_refused_in_production_alone(settings: Settings, redis: Redis) -> None:
    for name, wrong in WRONG.items():
        await redis.config_set(name, wrong)
        sentence = await refusal(settings)
        await start_check(replace(settings, env="dev"))
        await redis.config_set(name, DURABLE[name])
        assert f"{name}='{wrong}'" in sentence and f"CONFIG SET {name} {DURABLE[name]}" in sentence


async def test_a_replica_is_refused_and_its_primary_is_named(settings: Settings, redis: Redis) -> None:
    await redis.replicaof("127.0.0.1", 1)
    try:
        for env in ("prod", "dev"):
            sentence = await refusal(replace(settings, env=env))
            assert "CLOCK_REDIS_URL leads to a replica" in sentence and "(127.0.0.1:1)" in sentence
    finally:
        await redis.replicaof("NO", "ONE")


async def test_a_version_that_is_too_old_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(redis_check.OLDEST, "Valkey", (99, 0))
    assert "Valkey is version 9." in await refusal(settings)
    assert "Valkey 7.2 or newer" in await refusal(replace(settings, env="dev"))


def test_a_version_is_read_from_what_the_server_says() -> None:
    assert version_of({"redis_version": "7.0.15"}) == ("Redis", "7.0.15")
    assert version_of({"redis_version": "7.2.4", "valkey_version": "9.1.2"}) == ("Valkey", "9.1.2")
    assert version_of({"redis_version": "7.2.4", "server_name": "valkey"}) == ("Valkey", "7.2.4")
    assert [redis_check._numbers(text) for text in ("7.0.15", "8", "10.1-rc1", "")] == [(7, 0), (8, 0), (10, 1), (0, 0)]


@pytest.fixture
async def limited(settings: Settings, redis: Redis) -> AsyncIterator[Settings]:
    """A user who may do everything but see settings."""
    await redis.execute_command("ACL", "SETUSER", "managed", "on", ">managed", "~*", "+@all", "-config")
    yield replace(settings, redis_url=as_role(settings.redis_url, "managed"))
    await redis.execute_command("ACL", "DELUSER", "managed")


async def test_where_config_is_forbidden_trust_must_be_said(limited: Settings, redis: Redis) -> None:
    sentence = await refusal(limited)
    assert "CONFIG is forbidden" in sentence and "CLOCK_REDIS_DURABILITY=trusted" in sentence
    assert "appendfsync always, no-appendfsync-on-rewrite no" in sentence
    assert "appendonly" not in sentence and "maxmemory" not in sentence  # INFO has these
    trusting = replace(limited, redis_durability="trusted")
    await start_check(trusting)
    for name in ("appendonly", "maxmemory-policy"):
        await redis.config_set(name, WRONG[name])
        sentence = await refusal(trusting)
        await redis.config_set(name, DURABLE[name])
        assert f"{name}='{WRONG[name]}'" in sentence


async def test_trust_is_for_what_redis_does_not_show(settings: Settings, redis: Redis) -> None:
    await redis.config_set("appendfsync", "everysec")
    sentence = await refusal(replace(settings, redis_durability="trusted"))
    await redis.config_set("appendfsync", "always")
    assert "appendfsync='everysec'" in sentence


async def test_readiness_does_without_config(limited: Settings) -> None:
    service = Service(limited)
    await service.start()
    try:
        await service.opener.open_around(service.asking.calendar.day_at(service.time.now_ms()))
        ready, parts = await readiness(service)
    finally:
        await service.stop()
    assert (ready, parts["redis"], parts["schema"]) == (True, True, True)
    hidden = {"appendfsync": "unknown", "no-appendfsync-on-rewrite": "unknown"}
    assert parts["durability"] == {"mode": "fsync", "replicas": 0, **DURABLE, **hidden}


async def test_a_refused_login_or_command_is_no_silence(settings: Settings, redis: Redis) -> None:
    sentence = await refusal(replace(settings, redis_url=as_role(settings.redis_url, "stranger")))
    assert "Redis refuses the user or a command of CLOCK_REDIS_URL" in sentence and "docs/servers.md" in sentence
    await redis.execute_command("ACL", "SETUSER", "blind", "on", ">blind", "~*", "+@all", "-info", "-waitaof")
    assert "'info'" in await refusal(replace(settings, redis_url=as_role(settings.redis_url, "blind")))
    await redis.execute_command("ACL", "SETUSER", "blind", "+info")
    lonely = replace(settings, redis_url=as_role(settings.redis_url, "blind"))
    await start_check(lonely)
    assert "CLOCK_DURABILITY=replica needs the command WAITAOF" in await refusal(replace(lonely, durability="replica"))
    await redis.execute_command("ACL", "DELUSER", "blind")


async def test_a_redis_that_is_away_is_refused_in_production_alone(settings: Settings) -> None:
    away = replace(settings, redis_url=f"redis://127.0.0.1:{free_port()}")
    sentence = await refusal(away)
    assert sentence.startswith("Redis (CLOCK_REDIS_URL) does not answer: ") and "connecting to 127.0.0.1" in sentence
    await start_check(replace(away, env="dev"))


async def test_a_redis_that_does_not_answer_is_not_waited_for_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_check_module, "ANSWER_SECONDS", 1.0)
    async with asyncio.timeout(5):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            sentence = await refusal(replace(settings, redis_url=f"redis://127.0.0.1:{mute.getsockname()[1]}"))
    assert sentence == "Redis (CLOCK_REDIS_URL) does not answer: no answer within 1 s"


async def test_a_redis_that_comes_within_the_time_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # it takes its time on a busy machine
    with embedded.scratch() as place:
        server = embedded.Valkey(place)
        server.prepare()
        check = asyncio.create_task(start_check(replace(settings, redis_url=server.url)))
        await asyncio.sleep(0.3)
        async with embedded.started(server):
            await check


async def test_a_cluster_and_a_sentinel_are_refused_for_both_urls(settings: Settings) -> None:
    with embedded.scratch() as first, embedded.scratch() as second:
        bus = f"cluster-port {free_port()}"  # by default 10,000 above the other, where nobody looked whether it is free
        cluster = servers.Configured(first, lines=("cluster-enabled yes", bus))
        sentinel = servers.Configured(second, lines=("appendonly no",), arguments=("--sentinel",))
        async with embedded.started(cluster):
            sentence = await refusal(replace(settings, redis_url=cluster.url))
            assert "CLOCK_REDIS_URL leads to a cluster" in sentence and "cluster_enabled" in sentence
            assert "CLOCK_QUEUE_URL leads to a cluster" in await refusal(replace(settings, queue_url=cluster.url))
            await start_check(replace(settings, queue_url=cluster.url), queue=False)
        async with embedded.started(sentinel):
            assert "leads to a Sentinel" in await refusal(replace(settings, redis_url=sentinel.url))


@servers.needs_redis
async def test_the_systems_redis_is_accepted_with_fsync_and_with_replica_from_7_2_on(settings: Settings) -> None:
    assert servers.REDIS is not None
    with embedded.scratch() as place:
        server = servers.Configured(place, command=servers.REDIS)
        async with embedded.started(server):
            settings = replace(settings, redis_url=server.url)
            await start_check(settings)
            client = connect(server.url)
            kind, version = version_of(await client.info("server"))
            await client.aclose()
            replica = replace(settings, durability="replica")
            if kind == "Redis" and redis_check._numbers(version) < (7, 2):
                sentence = await refusal(replica)
                assert "needs the command WAITAOF, which came with Redis 7.2" in sentence and version in sentence
                assert "CLOCK_DURABILITY=fsync" in sentence
            else:
                await start_check(replica)


@servers.needs_redis
async def test_a_redis_without_the_command_config_is_treated_like_one_that_forbids_it(settings: Settings) -> None:
    assert servers.REDIS is not None
    with embedded.scratch() as place:
        server = servers.Configured(place, lines=('rename-command CONFIG ""',), command=servers.REDIS)
        async with embedded.started(server):
            settings = msgspec.structs.replace(settings, redis_url=server.url)
            assert "CLOCK_REDIS_DURABILITY=trusted" in await refusal(settings)
            await start_check(replace(settings, redis_durability="trusted"))
            client = connect(server.url)
            assert (await durability_of(client))["maxmemory-policy"] == "noeviction"
            await client.aclose()
