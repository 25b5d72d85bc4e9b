"""The client of a cluster whose nodes do not say where they are, and which has databases by number."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clock.game import keys
from clock.game.client.calls import connect
from clock.runtime import embedded
from tests.cluster import Cluster, cluster
from tests.conftest import in_memory
from tests.raw import plain

LINES = ("cluster-preferred-endpoint-type unknown-endpoint", "cluster-databases 2")
NAMES = [keys.name(keys.USERS, shard, "position") for shard in range(keys.USER_SHARDS)]


@pytest.fixture(scope="module")
async def two() -> AsyncIterator[Cluster]:
    with embedded.scratch(in_memory()) as data_dir:
        async with cluster(data_dir, (0, 0), lines=LINES) as nodes:
            yield nodes


@pytest.fixture
async def client(two: Cluster) -> AsyncIterator[Any]:
    """Of one node, named by its own address, in the second database."""
    client: Any = connect(f"redis+cluster://:{two.password}@127.0.0.1:{two.nodes[0].port}/1")
    yield client
    await client.aclose()


async def test_slots_are_what_the_server_says(two: Cluster) -> None:
    for name in (*NAMES, "foo{bar}{zap}", "foo{}{bar}", "foo{{bar}}zap", "foo{bar", "}{bar}", "{", ""):
        assert await two.tell(two.nodes[0], "CLUSTER", "KEYSLOT", name) == keys.slot_of(name.encode()), name


async def test_a_slot_that_has_moved_is_followed_without_an_address(two: Cluster, client: Any) -> None:
    """Both nodes have one address here: what is not said is that of the node which answers."""
    name = NAMES[0]
    await client.set(name, 1)
    slot = keys.slot_of(name.encode())
    source = await two.owner(slot)
    (other,) = (node for node in two.nodes if node != source)
    await two.move_range(slot, slot, other)
    assert await client.get(name) == b"1"
    assert {one.connection_pool.connection_kwargs["host"] for one in await client.nodes()} == {"127.0.0.1"}
    assert await two.tell(other, "GET", name) is None, "it is in the other database"
    async with plain(other.url.removesuffix("/0") + "/1") as second:
        assert await second.get(name) == b"1"


async def test_commands_of_several_nodes_are_answered_in_their_order(two: Cluster, client: Any) -> None:
    pipe = client.pipeline(transaction=False)
    for number, name in enumerate(NAMES):
        pipe.execute_command("SET", name, number)
        pipe.execute_command("GET", name)
    assert await pipe.execute() == [True, *(answer for n in range(8) for answer in (b"%d" % n, True))][:-1]
    owners = {await two.owner(keys.slot_of(name.encode())) for name in NAMES}
    assert len(owners) == 2


async def test_nothing_goes_on_once_it_is_closed(two: Cluster) -> None:
    """Connections that end are no sign that the table is old."""
    before = asyncio.all_tasks()
    client: Any = connect(two.url)
    await client.open()
    await client.set(NAMES[0], 1)
    await client.aclose()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
