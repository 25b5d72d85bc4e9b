"""The scripts on three servers: one Valkey, a cluster of one node, and a cluster that forgets scripts all the time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from clock.game.client.calls import connect
from clock.runtime import embedded
from tests.cluster import Node
from tests.lua.stage import Client, Stage
from tests.raw import plain, raw


async def take_all_slots(server: embedded.Valkey) -> None:
    async with plain(server.url) as client:
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    await wait_for_slots(server)


async def forget_on_power_loss(server: embedded.Valkey) -> None:
    """Most tests are not about durability, and go faster without waiting for the disk."""
    async with plain(server.url) as client:
        await client.config_set("appendfsync", "no")


async def wait_for_slots(server: embedded.Valkey) -> None:
    """A node does not serve its slots in the first moments after its start."""
    async with plain(server.url) as client:
        while b"cluster_state:ok" not in await client.execute_command("CLUSTER", "INFO"):
            await asyncio.sleep(0.02)


def connect_cluster(server: embedded.Valkey) -> Client:
    return raw(connect(server.url.replace("redis://", "redis+cluster://")))


@pytest.fixture(scope="session")
async def one_server() -> AsyncIterator[Client]:
    with embedded.scratch() as data_dir:
        server = embedded.Valkey(data_dir)
        async with embedded.started(server):
            await forget_on_power_loss(server)
            client = raw(connect(server.url))
            yield client
            await client.aclose()


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Client]:
    with embedded.scratch() as data_dir:
        server = Node(data_dir)
        async with embedded.started(server):
            await take_all_slots(server)
            await forget_on_power_loss(server)
            client = connect_cluster(server)
            yield client
            await client.aclose()


@pytest.fixture(scope="session", params=["one server", "cluster", "cluster that forgets scripts"])
def server(request: pytest.FixtureRequest, one_server: Client, cluster: Client) -> tuple[Client, bool]:
    """A client, and whether scripts are forgotten before each call."""
    if request.param == "one server":
        return one_server, False
    return cluster, request.param != "cluster"


@pytest.fixture
async def redis(server: tuple[Client, bool]) -> Client:
    """An empty server."""
    await server[0].flushall()
    return server[0]


@pytest.fixture
async def stage(redis: Client, server: tuple[Client, bool]) -> Stage:
    """An open round with the default rules; the clock stands still in the evening before check-in."""
    stage = Stage(redis, forgets_scripts=server[1])
    await stage.open()
    return stage


@pytest.fixture
async def empty_stage(redis: Client, server: tuple[Client, bool]) -> Stage:
    """A round that is not open yet."""
    return Stage(redis, forgets_scripts=server[1])
