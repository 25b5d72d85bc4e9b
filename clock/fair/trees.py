"""Merkle trees as RFC 6962, 2.1, defines them: a root, and the path of a leaf to it.

A tree is built leaf by leaf. What a path needs later is kept a *tile* at a time: the tree of every :data:`TILE` leaves
is a subtree, so the tiles' roots are the leaves' level of what is above them, and a path is one in the tile and one
above.
"""

import hashlib
from collections.abc import Iterable, Sequence

TILE = 256
"""Leaves of a tile: a power of two."""

EMPTY = hashlib.sha256().digest()
"""The root of a tree without leaves."""

_sha256 = hashlib.sha256


def leaf_hash(leaf: bytes) -> bytes:
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\x01" + left + right).digest()


class Builder:
    """Takes leaves in their order. Its memory grows by 32 bytes a tile."""

    def __init__(self) -> None:
        self._tiles: list[bytes] = []
        self._rest: list[bytes] = []
        """Hashes of the leaves that do not fill a tile."""

    def extend(self, leaves: Iterable[bytes]) -> None:
        hashes = self._rest + [_sha256(b"\x00" + leaf).digest() for leaf in leaves]
        full = len(hashes) - len(hashes) % TILE
        self._tiles += [root_of(hashes[start : start + TILE]) for start in range(0, full, TILE)]
        self._rest = hashes[full:]

    @property
    def size(self) -> int:
        return len(self._tiles) * TILE + len(self._rest)

    @property
    def tiles(self) -> list[bytes]:
        """Roots of the tiles; the last one may not be full."""
        return [*self._tiles, root_of(self._rest)] if self._rest else list(self._tiles)

    @property
    def root(self) -> bytes:
        return root_of(self.tiles)


def root_of(nodes: Sequence[bytes]) -> bytes:
    """The root above hashes of leaves, or of tiles: a level at a time, the odd one at the end goes up as it is."""
    level = list(nodes)
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else EMPTY


def _above(level: list[bytes]) -> list[bytes]:
    pairs = [_sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    return pairs + level[len(level) & ~1 :]


def path_of(nodes: Sequence[bytes], index: int) -> list[bytes]:
    """The path of the hash with this index, from 0, to the root above all: RFC 6962, 2.1.1."""
    level, path = list(nodes), []
    assert 0 <= index < len(level)
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        level, index = _above(level), index >> 1
    return path


def path_in(tiles: Sequence[bytes], tile: Sequence[bytes], index: int) -> list[bytes]:
    """The path of a leaf, given the roots of all tiles and the hashes of the leaves of its own."""
    return path_of(tile, index % TILE) + path_of(tiles, index // TILE)


def root_above(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root to which a path leads from a leaf with this index in a tree of this size; None where a path cannot be so
    long or so short: RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return None
    number, last, node = index, size - 1, leaf_hash(leaf)
    for beside in path:
        if not last:
            return None
        if number & 1 or number == last:
            node = node_hash(beside, node)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            node = node_hash(node, beside)
        number, last = number >> 1, last >> 1
    return None if last else node
