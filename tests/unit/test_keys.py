"""Shards lie evenly over the nodes of a cluster, and in every round in the same places."""

from collections.abc import Iterator
from datetime import date
from math import ceil

import pytest

from clock.game import keys

MOST_NODES = 20
MOST_SHARDS = 256


def ranges(nodes: int) -> Iterator[range]:
    """The slots of each node, as ``valkey-cli --cluster create`` gives them."""
    first, cursor = 0, 0.0
    for node in range(nodes):
        last = keys.SLOTS - 1 if node == nodes - 1 else round(cursor + keys.SLOTS / nodes - 1)
        yield range(first, last + 1)
        first, cursor = last + 1, cursor + keys.SLOTS / nodes


def spread(shards: int, nodes: int) -> list[int]:
    """How many of the shards are on each node."""
    slots = [keys.slot_of(keys.tag(shard).encode()) for shard in range(shards)]
    return [sum(slot in own for slot in slots) for own in ranges(nodes)]


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        (b"123456789", 0x31C3),  # the specification's; the others are what CLUSTER KEYSLOT says
        (b"foo", 12_182),
        (b"foo{bar}{zap}", 5_061),
        (b"foo{}{bar}", 8_363),
        (b"foo{{bar}}zap", 4_015),
        (b"}{bar}", 5_061),
    ],
)
def test_the_slot_is_that_of_the_first_hash_tag_unless_it_is_empty(name: bytes, slot: int) -> None:
    assert keys.slot_of(name) == slot


@pytest.mark.parametrize("nodes", range(1, MOST_NODES + 1))
def test_no_node_has_more_than_one_shard_above_its_share(nodes: int) -> None:
    for shards in range(nodes, MOST_SHARDS + 1):
        found = spread(shards, nodes)
        assert sum(found) == shards
        assert max(found) <= ceil(shards / nodes) + 1, (shards, found)


@pytest.mark.parametrize(
    ("shards", "nodes"),
    [*((nodes, nodes) for nodes in (1, 2, 3, 4, 5, 6, 8)), (6, 3), (12, 3), (8, 4), (16, 4), (10, 5), (12, 6), (24, 6)],
)
def test_small_clusters_have_exactly_their_share(shards: int, nodes: int) -> None:
    assert spread(shards, nodes) == [shards // nodes] * nodes


def test_a_shard_stays_in_its_slot_whatever_the_day_and_however_many_there_are() -> None:
    for shard in (0, 1, 7, 1_023):
        found = {keys.names(day, shard, ("round",))[0].split("}")[0] for day in (date(2026, 1, 1), date(2027, 2, 3))}
        assert found == {keys.names(keys.USERS, shard, ("flags",))[0].split("}")[0]}
        assert keys.tag(shard).split(".")[0] == str(shard)
    assert len({keys.tag(shard) for shard in range(1_024)}) == 1_024


def test_tags_are_those_of_the_first_release() -> None:
    """Another tag would be another key: what Redis has would be lost."""
    assert [keys.tag(shard) for shard in (0, 1, 2, 3, 7, 63, 1_023)] == [
        "0.305",
        "1.661",
        "2.536",
        "3.218",
        "7.364",
        "63.65",
        "1023.77",
    ]
    assert keys.name(date(2026, 11, 22), 1, "round") == f"clock:{{{keys.tag(1)}}}:2026-11-22:round"
    assert keys.name(keys.USERS, 1, "flags") == f"clock:{{{keys.tag(1)}}}:users:flags"
