"""The tree of a log that grows for ever (RFC 6962, 2.1), kept as tiles (https://c2sp.org/tlog-tiles).

Level 0 has the hashes of the leaves; a hash of level l + 1 is the root above 256 of level l, and is there once all of
them are. Whatever is asked of the tree follows from at most 255 hashes a level, so it costs the same after a hundred
leaves and after a million.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clock.fair.trees import EMPTY, TILE, leaf_hash, node_hash, root_of

HEIGHT = 8
"""Levels of the binary tree in a tile: :data:`~clock.fair.trees.TILE` is two to the power of it."""

Hashes = Mapping[tuple[int, int], bytes]
"""By level and index."""

Range = tuple[int, int]
"""Leaves from the first on, before the last."""


class Span(NamedTuple):
    """Consecutive hashes of a level."""

    level: int
    first: int
    length: int


def edge(size: int) -> list[Span]:
    """The hashes from which a tree of this size grows on: what is in its tiles that are not full."""
    spans, level = [], 0
    while size:
        if size % TILE:
            spans.append(Span(level, size - size % TILE, size % TILE))
        size, level = size // TILE, level + 1
    return spans


def grow(edge_hashes: Hashes, size: int, leaves: Iterable[bytes]) -> dict[tuple[int, int], bytes]:
    """The hashes that leaves add to a tree of this size."""
    known, added = dict(edge_hashes), {}
    for index, leaf in enumerate(leaves, size):
        level, node = 0, leaf_hash(leaf)
        while True:
            known[level, index] = added[level, index] = node
            if (index + 1) % TILE:
                break
            node = root_of([known[level, one] for one in range(index + 1 - TILE, index + 1)])
            level, index = level + 1, index // TILE
    return added


def spans_of(ranges: Iterable[Range]) -> list[Span]:
    """The hashes from which :func:`root` of these ranges follows."""
    return [_span(height, index) for one in ranges for height, index in _subtrees(one)]


def root(of: Range, hashes: Hashes) -> bytes:
    """The hash above the leaves of a range, as the definition of a tree makes ranges."""
    nodes = []
    for height, index in _subtrees(of):
        level, first, length = _span(height, index)
        nodes.append(root_of([hashes[level, one] for one in range(first, first + length)]))
    if not nodes:
        return EMPTY
    node = nodes.pop()
    while nodes:
        node = node_hash(nodes.pop(), node)
    return node


def _subtrees(of: Range) -> list[tuple[int, int]]:
    """The complete subtrees of a range, the largest first, by height and index."""
    first, last = of
    found = []
    while first < last:
        height = (last - first).bit_length() - 1
        assert not first % (1 << height), "no range of a tree"
        found.append((height, first >> height))
        first += 1 << height
    return found


def _span(height: int, index: int) -> Span:
    level, above = divmod(height, HEIGHT)
    return Span(level, index << above, 1 << above)


def _middle(first: int, last: int) -> int:
    """Where a range of several leaves has its left and its right subtree: RFC 6962, 2.1."""
    return first + (1 << (last - first - 1).bit_length() - 1)


def inclusion(index: int, size: int) -> list[Range]:
    """The path of a leaf, from the leaf up: RFC 6962, 2.1.1."""
    first, last = 0, size
    assert first <= index < last
    path = []
    while last - first > 1:
        middle = _middle(first, last)
        if index < middle:
            path.append((middle, last))
            last = middle
        else:
            path.append((first, middle))
            first = middle
    return path[::-1]


def consistency(old: int, size: int) -> list[Range]:
    """The proof that a tree of this size continues an older one: RFC 6962, 2.1.2. Empty where it needs none."""
    assert 0 <= old <= size
    if old in (0, size):
        return []
    first, last, proof = 0, size, []
    while old != last:
        middle = _middle(first, last)
        if old <= middle:
            proof.append((middle, last))
            last = middle
        else:
            proof.append((first, middle))
            first = middle
    return [(first, last), *proof[::-1]] if first else proof[::-1]


def continues(old: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that one tree continues the other: RFC 9162, 2.1.4.2."""
    if old in (0, size):
        return not proof and (not old or old_root == new_root)
    if not 0 < old < size:
        return False
    nodes = list(proof)
    if not old & (old - 1):
        nodes.insert(0, old_root)
    if not nodes:
        return False
    number, last = old - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    before = after = nodes[0]
    for node in nodes[1:]:
        if not last:
            return False
        if number & 1 or number == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            after = node_hash(after, node)
        number, last = number >> 1, last >> 1
    return not last and before == old_root and after == new_root
