"""A log that grows: known answers of Certificate Transparency, the definition, and the example of the specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.fair.tiles import Span, consistency, continues, edge, grow, inclusion, root, spans_of
from clock.fair.trees import leaf_hash, path_of, root_of

LEAVES = [bytes.fromhex(leaf) for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))

CONSISTENT = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
"""By the sizes: google/certificate-transparency, merkletree/merkle_tree_test.cc."""

MANY = [str(number).encode() for number in range(700)]
HASHES = [leaf_hash(leaf) for leaf in MANY]
ALL = grow({}, 0, MANY)


def of(leaves: list[bytes]) -> dict[tuple[int, int], bytes]:
    return grow({}, 0, leaves)


@pytest.mark.parametrize(("old", "size"), CONSISTENT)
def test_a_proof_is_the_one_that_others_make(old: int, size: int) -> None:
    hashes = of(LEAVES)
    proof = [root(one, hashes) for one in consistency(old, size)]
    assert [node.hex() for node in proof] == CONSISTENT[old, size]
    assert continues(old, root((0, old), hashes), size, root((0, size), hashes), proof)


def test_the_tiles_are_those_of_the_specifications_example() -> None:
    """https://c2sp.org/tlog-tiles: "a tree of size 70,000 will be represented by 273 full level 0 tiles, …"."""
    assert edge(70_000) == [Span(0, 69_888, 112), Span(1, 256, 17), Span(2, 0, 1)]
    assert edge(256) == [Span(1, 0, 1)] and edge(0) == []
    hashes = of([b""] * 70_000)
    assert [sum(level == one for level, _ in hashes) for one in range(4)] == [70_000, 273, 1, 0]
    assert hashes[1, 3] == root_of([hashes[0, one] for one in range(3 * 256, 4 * 256)])
    assert hashes[2, 0] == root_of([hashes[1, one] for one in range(256)])


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_whatever_the_steps_only_the_edge_is_needed(steps: list[int]) -> None:
    size, known = 0, dict[tuple[int, int], bytes]()
    for step in steps:
        leaves = MANY[size : size + step]
        before = {(one.level, at): known[one.level, at] for one in edge(size) for at in span(one)}
        assert len(before) <= 255 * len(edge(size))
        added = grow(before, size, leaves)
        grown = size + len(leaves)
        assert root((0, grown), before | added) == root_of(HASHES[:grown])
        for index in {size, grown - 1} if leaves else ():
            path = [root(one, before | added) for one in inclusion(index, grown)]
            assert path == path_of(HASHES[:grown], index)
        known, size = known | added, grown


def span(one: Span) -> range:
    return range(one.first, one.first + one.length)


@given(st.integers(0, 700), st.integers(0, 700))
def test_one_tree_continues_another_by_its_proof_alone(one: int, other: int) -> None:
    old, size = sorted((one, other))
    spans = spans_of(consistency(old, size))
    few = {(part.level, at): ALL[part.level, at] for part in spans for at in span(part)}
    proof = [root(part, few) for part in consistency(old, size)]
    roots = root_of(HASHES[:old]), root_of(HASHES[:size])
    assert continues(old, roots[0], size, roots[1], proof)
    for wrong in (proof[:-1], [*proof, HASHES[0]], [HASHES[-1], *proof[1:]], proof[::-1]):
        if wrong != proof:
            assert not continues(old, roots[0], size, roots[1], wrong)
    if old:
        assert not continues(old, HASHES[699], size, roots[1], proof)
        assert old == 1 or not continues(old - 1, roots[0], size, roots[1], proof)
    if 0 < old < size:
        assert not continues(old, roots[0], size, HASHES[699], proof)
        assert not continues(size, roots[1], old, roots[0], proof)
