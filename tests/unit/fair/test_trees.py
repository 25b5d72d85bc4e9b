"""Trees and paths: Certificate Transparency's known answers, and the definition itself."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.fair.trees import EMPTY, TILE, Builder, leaf_hash, path_in, path_of, root_above, root_of

LEAVES = [bytes.fromhex(leaf) for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""By the number of leaves: google/certificate-transparency, merkletree/merkle_tree_test.cc."""

PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
"""By index and size, from the same file."""


def built(leaves: Sequence[bytes]) -> Builder:
    builder = Builder()
    builder.extend(leaves)
    return builder


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    n = len(leaves)
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << (n - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1, word for word."""
    n = len(leaves)
    if n == 1:
        return []
    k = 1 << (n - 1).bit_length() - 1
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def test_known_roots() -> None:
    assert [built(LEAVES[:size]).root.hex() for size in range(9)] == ROOTS
    assert EMPTY.hex() == ROOTS[0]


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_known_paths(index: int, size: int) -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert [one.hex() for one in path_of(hashes, index)] == PATHS[index, size]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_roots_and_paths_are_those_of_the_definition(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    root, way = mth(leaves), path(index, leaves)
    assert built(leaves).root == root_of(hashes) == root
    assert path_of(hashes, index) == way
    assert root_above(leaves[index], index, len(leaves), way) == root


@pytest.mark.parametrize("size", [1, TILE - 1, TILE, TILE + 1, 2 * TILE, 3 * TILE - 1, 3 * TILE, 5 * TILE + 7])
def test_tiles_are_enough_for_a_path(size: int) -> None:
    leaves = [b"%d" % number for number in range(size)]
    builder = Builder()
    for start in range(0, size, 100):
        builder.extend(leaves[start : start + 100])
    assert builder.root == mth(leaves)
    for index in {0, size // 2, size - 1, max(0, size - TILE)}:
        first = index // TILE * TILE
        way = path_in(builder.tiles, [leaf_hash(leaf) for leaf in leaves[first : first + TILE]], index)
        assert way == path(index, leaves)
        assert root_above(leaves[index], index, size, way) == builder.root


@given(st.integers(1, 40), st.data())
def test_a_path_leads_from_no_other_leaf_and_to_no_other_place(size: int, data: st.DataObject) -> None:
    leaves = [b"%d" % number for number in range(size)]
    root, index = built(leaves).root, data.draw(st.integers(0, size - 1))
    way = path(index, leaves)
    assert root_above(b"another", index, size, way) != root
    assert root_above(leaves[index], index, size, [*way, root]) != root
    assert root_above(leaves[index], size, size, way) != root
    if way:
        assert root_above(leaves[index], index, size, way[:-1]) != root
        assert root_above(leaves[index], index ^ 1, size, way) != root
        changed = [bytes(32), *way[1:]]
        assert root_above(leaves[index], index, size, changed) != root
